package workloads

import (
	"errors"
	"fmt"
	"io"
	"math"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/input"
	"nbdbench/internal/trace"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// The bounds of a trace that is replayed.
const (
	MaxReplayed  = 1 << 22 // requests, which are in memory
	maxTraceFile = 1 << 32 // bytes of the store
	maxSpeed     = 1e6
)

// Requests are those of a trace, which ActionReplay sends one by one. They are not
// changed, so runs share them.
type Requests struct {
	list    []replayed
	end     uint64 // the highest offset that one ends at
	grain   uint64 // of which all offsets and lengths are multiples, a power of two
	payload uint64 // of the longest READ or WRITE
	has     [devices.OpWriteZeroes + 1]bool
}

// replayed is a request of a trace.
type replayed struct {
	at     sim.Duration
	offset uint64
	length uint32
	op     devices.Op
	fua    bool
}

var tracedOps = [...]devices.Op{
	trace.Read: devices.OpRead, trace.Write: devices.OpWrite, trace.Flush: devices.OpFlush,
	trace.Trim: devices.OpTrim, trace.WriteZeroes: devices.OpWriteZeroes,
}

// OpenRequests reads a trace that nbdbench import has written.
func OpenRequests(file string) (*Requests, error) {
	f, err := input.Open(file, maxTraceFile)
	if err != nil {
		return nil, err
	}
	out, err := readRequests(f)
	return out, errors.Join(err, f.Close())
}

func readRequests(f io.Reader) (*Requests, error) {
	r, err := trace.NewReader(f)
	if err != nil {
		return nil, err
	}
	out := &Requests{grain: 1 << 12}
	for {
		x, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if err := out.add(x); err != nil {
			return nil, fmt.Errorf("record %d: %w", len(out.list)+1, err)
		}
	}
}

func (t *Requests) add(x trace.Record) error {
	op, most := tracedOps[x.Op], uint64(MaxExtent)
	if op == devices.OpRead || op == devices.OpWrite {
		most = MaxTransfer
		t.payload = max(t.payload, x.Length)
	}
	switch {
	case len(t.list) == MaxReplayed:
		return fmt.Errorf("expected at most %d requests to replay", MaxReplayed)
	case x.Length > most:
		return fmt.Errorf("expected at most %v in one %v, got %v", units.Size(most), op, units.Size(x.Length))
	}
	for x.Offset%t.grain != 0 || x.Length%t.grain != 0 {
		t.grain /= 2
	}
	t.has[op] = true
	t.end = max(t.end, x.Offset+x.Length)
	t.list = append(t.list, replayed{sim.Duration(x.At), x.Offset, uint32(x.Length), op, x.FUA})
	return nil
}

// Replayed is due when the trace's requests were, at Speed times their rate, the
// first at Start, and never after the last.
type Replayed struct {
	Start    sim.Time
	Speed    float64
	Requests *Requests
}

// Due is Start + the time of request n / Speed.
func (r Replayed) Due(n uint64, _ sim.Time) sim.Time {
	if n >= uint64(len(r.Requests.list)) {
		return sim.Never
	}
	return r.Start.Add(sim.Duration(math.Round(float64(r.Requests.list[n].at) / r.Speed)))
}

// mean is the mean rate of the requests as recorded.
func (t *Requests) mean() float64 {
	last := t.list[len(t.list)-1].at
	return float64(len(t.list)) / max(last.Seconds(), 1e-9)
}

// replayer has the requests of a trace in a region that begins at start.
type replayer struct {
	requests *Requests
	start    uint64
}

// vary makes q request n of the trace.
func (r *replayer) vary(q *devices.Request, n uint64) {
	x := &r.requests.list[n]
	q.Op, q.Flags, q.Offset, q.Length = x.op, 0, r.start+x.offset, uint64(x.length)
	switch {
	case x.fua:
		q.Flags = devices.FUA
	case x.op == devices.OpFlush:
		q.Offset = 0
	}
}

// replays is the trace that the stream replays, or nil.
func (s *Stream) replays() *Requests {
	if len(s.Transaction) == 1 {
		return s.Transaction[0].Requests
	}
	return nil
}

// loadTraces reads the traces that the profile names.
func (p *Profile) loadTraces() error {
	for i, s := range p.All() {
		at := ""
		if len(p.Streams) > 0 {
			at = fmt.Sprintf("streams[%d]", i)
		}
		for k := range s.Transaction {
			step := &s.Transaction[k]
			if step.Op != ActionReplay || step.Requests != nil {
				continue
			}
			r, err := OpenRequests(step.File)
			if err == nil && len(r.list) == 0 {
				err = errors.New("expected at least one request")
			}
			if err != nil {
				return conf.Under(at, conf.At(fmt.Sprintf("transaction[%d].file", k), "%v", err))
			}
			step.Requests = r
		}
	}
	return nil
}

// loaded is the profile, valid and with its traces.
func (p Profile) loaded() (Profile, error) {
	err := p.Validate()
	if err == nil {
		err = p.loadTraces()
	}
	return p, err
}

// validateReplay checks that a step that replays is a transaction by itself.
func (s *Step) validateReplay() error {
	if s.File == "" || !s.same(&Step{Op: ActionReplay, File: s.File, Region: s.Region, Count: s.Count, Requests: s.Requests}) || s.count() > 1 {
		return conf.At("file", "expected op replay with only file, the trace, and region")
	}
	return nil
}

// validateReplays checks the arrivals of a stream against its transaction.
func (l Load) validateReplays(transaction, between []Step) error {
	replays := false
	for i := range transaction {
		replays = replays || transaction[i].Op == ActionReplay
	}
	for i := range between {
		if between[i].Op == ActionReplay {
			return conf.At("between", "expected no op replay between transactions")
		}
	}
	switch {
	case replays && len(transaction) > 1:
		return conf.At("transaction", "expected only op replay: each transaction is one request of the trace")
	case !replays && l.Arrival == ArrivalReplayed:
		return conf.At("arrival", "expected a transaction of op replay with arrival replayed")
	}
	return nil
}

// fits checks that the requests can be replayed on a device, from start on within
// so many bytes.
func (t *Requests) fits(info devices.Info, s span) error {
	switch {
	case t == nil:
		return conf.At("file", "expected a trace that has been read")
	case t.end > s.length:
		return conf.At("file", "expected requests within %v, got one that ends at %v", units.Size(s.length), units.Size(t.end))
	case t.grain < devices.Sector || t.grain%uint64(max(info.MinIO, 1)) != 0 || s.start%uint64(max(info.MinIO, 1)) != 0:
		return conf.At("file", "expected requests that are multiples of %d bytes, got one of %d", max(uint64(info.MinIO), devices.Sector), t.grain)
	case info.MaxPayload != 0 && t.payload > uint64(info.MaxPayload):
		return conf.At("file", "expected at most the device's %v in one request, got %v", units.Size(info.MaxPayload), units.Size(t.payload))
	case info.ReadOnly && (t.has[devices.OpWrite] || t.has[devices.OpTrim] || t.has[devices.OpWriteZeroes]):
		return conf.At("file", "expected a device that can be written, got one that is read-only")
	case t.has[devices.OpTrim] && !info.CanTrim, t.has[devices.OpWriteZeroes] && !info.CanZero:
		return conf.At("file", "expected a device with trim and write_zeroes, as the trace has them")
	}
	return nil
}
