package results

import (
	"fmt"
	"math"

	"nbdbench/devices"
	"nbdbench/sim"
)

// class is a kind of request at the wire.
type class int

const (
	classRead class = iota
	classWrite
	classWriteFUA
	classFlush
	classTrim
	classTrimFUA
	classZeroes
	classZeroesFUA
	numClasses
)

// classOf tells a request's class, or -1 for commands that are not counted.
func classOf(r *devices.Request) class {
	fua := class(0)
	if r.Durable() {
		fua = 1
	}
	switch r.Op {
	case devices.OpRead:
		return classRead
	case devices.OpWrite:
		return classWrite + fua
	case devices.OpFlush:
		return classFlush
	case devices.OpTrim:
		return classTrim + fua
	case devices.OpWriteZeroes:
		return classZeroes + fua
	}
	return -1
}

// operation is a kind of request whose latency is reported: the classes, with
// trims pooled and write-zeroes pooled.
type operation int

const (
	opRead operation = iota
	opWrite
	opWriteFUA
	opFlush
	opTrim
	opZeroes
	numOperations
)

var operationOf = [numClasses]operation{opRead, opWrite, opWriteFUA, opFlush, opTrim, opTrim, opZeroes, opZeroes}

var operationNames = [numOperations]string{"read", "write", "write_fua", "flush", "trim", "write_zeroes"}

// Wire counts requests by their class, as the client sent them.
type Wire struct {
	Read           int64 `json:"read"`
	Write          int64 `json:"write"`
	WriteFUA       int64 `json:"write_fua"`
	Flush          int64 `json:"flush"`
	Trim           int64 `json:"trim"`
	TrimFUA        int64 `json:"trim_fua"`
	WriteZeroes    int64 `json:"write_zeroes"`
	WriteZeroesFUA int64 `json:"write_zeroes_fua"`
}

func wireOf(n [numClasses]int64) Wire {
	return Wire{
		Read: n[classRead], Write: n[classWrite], WriteFUA: n[classWriteFUA], Flush: n[classFlush],
		Trim: n[classTrim], TrimFUA: n[classTrimFUA], WriteZeroes: n[classZeroes], WriteZeroesFUA: n[classZeroesFUA],
	}
}

// Add adds o to w.
func (w *Wire) Add(o Wire) {
	w.Read += o.Read
	w.Write += o.Write
	w.WriteFUA += o.WriteFUA
	w.Flush += o.Flush
	w.Trim += o.Trim
	w.TrimFUA += o.TrimFUA
	w.WriteZeroes += o.WriteZeroes
	w.WriteZeroesFUA += o.WriteZeroesFUA
}

// PluginCalls counts the calls that a plugin got; reads are not among them.
type PluginCalls struct {
	PWrite    int64 `json:"pwrite"`
	PWriteFUA int64 `json:"pwrite_fua"`
	Flush     int64 `json:"flush"`
	Zero      int64 `json:"zero"`
	ZeroFUA   int64 `json:"zero_fua"`
	Trim      int64 `json:"trim"`
	TrimFUA   int64 `json:"trim_fua"`
}

// add adds o to c.
func (c *PluginCalls) add(o *PluginCalls) {
	c.PWrite += o.PWrite
	c.PWriteFUA += o.PWriteFUA
	c.Flush += o.Flush
	c.Zero += o.Zero
	c.ZeroFUA += o.ZeroFUA
	c.Trim += o.Trim
	c.TrimFUA += o.TrimFUA
}

// RecorderConfig says what a Recorder records. The zero value records what was
// due from the beginning, in intervals of DefaultInterval.
type RecorderConfig struct {
	// Start and End bound the window: what was due in [Start, End) counts, even if it
	// finishes later. End 0 is without end.
	Start, End sim.Time
	// Interval is the first width of the interval series; 0 is DefaultInterval.
	Interval sim.Duration
	// NoStages says that the way of a commit cannot be seen, as with a server
	// that is not ours: no breakdown, rather than one full of zeros.
	NoStages bool
	// Raw keeps every commit, for export.
	Raw bool
	// Open says that commits are due by the clock: then the time from a commit's
	// first request is recorded apart from that since it was due.
	Open bool
	// Streams are those of a workload that has several; nil is one stream, of commits.
	// Of several, only the transactions of those with commits are commits, unless no
	// stream has them.
	Streams []StreamConfig
}

// Validate reports a window or an interval that makes no sense.
func (c RecorderConfig) Validate() error {
	if c.Start < 0 || c.End < 0 || (c.End != 0 && c.End < c.Start) {
		return fmt.Errorf("window from %v to %v: want 0 <= start <= end, or no end", c.Start, c.End)
	}
	if c.Interval < 0 {
		return fmt.Errorf("interval %v: want a positive width", c.Interval)
	}
	return nil
}

// A Recorder keeps what one run shows: every request as the client saw it at
// the wire, and every commit. It belongs to one loop and allocates nothing per
// request or commit.
type Recorder struct {
	start, end sim.Time
	last       uint64       // number of the last transaction that counts
	before     sim.Duration // the length of earlier phases' windows
	lengths    []sim.Duration
	streams    []streamRecord
	all        bool // every stream's transactions count as commits
	noStages   bool
	keepRaw    bool
	raw        []RawCommit

	ops      [numOperations]*Histogram
	wire     [numClasses]int64
	bytes    uint64
	opErrors int64

	commit       *Histogram
	service      *Histogram
	lag          *Histogram
	lateness     *Histogram
	commitErrors int64
	stages       devices.Stages
	hops         *devices.HopTimes // nil until a commit passes proxies
	mismatches   int64
	backwards    int64
	intervals    series
}

// NewRecorder returns a recorder for one run. A config that does not validate
// is the caller's mistake.
func NewRecorder(c RecorderConfig) *Recorder {
	if err := c.Validate(); err != nil {
		panic("results: " + err.Error())
	}
	r := &Recorder{noStages: c.NoStages, keepRaw: c.Raw, commit: NewHistogram(), lag: NewHistogram()}
	if c.Open {
		r.service = NewHistogram()
	}
	r.intervals = newSeries(c.Interval)
	r.streams, r.all = newStreamRecords(c.Streams), true
	for _, s := range c.Streams {
		r.all = r.all && !s.Commits
	}
	if c.End == 0 {
		c.End = sim.Never
	}
	r.StartAt(c.Start)
	r.EndAt(c.End, math.MaxUint64)
	return r
}

// StartAt says when the window begins, where that is known only once a warm-up
// is over. What has been counted stays.
func (r *Recorder) StartAt(t sim.Time) { r.start = t }

// EndAt says when the window ends, and which transaction of the workload is the
// last that counts: others may be due at the same instant.
func (r *Recorder) EndAt(t sim.Time, last uint64) { r.end, r.last = t, last }

// NextPhase says that the window of a further phase of the workload begins at t,
// after one of that length.
func (r *Recorder) NextPhase(t sim.Time, length sim.Duration) {
	r.lengths = append(r.lengths, length)
	r.before += length
	r.StartAt(t)
	r.EndAt(sim.Never, math.MaxUint64)
}

// commits reports whether a stream's transactions are the commits.
func (r *Recorder) commits(stream uint32) bool {
	if len(r.streams) == 0 {
		return stream == 0
	}
	s := r.stream(stream)
	return s != nil && stream%2 == 0 && (s.Commits || r.all)
}

// within reports whether t is in the window. Its end is, once the last transaction
// that counts is known.
func (r *Recorder) within(t sim.Time) bool {
	return t >= r.start && (t < r.end || t == r.end && r.last != math.MaxUint64)
}

// Op records one request that has completed at the client, as the wire saw it.
// Its latency runs from Submitted to Completed. A request that failed counts
// at the wire and as an error, and has no latency. What is not a commit's counts by
// its time alone.
func (r *Recorder) Op(q *devices.Request) {
	c := classOf(q)
	if c < 0 || !r.within(q.Intended) || q.Txn > r.last && r.commits(q.Stream) {
		return
	}
	r.wire[c]++
	if q.Errno != devices.OK {
		r.opErrors++
		return
	}
	if q.Op == devices.OpRead || q.Op == devices.OpWrite {
		r.bytes += q.Length
	}
	latency := r.between(q.Submitted, q.Completed)
	record(&r.ops[operationOf[c]], latency)
	if s := r.stream(q.Stream); s != nil {
		s.op(q, c, latency)
	}
}

// Commit records one transaction, of a stream whose transactions are commits. Its
// latency runs from when it was due until it was acknowledged. One that failed
// counts as an error only.
func (r *Recorder) Commit(c *devices.Commit) {
	if !r.commits(c.Stream) || !r.within(c.Intended) || c.Txn > r.last {
		return
	}
	if c.Errno != devices.OK {
		r.commitErrors++
		return
	}
	latency := r.between(c.Intended, c.Acked)
	r.commit.Record(latency)
	if s := r.stream(c.Stream); s != nil && s.commit != nil {
		s.commit.Record(latency)
	}
	if r.service != nil {
		r.service.Record(r.between(c.Started, c.Acked))
	}
	r.lag.Record(r.between(c.Intended, c.Started))
	if r.keepRaw {
		zero := r.start.Add(-r.before)
		r.raw = append(r.raw, RawCommit{c.Intended.Sub(zero), c.Started.Sub(zero), c.Acked.Sub(zero)})
	}
	r.intervals.record(c.Intended.Sub(r.start)+r.before, latency)
	if r.noStages {
		return
	}
	r.stages.Add(&c.Stages)
	if c.Hops != nil {
		r.addHops(c.Hops)
	}
	if c.Stages.Total() != latency {
		r.mismatches++
	}
}

func (r *Recorder) addHops(h *devices.HopTimes) {
	if r.hops == nil {
		r.hops = new(devices.HopTimes)
	}
	r.hops.Add(h)
}

// Lateness records how much later than asked a real-time shell acted. It is
// never called in virtual time.
func (r *Recorder) Lateness(d sim.Duration) {
	if r.lateness == nil {
		r.lateness = NewHistogram()
	}
	r.lateness.Record(max(d, 0))
}

// Commits counts the commits that have been recorded, those that failed too.
func (r *Recorder) Commits() int64 { return r.commit.n + r.commitErrors }

// between is u-t; an interval that runs backwards is 0 and counted, so that it
// becomes a warning.
func (r *Recorder) between(t, u sim.Time) sim.Duration {
	if u < t {
		r.backwards++
		return 0
	}
	return u.Sub(t)
}

// Result returns what was recorded in compact form. Seed is the run's and
// elapsed the length of its windows. The caller adds what the recorder does not
// see: Device, Durability, Partial.
func (r *Recorder) Result(seed sim.Seed, elapsed sim.Duration) *RunResult {
	out := &RunResult{
		Seed: seed, Elapsed: elapsed,
		Commit: r.commit.Freeze(), Lag: r.lag.Freeze(),
		Raw:  r.raw,
		Wire: wireOf(r.wire), Bytes: r.bytes,
		Errors:    Errors{Commit: r.commitErrors, Op: r.opErrors},
		Intervals: r.intervals.freeze(),
		backwards: r.backwards,
	}
	out.ops = freezeOps(&r.ops)
	lengths := append(r.lengths, max(elapsed-r.before, 0))
	for i := range r.streams {
		s := &r.streams[i]
		length := sim.Duration(0) // of a phase that was not reached
		if s.Phase < len(lengths) {
			length = lengths[s.Phase]
		}
		out.Streams = append(out.Streams, s.freeze(length))
	}
	if r.service != nil {
		out.Service = r.service.Freeze()
	}
	if r.lateness != nil {
		out.Lateness = r.lateness.Freeze()
	}
	if !r.noStages {
		out.Stages, out.Hops, out.mismatches = new(r.stages), r.hops, r.mismatches
	}
	return out
}
