package tracefit

import (
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/trace"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// recorded is the trace that a profile makes in a time on an ideal device.
func recorded(t *testing.T, yaml string, d time.Duration) source {
	t.Helper()
	p, err := workloads.Parse("test", []byte("name: test\n"+yaml))
	if err != nil {
		t.Fatal(err)
	}
	c := new(collector)
	loop := sim.NewLoop()
	r, err := workloads.NewRunner(loop, ideal{loop, 64 << 30}, workloads.Config{Profile: p, Seed: 7, Duration: d, Observer: c})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	for !r.Finished() && loop.Step() {
	}
	return c.source()
}

func fitted(t *testing.T, open source) *Result {
	t.Helper()
	r, err := Fit(open, "again")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Rows() {
		t.Logf("%-18s %10s %10s", x[0], x[1], x[2])
	}
	return r
}

// TestAFitFindsTheParametersOfItsProfile: traces are made from profiles that are known.
func TestAFitFindsTheParametersOfItsProfile(t *testing.T) {
	const region = "regions: [{name: data, offset: 1GiB, size: 4GiB}]\n"
	for name, c := range map[string]struct {
		yaml  string
		check func(t *testing.T, p *workloads.Profile)
	}{
		"zipf": {
			region + "arrival: poisson\nrate: 2000/s\nqueue_depth: 64\ntransaction: [{op: read, size: 4k, region: data, pattern: zipf, theta: 0.9}]\n",
			func(t *testing.T, p *workloads.Profile) {
				s := p.Streams[0]
				near(t, "theta", s.Transaction[0].Theta, 0.9, 0.05)
				near(t, "rate", float64(s.Rate), 2000, 40)
				if s.Arrival != workloads.ArrivalPoisson || s.Transaction[0].Pattern != workloads.PatternZipf {
					t.Errorf("%+v", s)
				}
			},
		},
		"uniform, even": {
			region + "arrival: constant\nrate: 5000/s\nqueue_depth: 64\ntransaction: [{op: write, size: 8k, region: data, pattern: random}]\n",
			func(t *testing.T, p *workloads.Profile) {
				s := p.Streams[0]
				near(t, "rate", float64(s.Rate), 5000, 1)
				if s.Arrival != workloads.ArrivalConstant || s.Transaction[0].Pattern != workloads.PatternRandom || s.Transaction[0].Size != 8<<10 {
					t.Errorf("%+v", s)
				}
			},
		},
		"hot and cold": {
			region + "arrival: poisson\nrate: 2000/s\nqueue_depth: 64\ntransaction: [{op: read, size: 4k, region: data, pattern: zoned, zones: [{percent: 30, weight: 10}, {percent: 20, weight: 80}, {percent: 50, weight: 10}]}]\n",
			func(t *testing.T, p *workloads.Profile) {
				z := p.Streams[0].Transaction[0].Zones
				if len(z) != 3 {
					t.Fatalf("%+v", p.Streams[0])
				}
				near(t, "percent before", z[0].Percent, 30, 1)
				near(t, "percent", z[1].Percent, 20, 1)
				near(t, "weight", z[1].Weight, 80, 2)
			},
		},
		"sizes": {
			region + "arrival: poisson\nrate: 2000/s\nqueue_depth: 64\ntransaction: [{op: write, region: data, pattern: random, split: [{size: 4k, weight: 70}, {size: 16k, weight: 20}, {size: 64k, weight: 10}]}]\n",
			func(t *testing.T, p *workloads.Profile) {
				var all, first float64
				for _, s := range p.Streams[0].Transaction[0].Split {
					all += s.Weight
					if s.Size == 4<<10 {
						first = s.Weight
					}
				}
				near(t, "share of 4k", first/all, 0.7, 0.01)
			},
		},
		"bursts": {
			region + "arrival: bursts\nrate: 4000/s\non: 50ms\noff: 950ms\nqueue_depth: 64\ntransaction: [{op: write, size: 4k, region: data, pattern: random}]\n",
			func(t *testing.T, p *workloads.Profile) {
				s := p.Streams[0]
				near(t, "rate", float64(s.Rate), 4000, 200)
				near(t, "on", s.On.Std().Seconds(), 0.050, 0.003)
				near(t, "off", s.Off.Std().Seconds(), 0.950, 0.003)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := fitted(t, recorded(t, c.yaml, 50*time.Second))
			if len(r.Profile.Streams) != 1 {
				t.Fatalf("%s", r.YAML)
			}
			c.check(t, &r.Profile)
			alike(t, r)
		})
	}
}

// mixed is a log that is written in order, its flushes, reads at hot places, and trims.
const mixed = `
regions: [{name: log, size: 256MiB}, {name: data, offset: 1GiB, size: 8GiB}]
streams:
  - {name: log, arrival: poisson, rate: 500/s, queue_depth: 64, transaction: [{op: write, durable: true, size: 4k, region: log, pattern: sequential}]}
  - {name: syncs, arrival: poisson, rate: 100/s, queue_depth: 64, transaction: [{op: flush}]}
  - {name: reads, arrival: poisson, rate: 1500/s, queue_depth: 64, transaction: [{op: read, split: [{size: 4k, weight: 3}, {size: 32k, weight: 1}], region: data, pattern: zipf, theta: 0.8}]}
  - {name: scan, arrival: poisson, rate: 300/s, queue_depth: 64, transaction: [{op: read, size: 256k, region: data, pattern: sequential}]}
  - {name: trims, arrival: poisson, rate: 50/s, queue_depth: 64, transaction: [{op: trim, size: 1MiB, region: data, pattern: random}]}
`

func TestAFitKeepsMixOrderAndPlaces(t *testing.T) {
	r := fitted(t, recorded(t, mixed, 40*time.Second))
	names := map[string]float64{}
	for _, s := range r.Profile.Streams {
		names[s.Name] = float64(s.Rate)
	}
	for name, rate := range map[string]float64{"write-fua-sequential": 500, "flush": 100, "read": 1500, "read-sequential": 300, "trim": 50} {
		near(t, name, names[name], rate, 0.08*rate)
	}
	if len(names) != 5 {
		t.Errorf("%v", names)
	}
	alike(t, r)
}

// alike holds what the profile requests against the trace: shares within two points, sizes
// the same, times within a tenth.
func alike(t *testing.T, r *Result) {
	t.Helper()
	for _, x := range r.rows {
		within := 0.02
		if strings.Contains(x.what, "size") || strings.Contains(x.what, "requests") || strings.Contains(x.what, "CV") {
			within = 0.10 * x.ofTrace
		}
		if x.what == "inter-arrival CV" {
			within = max(within, 0.02) // of even arrivals it is 0
		}
		near(t, x.what, x.profile, x.ofTrace, within)
	}
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s: %g, want %g within %g", what, got, want, within)
	}
}

func TestWhatCannotBeFittedIsSaid(t *testing.T) {
	of := func(list ...trace.Record) source { return (&collector{list: list}).source() }
	if _, err := Fit(of(trace.Record{}), "x"); err == nil || !strings.Contains(err.Error(), "expected at least 100 requests, got 1") {
		t.Error(err)
	}
	if _, err := Fit(of(make([]trace.Record, 100)...), "x"); err == nil || !strings.Contains(err.Error(), "at one instant") {
		t.Error(err)
	}
	broken := func() (func() (trace.Record, error), func() error, error) {
		return func() (trace.Record, error) { return trace.Record{}, io.ErrUnexpectedEOF }, func() error { return nil }, nil
	}
	if _, err := Fit(broken, "x"); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}

// TestWhatIsKeptOfATraceIsBounded: sizes beyond MaxSizes count as powers of two.
func TestWhatIsKeptOfATraceIsBounded(t *testing.T) {
	c := new(collector)
	for i := range uint64(100_000) {
		c.list = append(c.list, trace.Record{At: time.Duration(i) * time.Microsecond, Op: trace.Write, Offset: i * 7919 * 512 % (1 << 40), Length: 512 * (1 + i%5000)})
	}
	s, err := read(c.source())
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.each {
		if n := len(s.each[i].sizes); n > MaxSizes+64 {
			t.Errorf("%d sizes", n)
		}
		if n := len(s.each[i].bins); n > Bins {
			t.Errorf("%d bins", n)
		}
	}
	fitted(t, c.source())
}
