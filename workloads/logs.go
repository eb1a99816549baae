package workloads

import (
	"fmt"
	"maps"
	"slices"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

// Log is a log that the commits of a profile's streams share. One group of commits
// is written at a time: it takes all that wait, writes them as one range of whole
// blocks, makes that durable, and is then acknowledged to all of them. What comes
// after its write has begun waits for the next group. The last block of a group is
// written again by the next one, which goes on in it. Where the log ends it begins
// again.
//
// A log of which the commit steps say blocks, not record, is a file system's
// journal. A transaction belongs to the group that is open when it begins. The group
// closes when the first of its members has come to its commit step, and waits for
// the others: their data is on the device before the journal refers to it. It then
// writes a descriptor block and the members' blocks, flushes, and writes a commit
// block.
type Log struct {
	Region string `yaml:"region"` // empty is the whole device
	// Finish is how a group is made durable; FinishFlush if empty.
	Finish Finish `yaml:"finish"`
	// Block is what a group is padded to; 0 is 4 KiB.
	Block units.Size `yaml:"block"`
	// Delay is how long a group waits before it takes what has come by then, where at
	// least Siblings other transactions of the log are in progress.
	Delay    units.Duration `yaml:"delay"`
	Siblings uint32         `yaml:"siblings"`
	// Journal is the region of the file system's journal, where the log is a file that
	// grows: after a group's write the journal commits Metadata blocks, 0 is 1, as one
	// write with a descriptor; then there is a FLUSH, and the commit block, which Finish
	// makes durable. Empty is a file that has all its blocks.
	Journal  string `yaml:"journal,omitzero"`
	Metadata uint32 `yaml:"metadata,omitzero"`
	// Preallocated says that the file's size does not change: the journal commits only
	// where a group writes a block for the first time, and otherwise there is a FLUSH.
	Preallocated bool `yaml:"preallocated,omitzero"`
}

// Finish is how a log makes a group durable.
type Finish string

// The ways.
const (
	// FinishFlush is a FLUSH after the write, as fdatasync. A journal has one before
	// its commit block and one after it.
	FinishFlush Finish = "flush"
	// FinishFUA is FUA on the write, as O_DSYNC. A journal has it on its commit block,
	// after a FLUSH, and so has a log with a Journal.
	FinishFUA Finish = "fua"
)

var finishes = []Finish{FinishFlush, FinishFUA}

// The bounds of logs.
const (
	MaxLogs   = 16
	maxDelay  = units.Duration(1e10)
	maxBlocks = 1 << 10 // that a transaction adds to a journal
)

func (l *Log) block() uint64 {
	if l.Block == 0 {
		return 4 << 10
	}
	return uint64(l.Block)
}

// journalBlock is the block of a log's Journal.
const journalBlock = 4 << 10

// metadata is the length of what a log's Journal commits, without the commit block.
func (l *Log) metadata() uint64 { return (1 + uint64(max(l.Metadata, 1))) * journalBlock }

// logNames are the names of the profile's logs, sorted.
func (p *Profile) logNames() []string { return slices.Sorted(maps.Keys(p.Logs)) }

// validateLogs checks the logs, and the steps that commit to them.
func (p *Profile) validateLogs() error {
	if len(p.Logs) > MaxLogs {
		return conf.At("logs", "expected at most %d, got %d", MaxLogs, len(p.Logs))
	}
	for _, name := range p.logNames() {
		l, at := p.Logs[name], "logs."+name
		switch {
		case text.Line(name) != name || len(name) > maxName:
			return conf.At("logs", "expected names of at most %d bytes without control characters, got %q", maxName, name)
		case l.Region != "" && p.region(l.Region) == nil:
			return conf.At(at+".region", "expected one of the profile's regions, got %q", l.Region)
		case l.Finish != "" && !slices.Contains(finishes, l.Finish):
			return conf.At(at+".finish", "expected %s, got %q", oneOf(finishes), l.Finish)
		case l.Block%devices.Sector != 0 || l.Block > units.MiB:
			return conf.At(at+".block", "expected a multiple of %d bytes and at most %v, got %v", devices.Sector, units.MiB, l.Block)
		case l.Delay < 0 || l.Delay > maxDelay:
			return conf.At(at+".delay", "expected at least 0 and at most %v, got %v", maxDelay, l.Delay)
		case l.Siblings > MaxQueueDepth:
			return conf.At(at+".siblings", "expected at most %d, got %d", MaxQueueDepth, l.Siblings)
		case l.Siblings != 0 && l.Delay == 0:
			return conf.At(at+".siblings", "expected with a delay, and only there")
		}
		if err := p.validateJournal(at, &l); err != nil {
			return err
		}
	}
	if len(p.Logs) > 0 && p.Invariant != "" {
		return conf.At("invariant", "expected none with logs: it is about the writes of transactions")
	}
	return p.validateKinds()
}

// validateJournal checks what a log says of its file system's journal.
func (p *Profile) validateJournal(at string, l *Log) error {
	switch {
	case l.Journal != "" && p.region(l.Journal) == nil:
		return conf.At(at+".journal", "expected one of the profile's regions, got %q", l.Journal)
	case l.Journal == "" && l.Metadata != 0:
		return conf.At(at+".metadata", "expected with a journal, and only there")
	case l.Journal == "" && l.Preallocated:
		return conf.At(at+".preallocated", "expected with a journal, and only there")
	case l.Metadata > maxBlocks:
		return conf.At(at+".metadata", "expected at most %d, got %d", maxBlocks, l.Metadata)
	}
	return nil
}

// validateKinds checks that all commits to one log are of one kind, and that a
// transaction is in one journal once.
func (p *Profile) validateKinds() error {
	kinds := map[string]bool{} // by log: a journal
	for i, s := range p.All() {
		at := ""
		if len(p.Streams) > 0 {
			at = fmt.Sprintf("streams[%d].", i)
		}
		journals := 0
		for k := range s.Between {
			if s.Between[k].Op == ActionCommit {
				return conf.At(fmt.Sprintf("%sbetween[%d].op", at, k), "expected no commit between two transactions")
			}
		}
		for k := range s.Transaction {
			step := &s.Transaction[k]
			if step.Op != ActionCommit {
				continue
			}
			journal := step.Blocks > 0
			if journal && p.Logs[step.Log].Journal != "" {
				return conf.At(fmt.Sprintf("%stransaction[%d].blocks", at, k), "expected record: %s is a file, which has a journal", step.Log)
			}
			if was, ok := kinds[step.Log]; ok && was != journal {
				return conf.At(fmt.Sprintf("%stransaction[%d].log", at, k), "expected either records or blocks in one log, got both in %s", step.Log)
			}
			if kinds[step.Log] = journal; journal {
				journals++
			}
			if journals > 1 {
				return conf.At(fmt.Sprintf("%stransaction[%d].log", at, k), "expected at most one commit to a journal in a transaction")
			}
		}
	}
	return nil
}

// validateCommit checks a step that commits to a log.
func (s *Step) validateCommit() error {
	switch plain := (Step{Op: ActionCommit, Log: s.Log, Record: s.Record, Blocks: s.Blocks, Count: s.Count}); {
	case !s.same(&plain), s.Count > 1:
		return conf.At("op", "expected commit with log, and record or blocks, and nothing else")
	case (s.Record == 0) == (s.Blocks == 0):
		return conf.At("record", "expected either record, the bytes of one in a log, or blocks, those of one in a journal")
	case s.Record > MaxTransfer/4:
		return conf.At("record", "expected at most %v, got %v", units.Size(MaxTransfer/4), s.Record)
	case s.Blocks > maxBlocks:
		return conf.At("blocks", "expected at most %d, got %d", maxBlocks, s.Blocks)
	}
	return nil
}

// slotsOf is how many transactions can be in progress in the profile's largest phase
// that commit to a log, and the longest record, or the most blocks, of one.
func (p *Profile) slotsOf(log string) (slots, longest uint64, journal bool) {
	all := p.All()
	for _, phase := range p.EachPhase() {
		sum := uint64(0)
		for _, i := range phase {
			uses := false
			for k := range all[i].Transaction {
				if s := &all[i].Transaction[k]; s.Op == ActionCommit && s.Log == log {
					uses, journal = true, s.Blocks > 0
					longest = max(longest, uint64(s.Record), uint64(s.Blocks))
				}
			}
			if uses {
				sum += uint64(all[i].depth()) * uint64(all[i].copies())
			}
		}
		slots = max(slots, sum)
	}
	return slots, longest, journal
}

// groupBytes is the longest write of one group of a log on a device.
func (p *Profile) groupBytes(name string, info devices.Info) uint64 {
	l := p.Logs[name]
	slots, longest, journal := p.slotsOf(name)
	block, room := l.block(), p.spanOf(l.Region, info.Size).length
	if journal {
		return (1 + slots*longest) * block
	}
	most := min(uint64(MaxTransfer), room)
	if info.MaxPayload != 0 {
		most = min(most, uint64(info.MaxPayload))
	}
	return min(most, slots*longest+2*block) / block * block
}

// logsFit checks that the logs' regions hold a group.
func (p *Profile) logsFit(info devices.Info) error {
	for _, name := range p.logNames() {
		l, at := p.Logs[name], "logs."+name
		slots, longest, journal := p.slotsOf(name)
		block, room := l.block(), p.spanOf(l.Region, info.Size)
		most, need := p.groupBytes(name, info), recordSpan(longest, block)
		if journal {
			need = most + block
		}
		switch {
		case longest == 0:
			continue // nothing commits to it
		case need > room.length || !journal && need > most:
			return conf.At(at+".region", "expected room for a group of %v, got %v", units.Size(need), units.Size(room.length))
		case most > MaxTransfer || info.MaxPayload != 0 && most > uint64(info.MaxPayload):
			return conf.At(at, "expected groups of at most one request's %v, got %d transactions of %d blocks",
				units.Size(min(MaxTransfer, max(uint64(info.MaxPayload), 1))), slots, longest)
		case info.ReadOnly:
			return conf.At(at, "expected a device that can be written, got one that is read-only")
		case block%uint64(max(info.MinIO, 1)) != 0 || room.start%uint64(max(info.MinIO, 1)) != 0:
			return conf.At(at+".block", "expected multiples of the device's smallest request, %d bytes, got %v from %v on", info.MinIO, units.Size(block), units.Size(room.start))
		}
		if err := p.journalFits(at, &l, info); err != nil {
			return err
		}
	}
	return nil
}

// journalFits checks that the region of a log's journal holds a commit.
func (p *Profile) journalFits(at string, l *Log, info devices.Info) error {
	if l.Journal == "" {
		return nil
	}
	room, need := p.spanOf(l.Journal, info.Size), l.metadata()+journalBlock
	switch {
	case need > room.length:
		return conf.At(at+".journal", "expected room for a commit of %v, got %v", units.Size(need), units.Size(room.length))
	case info.MaxPayload != 0 && l.metadata() > uint64(info.MaxPayload):
		return conf.At(at+".metadata", "expected commits of at most one request's %v, got %v", units.Size(info.MaxPayload), units.Size(l.metadata()))
	case journalBlock%uint64(max(info.MinIO, 1)) != 0 || room.start%uint64(max(info.MinIO, 1)) != 0:
		return conf.At(at+".journal", "expected multiples of the device's smallest request, %d bytes, got 4KiB from %v on", info.MinIO, units.Size(room.start))
	}
	return nil
}

// Asks reports whether the profile asks the device for FUA, and for FLUSH.
func (p *Profile) Asks() (fua, flush bool) {
	for _, s := range p.Steps() {
		fua = fua || s.Durable
		flush = flush || s.Op == ActionFlush || s.Preflush
		if s.Op == ActionCommit {
			isFUA := p.Logs[s.Log].Finish == FinishFUA
			fua = fua || isFUA
			flush = flush || !isFUA || s.Blocks > 0 || p.Logs[s.Log].Journal != ""
		}
	}
	return fua, flush
}

// Aligned reports whether all that the profile asks for, and each record of its logs,
// is multiples of so many bytes.
func (p *Profile) Aligned(grain uint64) bool {
	for _, s := range p.Steps() {
		if !s.Aligned(grain) {
			return false
		}
	}
	for name, l := range p.Logs {
		_, _, journal := p.slotsOf(name)
		if l.block()%grain != 0 || !journal && grain > devices.Sector {
			return false
		}
	}
	return true
}

// String is the log in one line.
func (l Log) String() string {
	finish, where := "FLUSH", l.Region
	if l.Finish == FinishFUA {
		finish = "FUA"
	}
	if where == "" {
		where = "the whole device"
	}
	out := fmt.Sprintf("one group at a time, padded to %v in %s, made durable by %s", units.Size(l.block()), where, finish)
	if l.Journal != "" {
		out = fmt.Sprintf("one group at a time, padded to %v in %s, then the file system's journal commits %v in %s, made durable by FLUSH and %s",
			units.Size(l.block()), where, units.Size(l.metadata()), l.Journal, finish)
	}
	if l.Preallocated {
		out += ", or by FLUSH alone where no block is new"
	}
	if l.Delay > 0 {
		out += fmt.Sprintf(", after %v beside at least %d others", l.Delay, l.Siblings)
	}
	return out
}
