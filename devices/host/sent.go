package host

import (
	"fmt"
	"strconv"
	"strings"
)

// Sent counts what the kernel sent to a disk.
type Sent struct {
	// Traced says that the requests themselves were traced. Otherwise they are the
	// sums of /sys/block: WriteFUA and Other are not known, and Write has them all.
	Traced   bool
	Write    uint64 // without FUA, to the storage's own sectors
	WriteFUA uint64
	Flush    uint64
	Other    uint64 // writes to other sectors, as of a file system's journal
}

// Asked counts what a Device was asked for.
type Asked struct{ Flush, FUA uint64 }

// Sub is what was asked for since an earlier count.
func (a Asked) Sub(before Asked) Asked { return Asked{a.Flush - before.Flush, a.FUA - before.FUA} }

// sectors is a run of a disk's 512-byte sectors.
type sectors struct{ from, to uint64 }

// tally counts the requests of one disk's trace.
type tally struct {
	own  []sectors // the storage's; nil is all
	sent Sent
}

// line counts a line of the trace (Documentation/trace/ftrace.rst): of a request that
// the driver was handed, of one that it gave back, or of a bio. Other lines count
// nothing.
func (c *tally) line(text string) error {
	for _, event := range []string{eventIssue, eventRequeue, eventBio} {
		if _, rest, ok := strings.Cut(text, event+": "); ok {
			return c.request(rest, event == eventRequeue)
		}
	}
	return nil
}

// The tracepoints (include/trace/events/block.h).
const (
	eventIssue   = "block_rq_issue"
	eventRequeue = "block_rq_requeue"
	eventBio     = "block_bio_queue"
)

// request counts "7,0 WFS 4096 () 2048 + 8 be,0,4 [program]", in which a bio has no
// length in bytes and no command. One that is given back is sent again.
func (c *tally) request(text string, back bool) error {
	words := strings.Fields(text)
	plus := 0
	for plus < len(words) && words[plus] != "+" {
		plus++
	}
	if plus < 3 || plus+1 >= len(words) {
		return fmt.Errorf("expected a request of a block tracepoint, got %q", text)
	}
	first, err1 := strconv.ParseUint(words[plus-1], 10, 64)
	count, err2 := strconv.ParseUint(words[plus+1], 10, 64)
	if err1 != nil || err2 != nil || first+count < first {
		return fmt.Errorf("expected a sector and a number of sectors, got %q", text)
	}
	one := uint64(1)
	if back {
		one = ^uint64(0) // -1
	}
	c.count(words[1], sectors{first, first + count}, one)
	return nil
}

// count counts a request by the kernel's letters for it (blk_fill_rwbs): F before the
// operation is a FLUSH before it, after it FUA.
func (c *tally) count(rwbs string, at sectors, one uint64) {
	op, preflush := strings.CutPrefix(rwbs, "F")
	if preflush {
		c.sent.Flush += one
	}
	switch {
	case at.to == at.from || op == "" || op[0] != 'W' || strings.HasPrefix(op, "WZ"):
	case !c.owns(at):
		c.sent.Other += one
	case strings.Contains(op[1:], "F"):
		c.sent.WriteFUA += one
	default:
		c.sent.Write += one
	}
}

func (c *tally) owns(at sectors) bool {
	if c.own == nil {
		return true
	}
	for _, x := range c.own {
		if at.from >= x.from && at.to <= x.to {
			return true
		}
	}
	return false
}
