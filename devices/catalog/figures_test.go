package catalog_test

import (
	"math"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/sim"
)

// bench drives an embedded profile as the programs did that published figures.
type bench struct {
	t    *testing.T
	loop *sim.Loop
	dev  catalog.Device
	done int
	txn  uint64
	r    devices.Request
	next func(r *devices.Request) // closed loop, where set
}

func newBench(t *testing.T, name string) *bench {
	t.Helper()
	p, err := catalog.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return benchOf(t, p)
}

func benchOf(t *testing.T, p *catalog.Profile) *bench {
	t.Helper()
	loop := sim.NewLoop()
	dev, err := p.Open(loop, catalog.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, loop: loop, dev: dev}
}

func (b *bench) Done(r *devices.Request) {
	if r.Errno != devices.OK {
		b.t.Fatalf("%v: %v", r, r.Errno)
	}
	b.done++
	if b.next != nil {
		b.next(r)
	}
}

func (b *bench) submit(r *devices.Request, op devices.Op, flags devices.Flags, off, n uint64) {
	b.txn++ // the spread is drawn anew for each
	r.Reset()
	r.Op, r.Flags, r.Offset, r.Length, r.Txn, r.Completer = op, flags, off, n, b.txn, b
	r.Begin(b.loop.Now())
	b.dev.Submit(r)
}

func (b *bench) do(op devices.Op, flags devices.Flags, off, n uint64) {
	want := b.done + 1
	b.submit(&b.r, op, flags, off, n)
	b.loop.RunWhile(func() bool { return b.done < want })
}

// mean is the mean time of n calls of f.
func (b *bench) mean(n int, f func(i uint64)) time.Duration {
	start := b.loop.Now()
	for i := range n {
		f(uint64(i))
	}
	return b.loop.Now().Sub(start) / time.Duration(n)
}

// rate is the writes per second of jobs that write 4 KiB one after another.
func (b *bench) rate(jobs, writes int, flags devices.Flags) float64 {
	rs := make([]devices.Request, jobs)
	send := func(r *devices.Request) { b.submit(r, devices.OpWrite, flags, b.txn%1024*4096, 4096) }
	b.next = func(r *devices.Request) {
		if b.done < writes {
			send(r)
		}
	}
	for i := range rs {
		send(&rs[i])
	}
	b.loop.RunWhile(func() bool { return b.done < writes })
	return float64(writes) / b.loop.Now().Sub(0).Seconds()
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	t.Logf("%s: %.1f, published %.1f (%+.1f%%)", what, got, want, 100*(got/want-1))
	if math.Abs(got/want-1) > within {
		t.Errorf("%s is %g, want %g within %g%%", what, got, want, 100*within)
	}
}

const (
	wal = 8192 // bytes: a page of PostgreSQL's log
	ops = 3000
)

func TestTheFlushAndFUAOfA990ProAreAsMeasured(t *testing.T) {
	b := newBench(t, "nvme-990pro")
	write := func(flags devices.Flags) func(i uint64) {
		return func(i uint64) { b.do(devices.OpWrite, flags, i%512*wal, wal) }
	}
	flush := func() { b.do(devices.OpFlush, 0, 0, 0) }
	micros := func(d time.Duration) float64 { return float64(d) / 1e3 }
	near(t, "8 KiB write with FUA, µs", micros(b.mean(ops, write(devices.FUA))), 4007, 0.08)
	near(t, "8 KiB write and FLUSH, µs", micros(b.mean(ops, func(i uint64) { write(0)(i); flush() })), 1643, 0.08)
	near(t, "write, FLUSH, write with FUA, µs", micros(b.mean(ops, func(i uint64) {
		write(0)(i)
		flush()
		write(devices.FUA)(i + 1)
	})), 5636, 0.08)
}

func TestThePM963WritesAsMeasuredAtOneAndAtSixteenJobs(t *testing.T) {
	for _, flags := range []devices.Flags{0, devices.FUA} {
		near(t, "writes/s at 1 job", newBench(t, "nvme-pm963").rate(1, 5000, flags), 34090, 0.03)
		near(t, "writes/s at 16 jobs", newBench(t, "nvme-pm963").rate(16, 50000, flags), 268030, 0.05)
	}
}

func TestADiskWritesOnceATurnWithSequentialFUA(t *testing.T) {
	b := newBench(t, "hdd-7200")
	per := b.mean(ops, func(i uint64) { b.do(devices.OpWrite, devices.FUA, i*4096, 4096) })
	near(t, "sequential 4 KiB writes with FUA per second", 1/per.Seconds(), 120, 0.03)
}

func TestRAMTakesNoTime(t *testing.T) {
	b := newBench(t, "ram")
	if d := b.mean(10, func(i uint64) { b.do(devices.OpWrite, devices.FUA, i*4096, 4096) }); d != 0 {
		t.Errorf("a write took %v", d)
	}
}
