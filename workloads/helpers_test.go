package workloads

import (
	"fmt"
	"testing"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/sim"
)

// fakeDevice takes as long as latency says, and charges part of it.
type fakeDevice struct {
	loop    *sim.Loop
	info    devices.Info
	latency func(r *devices.Request) sim.Duration
	charge  func(r *devices.Request, done sim.Time)
	errno   func(r *devices.Request) devices.Errno

	inFlight, maxInFlight int
}

const testSize = 1 << 30

func newFake(loop *sim.Loop, latency sim.Duration) *fakeDevice {
	return &fakeDevice{
		loop:    loop,
		info:    devices.Info{Size: testSize, LogicalBlock: 512, CanFlush: true, FUA: devices.FUANative, CanTrim: true, CanZero: true},
		latency: func(*devices.Request) sim.Duration { return latency },
	}
}

func (d *fakeDevice) Info() devices.Info { return d.info }

func (d *fakeDevice) Submit(r *devices.Request) {
	d.inFlight++
	d.maxInFlight = max(d.maxInFlight, d.inFlight)
	r.Timer.Owner = r
	done := d.loop.Now().Add(d.latency(r))
	if d.charge != nil {
		d.charge(r, done)
	}
	d.loop.At(&r.Timer, done, d)
}

func (d *fakeDevice) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	d.inFlight--
	errno := devices.OK
	if d.errno != nil {
		errno = d.errno(r)
	}
	r.Finish(errno)
}

// record stores all calls of a Runner.
type record struct {
	submits []devices.Request
	ops     []devices.Request
	commits []devices.Commit
}

func (o *record) Submit(r *devices.Request) { o.submits = append(o.submits, *r) }
func (o *record) Op(r *devices.Request)     { o.ops = append(o.ops, *r) }
func (o *record) Commit(c *devices.Commit)  { o.commits = append(o.commits, *c) }

// where is each request that was submitted, as text, by stream.
func (o *record) where(stream uint32) (out []string) {
	for i := range o.submits {
		if r := &o.submits[i]; r.Stream == stream {
			fua := ""
			if r.Durable() {
				fua = "+fua"
			}
			out = append(out, fmt.Sprintf("%v%s %d+%d", r.Op, fua, r.Offset, r.Length))
		}
	}
	return out
}

// profile reads a profile from YAML; name is added.
func profile(t testing.TB, yaml string) Profile {
	t.Helper()
	p, err := Parse("test.yaml", []byte("name: test\n"+yaml))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs cfg on dev to its end.
func run(t testing.TB, dev *fakeDevice, cfg Config) (*record, *Runner) {
	t.Helper()
	o := new(record)
	if cfg.Observer == nil {
		cfg.Observer = o
	}
	r, err := NewRunner(dev.loop, dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	dev.loop.Run(sim.Never)
	if !r.Finished() {
		t.Fatalf("not finished: %d transactions in progress", r.Busy())
	}
	return o, r
}

// field is the path of the field that err is about.
func field(err error) string {
	if f, ok := err.(*conf.FieldError); ok {
		return f.Path
	}
	return ""
}
