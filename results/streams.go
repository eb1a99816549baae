package results

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// StreamConfig is one of several streams of a workload. Requests and commits of
// stream n have Stream 2n, and 2n+1 for what runs between two transactions.
type StreamConfig struct {
	Name  string
	Phase int // of the workload, from 0
	// Commits says that its transactions make something durable.
	Commits bool
}

// StreamResult is what one run showed of one stream.
type StreamResult struct {
	StreamConfig
	Elapsed sim.Duration  // of its phase's window
	Commit  *Distribution // its transactions, if they are commits
	Wire    Wire
	Bytes   uint64
	ops     [numOperations]*Distribution
}

// CellStream is one stream of a cell whose workload has several.
type CellStream struct {
	Name   string   `json:"name"`
	Phase  int      `json:"phase"`
	Commit *Latency `json:"commit"` // null of a stream without commits
	Ops    *Ops     `json:"ops"`
	Rates  *Rates   `json:"rates"`
}

// streamRecord is what a Recorder keeps of one stream.
type streamRecord struct {
	StreamConfig
	commit *Histogram
	ops    [numOperations]*Histogram
	wire   [numClasses]int64
	bytes  uint64
}

func newStreamRecords(list []StreamConfig) []streamRecord {
	out := make([]streamRecord, len(list))
	for i, s := range list {
		out[i].StreamConfig = s
		if s.Commits {
			out[i].commit = NewHistogram()
		}
	}
	return out
}

// stream is the record of one of several streams; nil for requests of no stream,
// such as a shared log's, and where there is only one.
func (r *Recorder) stream(number uint32) *streamRecord {
	if i := int(number / 2); i < len(r.streams) {
		return &r.streams[i]
	}
	return nil
}

// op records a request that has no error.
func (s *streamRecord) op(q *devices.Request, c class, latency sim.Duration) {
	s.wire[c]++
	if q.Op == devices.OpRead || q.Op == devices.OpWrite {
		s.bytes += q.Length
	}
	record(&s.ops[operationOf[c]], latency)
}

// record records a duration in a histogram, which it makes if there is none.
func record(h **Histogram, d sim.Duration) {
	if *h == nil {
		*h = NewHistogram()
	}
	(*h).Record(d)
}

// freeze is what was recorded of the stream, in a window of that length.
func (s *streamRecord) freeze(elapsed sim.Duration) *StreamResult {
	out := &StreamResult{StreamConfig: s.StreamConfig, Elapsed: elapsed, Wire: wireOf(s.wire), Bytes: s.bytes, ops: freezeOps(&s.ops)}
	if s.commit != nil {
		out.Commit = s.commit.Freeze()
	}
	return out
}

func freezeOps(ops *[numOperations]*Histogram) (out [numOperations]*Distribution) {
	for i, h := range ops {
		out[i] = new(Distribution)
		if h != nil {
			out[i] = h.Freeze()
		}
	}
	return out
}

// poolStreams is what all runs show of each stream.
func (c *Cell) poolStreams() {
	for i := range c.runs[0].Streams {
		s := &CellStream{Name: c.runs[0].Streams[i].Name, Phase: c.runs[0].Streams[i].Phase}
		var rates []Rates
		var elapsed sim.Duration
		for _, r := range c.runs {
			elapsed += r.Streams[i].Elapsed
			if one := r.Streams[i].rates(); one != nil {
				rates = append(rates, *one)
			}
		}
		s.Rates = meanRates(rates, elapsed)
		s.Ops = opsOf(func(o operation) *Distribution {
			return c.pool(func(r *RunResult) *Distribution { return r.Streams[i].ops[o] })
		})
		if c.runs[0].Streams[i].Commits {
			s.Commit = c.pool(func(r *RunResult) *Distribution { return r.Streams[i].Commit }).Latency()
		}
		c.Streams = append(c.Streams, s)
	}
}

// rates divides the stream's counts by the length of its phase's window.
func (s *StreamResult) rates() *Rates {
	if s.Elapsed <= 0 {
		return nil
	}
	seconds, commits := s.Elapsed.Seconds(), int64(0)
	if s.Commit != nil {
		commits = s.Commit.Count()
	}
	return &Rates{
		Commits: float64(commits) / seconds, IOPS: float64(s.Wire.ios()) / seconds,
		Bytes: float64(s.Bytes) / seconds, over: seconds,
	}
}

// ios counts what IOPS counts.
func (w *Wire) ios() int64 {
	return w.Read + w.Write + w.WriteFUA + w.Trim + w.TrimFUA + w.WriteZeroes + w.WriteZeroesFUA
}

func opsOf(of func(o operation) *Distribution) *Ops {
	op := func(o operation) *Latency { return of(o).Latency() }
	return &Ops{
		Read: op(opRead), Write: op(opWrite), WriteFUA: op(opWriteFUA),
		Flush: op(opFlush), Trim: op(opTrim), WriteZeroes: op(opZeroes),
	}
}
