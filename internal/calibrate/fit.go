package calibrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/internal/bench"
	"nbdbench/internal/stack"
	"nbdbench/internal/units"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// The procedure by which a target is measured; docs/DEVICES.md describes it.
const (
	// FitDuration is how long a point is measured if nothing else is asked for.
	FitDuration = 700 * time.Millisecond
	// MaxFitDuration bounds it.
	MaxFitDuration = time.Minute

	// fitArea is the part of the target that is written and read, from its start.
	fitArea = 256 * units.MiB
	// Each point is visited so many times, each time after all others, for a part
	// of its duration. The visit with the middle figure counts: what else the host
	// did, it did during one of them.
	fitVisits = 3
	// A visit goes on until it has this many commits, and so many of each job, but
	// for no longer than so many times its duration; with fewer than the fewest it
	// is no measurement.
	fitEnough = 8
	fitEach   = 4
	fitSlack  = 8
	fitFewest = 4
	// fitRounds is how many commits of each job do not count: at first all jobs
	// ask at once, and one FLUSH serves them all.
	fitRounds = 3

	// fitDeepest is the highest depth. Beyond fitFlushers jobs that write and flush,
	// one FLUSH serves many of them, and their rate takes longer to become steady than a
	// visit lasts.
	fitDeepest  = 32
	fitFlushers = 8

	fitSeed sim.Seed = 1
)

var (
	fitDepths = []int{1, 2, 4, 8, 16, 32}
	fitDirty  = []units.Size{4 * units.KiB, 64 * units.KiB, 1 * units.MiB, 4 * units.MiB, 16 * units.MiB}
)

// Point is one row of the procedure, with what came out of it.
type Point struct {
	catalog.Row
	Count         int          // commits that were measured, in the visit that counts
	P10, P50, P90 sim.Duration // of a commit in all visits, by nearest rank
	Low, High     float64      // the figures of all visits lie between

	times []sim.Duration
}

// Measurement is what is known of a target.
type Measurement struct {
	Target string // as it was named, without what is secret or of the moment
	Kind   string // what it is, in words
	Info   devices.Info
	Notes  []string // on how it was reached
	Points []Point
	// Dropped are the rows that were too slow to be measured.
	Dropped []string
}

// fitRows are the points of a device with that description, in the order in
// which they are measured. Those with one job are mean latencies, the others
// rates. No more is made dirty than half of the device.
func fitRows(info devices.Info) []catalog.Row {
	var rows []catalog.Row
	depths := func(op, pattern string, most int) {
		for _, d := range fitDepths {
			if d > most {
				break
			}
			r := catalog.Row{ID: fmt.Sprintf("%s-%d", op, d), Op: op, Jobs: d, Pattern: pattern, Unit: "ops/s"}
			if d == 1 {
				r.Unit = "us"
			}
			rows = append(rows, r)
		}
	}
	depths(catalog.OpRead, "random", fitDeepest)
	depths(catalog.OpWrite, "", fitDeepest)
	rows = append(rows, catalog.Row{ID: "write-1MiB", Op: catalog.OpWrite, Jobs: 1, Size: units.MiB, Unit: "us"})
	if info.CanFlush {
		rows = append(rows, catalog.Row{ID: "flush-clean", Op: catalog.OpFlushClean, Jobs: 1, Unit: "us"})
		for _, dirty := range fitDirty {
			if uint64(2*dirty) <= info.Size {
				rows = append(rows, dirtyRow(catalog.OpFlushN, "flush", dirty))
			}
		}
		depths(catalog.OpWriteFlush, "", fitFlushers)
	}
	if info.FUA != devices.FUANone {
		depths(catalog.OpSync4k, "", fitDeepest)
	}
	if most := fitDirty[len(fitDirty)-1]; info.FUA != devices.FUANone && info.CanFlush && uint64(2*most) <= info.Size {
		rows = append(rows, dirtyRow(catalog.OpSyncN, "sync", most))
	}
	return rows
}

// dirtyRow asks op of a device with so much dirty data, in extents of at most
// 1 MiB.
func dirtyRow(op, id string, dirty units.Size) catalog.Row {
	r := catalog.Row{ID: fmt.Sprintf("%s-%v", id, dirty), Op: op, Jobs: 1, Size: dirty, Unit: "us"}
	if dirty > units.MiB {
		r.Jobs, r.Size = int(dirty/units.MiB), units.MiB
	}
	return r
}

// bed is a device to be measured and the loop that it is on, in virtual time or,
// with real, held to the wall clock.
type bed struct {
	loop *sim.Loop
	real *sim.Real
	dev  devices.Device
}

// measureAll measures all points of the device. progress is called with how many are
// done.
func (b *bed) measureAll(ctx context.Context, m *Measurement, each time.Duration, progress bench.Progress) error {
	m.Info = b.dev.Info()
	b.dev = within(b.dev, fitArea)
	rows := fitRows(b.dev.Info())
	if err := b.fill(ctx); err != nil {
		return fmt.Errorf("writing the area that is measured: %w", err)
	}
	visits := make([][]Point, len(rows))
	for n := range fitVisits * len(rows) {
		i := n % len(rows)
		if progress != nil {
			progress(n, fitVisits*len(rows), rows[i].ID)
		}
		if err := b.flush(ctx); err != nil {
			return fmt.Errorf("FLUSH before %s: %w", rows[i].ID, err)
		}
		p, err := b.measure(ctx, &rows[i], each/fitVisits)
		if err != nil {
			return fmt.Errorf("%s: %w", rows[i].ID, err)
		}
		if p.Count >= fitFewest {
			visits[i] = append(visits[i], p)
		}
	}
	for i := range rows {
		if len(visits[i]) == 0 {
			m.Dropped = append(m.Dropped, rows[i].ID)
			continue
		}
		m.Points = append(m.Points, middle(visits[i]))
	}
	return nil
}

// middle is the visit with the middle figure, the lower one of two, with the
// quantiles of all.
func middle(visits []Point) Point {
	slices.SortStableFunc(visits, func(a, b Point) int { return cmp.Compare(a.Value, b.Value) })
	p := visits[(len(visits)-1)/2]
	p.Low, p.High = visits[0].Value, visits[len(visits)-1].Value
	var all []sim.Duration
	for i := range visits {
		all = append(all, visits[i].times...)
	}
	slices.Sort(all)
	at := func(q int) sim.Duration { return all[(len(all)*q+99)/100-1] }
	p.P10, p.P50, p.P90, p.times = at(10), at(50), at(90), nil
	return p
}

// area is a device of which only the beginning is used.
type area struct {
	devices.Device
	info devices.Info
}

func (a *area) Info() devices.Info { return a.info }

// within is the beginning of dev.
func within(dev devices.Device, most units.Size) devices.Device {
	a := &area{dev, dev.Info()}
	a.info.Size = min(a.info.Size, uint64(most)) &^ 4095
	return a
}

// fill writes the area once, so that reads find what was written.
func (b *bed) fill(ctx context.Context) error {
	write := workloads.Step{Op: workloads.ActionWrite, Size: units.MiB}
	n := b.dev.Info().Size / uint64(units.MiB)
	return b.run(ctx, &fitMeter{}, workloads.Config{
		Profile: workloads.Profile{Name: "fill", Load: workloads.Load{QueueDepth: 4}, Transaction: []workloads.Step{write}}, Commits: n,
	})
}

// flush flushes, so that a point finds nothing dirty of the one before it.
func (b *bed) flush(ctx context.Context) error {
	if !b.dev.Info().CanFlush {
		return nil
	}
	flush := workloads.Step{Op: workloads.ActionFlush}
	return b.run(ctx, &fitMeter{}, workloads.Config{
		Profile: workloads.Profile{Name: "flush", Transaction: []workloads.Step{flush}}, Commits: 1,
	})
}

// measure asks what row r asks, as CheckDevices does, for as long as each says.
func (b *bed) measure(ctx context.Context, r *catalog.Row, each time.Duration) (Point, error) {
	load, err := loadOf(r)
	if err != nil {
		return Point{}, err
	}
	depth := int(load.QueueDepth)
	m := &fitMeter{meter: meter{skip: uint64(fitRounds * depth)}, each: each, enough: max(fitEnough, fitEach*depth)}
	c := workloads.Config{Profile: load, Commits: m.skip + opsOf(r, &load), Duration: fitSlack * each}
	if err := b.run(ctx, m, c); err != nil {
		return Point{}, err
	}
	return m.point(r), nil
}

// run runs a load to its end, or ctx's.
func (b *bed) run(ctx context.Context, m *fitMeter, c workloads.Config) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.Seed, c.Observer = fitSeed, m
	runner, err := workloads.NewRunner(b.loop, b.dev, c)
	if err != nil {
		return err
	}
	m.runner = runner
	if b.real != nil {
		b.real.Do(runner.Start)
		err = b.wait(ctx, runner)
	} else {
		runner.Start()
		for n := 1; !runner.Finished() && b.loop.Step() && err == nil; n++ {
			if n%stack.InterruptEvery == 0 {
				err = ctx.Err()
			}
		}
	}
	switch {
	case err != nil || ctx.Err() != nil:
		return errors.Join(err, ctx.Err())
	case runner.Err() != nil || m.failed != devices.OK:
		return fmt.Errorf("%w: %w", stack.ErrInvalid, cmp.Or(runner.Err(), error(m.failed)))
	}
	return nil
}

// wait returns when the run is over; if ctx ends first, it waits a moment for
// what is in flight. A reply over NBD has its bound; a file has none, because what
// it does in the kernel cannot be taken back.
func (b *bed) wait(ctx context.Context, r *workloads.Runner) error {
	w := stack.Watch{Real: b.real, Runner: r, Device: b.dev}
	return w.Wait(ctx)
}

// fitMeter measures a point and ends it when it has enough.
type fitMeter struct {
	meter
	each   time.Duration
	enough int
	runner *workloads.Runner
	times  []sim.Duration
}

// Commit counts one.
func (m *fitMeter) Commit(c *devices.Commit) {
	m.meter.Commit(c)
	if m.seen <= m.skip {
		return
	}
	m.times = append(m.times, c.Acked.Sub(c.Intended))
	if m.each > 0 && len(m.times) >= m.enough && c.Acked.Sub(m.first) >= m.each {
		m.runner.Stop()
	}
}

// point is what was measured, rounded to what a profile prints.
func (m *fitMeter) point(r *catalog.Row) Point {
	p := Point{Row: *r, Count: len(m.times), times: m.times}
	if p.Count > 0 {
		p.Value = digits(m.figure(r.Unit), 5)
	}
	return p
}
