package tracefit

import (
	"fmt"
	"io"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/trace"
	"nbdbench/internal/units"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// mostGenerated bounds the requests of a profile that are held against its trace.
const mostGenerated = 400_000

// ideal is a device that has every request done a microsecond later.
type ideal struct {
	loop *sim.Loop
	size uint64
}

func (d ideal) Info() devices.Info {
	return devices.Info{
		Size: d.size, LogicalBlock: 512, AtomicUnit: 512, PreferredIO: 4096, CanFlush: true, FUA: devices.FUANative,
		CanTrim: true, CanZero: true, CanFastZero: true,
	}
}

func (d ideal) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.At(&r.Timer, d.loop.Now().Add(time.Microsecond), d)
}

// Fire ends a request.
func (ideal) Fire(t *sim.Timer) {
	t.Owner.(*devices.Request).Finish(devices.OK)
}

// collector keeps the requests of a run as those of a trace.
type collector struct {
	list []trace.Record
	from sim.Time
}

var tracedOps = map[devices.Op]trace.Op{
	devices.OpRead: trace.Read, devices.OpWrite: trace.Write, devices.OpFlush: trace.Flush,
	devices.OpTrim: trace.Trim, devices.OpWriteZeroes: trace.WriteZeroes,
}

// Submit takes a request at the time that it was due.
func (c *collector) Submit(r *devices.Request) {
	if len(c.list) == 0 {
		c.from = r.Submitted
	}
	c.list = append(c.list, trace.Record{
		At: r.Submitted.Sub(c.from), Offset: r.Offset, Length: r.Length, Op: tracedOps[r.Op], FUA: r.Flags&devices.FUA != 0,
	})
}

func (*collector) Op(*devices.Request)    {}
func (*collector) Commit(*devices.Commit) {}

// generated is the shape of what a profile requests, in the time in which its trace has
// at most mostGenerated requests.
func generated(p *workloads.Profile, s *shape) (*shape, error) {
	span := s.span
	if s.records > mostGenerated {
		span = time.Duration(float64(span) * mostGenerated / float64(s.records))
	}
	c := new(collector)
	loop := sim.NewLoop()
	dev := ideal{loop, roundUp(s.data.end, 1<<20) + 1<<26}
	r, err := workloads.NewRunner(loop, dev, workloads.Config{Profile: *p, Seed: 1, Duration: max(span, 1), Observer: c})
	if err != nil {
		return nil, fmt.Errorf("a fault of the fit, its profile cannot run: %w", err)
	}
	r.Start()
	for !r.Finished() && len(c.list) < 2*mostGenerated && loop.Step() {
	}
	return read(c.source())
}

// source gives what was collected.
func (c *collector) source() source {
	return func() (func() (trace.Record, error), func() error, error) {
		i := -1
		return func() (trace.Record, error) {
			if i++; i == len(c.list) {
				return trace.Record{}, io.EOF
			}
			return c.list[i], nil
		}, func() error { return nil }, nil
	}
}

// row is a line of the comparison.
type row struct {
	what             string
	ofTrace, profile float64
	show             func(float64) string
}

func percentText(x float64) string { return fmt.Sprintf("%.1f%%", 100*x) }
func sizeText(x float64) string    { return units.Size(x).String() }
func numberText(x float64) string  { return fmt.Sprintf("%.3g", x) }

func compare(a, b *shape) (rows []row) {
	add := func(what string, show func(float64) string, of func(*shape) float64) {
		rows = append(rows, row{what, of(a), of(b), show})
	}
	add("requests", func(x float64) string { return fmt.Sprintf("%.0f", x) }, func(s *shape) float64 { return float64(s.records) })
	add("requests/s", numberText, func(s *shape) float64 { return float64(s.records-1) / s.span.Seconds() })
	for k := range kinds {
		if a.each[k].count+a.each[k+kinds].count > 0 {
			add(classOf(k).String(), percentText, func(s *shape) float64 {
				return float64(s.each[k].count+s.each[k+kinds].count) / float64(s.records)
			})
		}
	}
	for op := trace.Read; op <= trace.WriteZeroes; op++ {
		if a.quantile(op, 1) == 0 {
			continue
		}
		for _, q := range []float64{0.5, 0.9, 0.99} {
			add(fmt.Sprintf("%v size p%g", op, 100*q), sizeText, func(s *shape) float64 { return float64(s.quantile(op, q)) })
		}
	}
	add("sequential", percentText, (*shape).sequential)
	add("hottest tenth", percentText, func(s *shape) float64 { return s.data.hottest() })
	add("inter-arrival CV", numberText, func(s *shape) float64 { return s.gaps.cv() })
	return rows
}

// Rows are the lines of the comparison: what, of the trace, of the profile.
func (r *Result) Rows() (out [][3]string) {
	for _, x := range r.rows {
		out = append(out, [3]string{x.what, x.show(x.ofTrace), x.show(x.profile)})
	}
	return out
}
