package crash

import (
	"fmt"
	"path/filepath"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/internal/conf"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// LogConfig is the judgement of a history by what its own FLUSH and FUA asked for: of no
// device and no strategy, but of every drive with a volatile cache that keeps its
// promises.
type LogConfig struct {
	History   string // a file: a history, or dm-log-writes of any kernel
	Invariant string // workloads.InvariantCommitRecord, or empty
	// Check is a command of sh that judges an image, $NBDBENCH_IMAGE; empty is none. Of each
	// of at most Cuts moments images are made in the directory Images.
	Check  string
	Images string
	Cuts   int
	Seed   uint64
}

// logAtomic is the atomic unit that is assumed of the drive, in bytes.
const logAtomic = 4096

// Validate reports the first field that cannot be meant.
func (c *LogConfig) Validate() error {
	switch {
	case c.Invariant != "" && c.Invariant != string(workloads.InvariantCommitRecord):
		return conf.At("--invariant", "expected %s, got %q", workloads.InvariantCommitRecord, c.Invariant)
	case (c.Check == "") != (c.Images == ""):
		return conf.At("--check", "expected --images DIR beside it, and the other way round: the images that CMD checks are made there")
	case c.Cuts < 1 || c.Cuts > MaxCuts:
		return conf.At("--cuts", "expected 1 to %d, got %d", MaxCuts, c.Cuts)
	}
	return nil
}

// The names that a cell of such a judgement has in place of device and strategy.
const (
	anyDrive = "any"
	asLogged = "as logged"
)

// JudgeLog judges a history by its own FLUSH and FUA. run runs the check on an image.
func JudgeLog(c LogConfig, run func(image string) (status int, said string, err error)) (*Document, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	log, err := LoadHistory(c.History)
	if err != nil {
		return nil, err
	}
	j := newLogJudge(&c, log)
	j.result.Judged = c.judged()
	if c.Invariant != "" {
		j.commitRecords()
	}
	if c.Check != "" {
		if err := j.checkImages(run); err != nil {
			return nil, err
		}
	}
	d := newDocument(&Config{Seed: c.Seed}, []*CellResult{j.end()}, false)
	d.Coverage = coverageOf(c.judged())
	if log.Torn != nil {
		d.Torn = log.Torn.Error()
	}
	return d, nil
}

// judged says by what the history is judged.
func (c *LogConfig) judged() string {
	switch {
	case c.Invariant != "" && c.Check != "":
		return "invariant and check"
	case c.Invariant != "":
		return "invariant"
	case c.Check != "":
		return "check"
	}
	return "nothing"
}

// logJudge goes through a history.
type logJudge struct {
	config *LogConfig
	log    *history.Log
	legal  *history.Legal
	wire   *history.Judge
	result CellResult

	acks   map[devices.Stamp]uint64  // when a write was done
	zeroes []*history.Event          // WRITE_ZEROES and TRIM so far
	since  []*history.Event          // writes that are done since the latest FUA write was sent
	sent   map[uint64]*history.Event // in progress
	marks  uint64                    // power cuts that the history has
	broken map[string]bool           // what was reported
}

func newLogJudge(c *LogConfig, log *history.Log) *logJudge {
	info := devices.Info{Cache: devices.CacheVolatile, MultiConn: true, AtomicUnit: logAtomic}
	return &logJudge{
		config: c, log: log, legal: history.NewLegal(info), wire: history.NewJudge(info),
		acks: map[devices.Stamp]uint64{}, sent: map[uint64]*history.Event{}, broken: map[string]bool{},
		result: CellResult{Device: anyDrive, Workload: filepath.Base(c.History), Strategy: asLogged, Status: "ok", Runs: 1, history: true},
	}
}

// observe has the judges see an event.
func (j *logJudge) observe(e *history.Event) {
	j.legal.Observe(e)
	j.wire.Observe(e)
	switch {
	case e.Kind == history.PowerCut:
		j.marks++
	case e.Kind == history.Done && e.Op == devices.OpWrite:
		j.acks[e.Stamp] = e.Seq
	case e.Kind == history.Submit && e.Op.Modifies() && e.Op != devices.OpWrite:
		j.zeroes = append(j.zeroes, e)
	}
}

// older reports whether version v of a sector was over before write w was sent.
func (j *logJudge) older(v devices.Stamp, sector uint64, w *history.Event) bool {
	if v != 0 {
		return j.acks[v] != 0 && j.acks[v] < w.Seq
	}
	off := sector * devices.Sector
	for i := len(j.zeroes) - 1; i >= 0 && j.zeroes[i].Seq > w.Seq; i-- {
		if z := j.zeroes[i]; z.Offset <= off && off < z.Offset+z.Length {
			return false
		}
	}
	return true
}

// commitRecords checks of each FUA write that, where any of it is there, all writes that
// were done since the previous one are. Right after it was sent is the worst moment: later
// ones have more promises, so one look at each decides all images of all cuts. Between a
// power cut and the next record nothing is older than the cut.
func (j *logJudge) commitRecords() {
	for i := range j.log.Events {
		e := &j.log.Events[i]
		j.observe(e)
		switch {
		case e.Kind == history.PowerCut:
			j.since = nil
			clear(j.sent)
		case !e.Op.Modifies():
		case e.Kind == history.Submit && record(e):
			j.result.Cuts++
			j.result.log2 = max(j.result.log2, 0)
			j.result.maxLog2 = max(j.result.maxLog2, j.legal.Log2())
			j.covers(e)
			j.since = nil
			j.sent[e.Seq] = e
		case e.Kind == history.Submit:
			j.sent[e.Seq] = e
		default:
			if w := j.sent[e.Of]; w != nil && e.Errno == devices.OK && e.Op == devices.OpWrite && !record(w) {
				j.since = append(j.since, w)
			}
			delete(j.sent, e.Of)
		}
	}
	j.result.CutsExhaustive = j.result.Cuts
}

// record reports whether a write is a commit record: one with FUA.
func record(e *history.Event) bool {
	return e.Op == devices.OpWrite && e.Flags&devices.FUA != 0
}

// covers looks for a write that record e covers and of which an image may lack a sector.
func (j *logJudge) covers(e *history.Event) {
	first, end := e.Offset/devices.Sector, (e.Offset+e.Length)/devices.Sector
	var versions []devices.Stamp
	for _, w := range j.since {
		for s := w.Offset / devices.Sector; s < (w.Offset+w.Length)/devices.Sector; s++ {
			if first <= s && s < end { // the record itself is there
				continue
			}
			versions = j.legal.At(s, versions[:0])
			for _, v := range versions {
				if j.older(v, s, w) {
					j.violate(e, w, s, v)
					return
				}
			}
		}
	}
}

// violate notes that a cut may leave record e without write w. The first one is reported
// with its circumstances, the others are counted.
func (j *logJudge) violate(e, w *history.Event, sector uint64, found devices.Stamp) {
	j.result.InvariantBroken++
	if j.result.FirstBroken == 0 {
		j.result.FirstBroken = j.result.Cuts
	}
	j.report("invariant", Violation{
		Class: Invariant, Sector: sector, Expected: []devices.Stamp{w.Stamp}, Found: found, CutNs: int64(e.Time), CutEvent: e.Seq, Images: byContract,
		Text: fmt.Sprintf("the FUA write of event %d (sector %d) may be there, and the write of event %d, which was done before it, may not: no FLUSH between them, and no FUA of that write, promises it",
			e.Seq, e.Offset/devices.Sector, w.Seq),
	})
}

// report adds the first violation of a kind.
func (j *logJudge) report(kind string, v Violation) {
	if j.broken[kind] {
		return
	}
	j.broken[kind] = true
	v.Cell = j.result.Device + "/" + j.result.Workload + "/" + j.result.Strategy
	v.Seed, v.Replay = j.config.Seed, j.config.command()
	v.Timeline = &Timeline{CutNs: v.CutNs, Survived: []Survivor{}, Events: j.until(v.CutEvent)}
	v.Requests = len(v.Timeline.Events) / 2
	j.result.Violations = append(j.result.Violations, &v)
}

// maxLogTimeline bounds the timeline of a violation, in events: the latest.
const maxLogTimeline = 64

// until are the latest events up to one.
func (j *logJudge) until(seq uint64) (out []TimelineEvent) {
	for i := range j.log.Events {
		if e := &j.log.Events[i]; e.Seq <= seq {
			out = append(out, eventOf(e))
		}
	}
	return out[max(0, len(out)-maxLogTimeline):]
}

// command does the same again.
func (c *LogConfig) command() string {
	words := "nbdbench crash --history " + quoted(c.History)
	if c.Invariant != "" {
		words += " --invariant " + c.Invariant
	}
	if c.Check != "" {
		words += fmt.Sprintf(" --check %s --images %s --cuts %d --seed %d", quoted(c.Check), quoted(c.Images), c.Cuts, c.Seed)
	}
	return words
}

// end is the result.
func (j *logJudge) end() *CellResult {
	r := &j.result
	r.PowerCuts = j.marks
	r.Promises = j.wire.Promises()
	if r.Judged == "nothing" {
		for i := range j.log.Events {
			j.observe(&j.log.Events[i])
		}
		r.Promises, r.PowerCuts = j.wire.Promises(), j.marks
	}
	return r
}

// coverageOf says what of a history's images was judged.
func coverageOf(judged string) string {
	switch judged {
	case "nothing":
		return "none"
	case "invariant":
		return "exhaustive"
	}
	return "sampled"
}

// drawOf is the draw of a cut's images.
func (c *LogConfig) drawOf(event uint64) sim.Stream {
	return sim.Seed(c.Seed).Sub("log image", event).Stream("versions")
}
