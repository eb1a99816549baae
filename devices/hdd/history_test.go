package hdd_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/hdd"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// The little disk of the histories: writes overlap in a few places that are far
// apart, and its cache is soon full.
const (
	littleSize   = 1 << 20
	littlePlaces = 4  // of so many sectors each:
	littleRange  = 16 // two physical blocks
	littleCache  = 24 * devices.Sector
	littleSteps  = 80
	littleOpen   = 10
)

// reached counts what histories have come to, so that none of it is missed.
type reached struct{ dirtyCuts, hits, turnsMore, lost, cleanFlushes int }

// play is one random history of a disk.
type play struct {
	draw func(n int) int

	loop  *sim.Loop
	cfg   hdd.Config
	dev   *hdd.Device
	top   devices.Device
	judge *history.Judge
	log   history.Log

	open   int
	stamp  devices.Stamp
	tick   int
	writes [littlePlaces * littleRange][]written // by sector
	taken  [2]struct {                           // by resource
		until sim.Time
		busy  time.Duration
	}
	reached *reached
	failed  error
}

// written is a write of a sector, as its client sees it.
type written struct {
	stamp        devices.Stamp
	submit, done int // in ticks; done is 0 until then
}

func newPlay(draw func(n int) int, into *reached) *play {
	p := &play{draw: draw, loop: sim.NewLoop(), reached: into}
	p.cfg = hdd.Config{
		Size: littleSize, RPM: 7200, Heads: 1 + draw(3), Zones: 1 + draw(2), OuterTrack: 60, InnerTrack: 50,
		SeekA: 300 * time.Microsecond, SeekB: 2 * time.Millisecond, SeekKnee: 0.3,
		Settle: 100 * time.Microsecond, HeadSwitch: 200 * time.Microsecond, CylinderSwitch: 400 * time.Microsecond,
		Ack: 50 * time.Microsecond, Bandwidth: 10e6, QueueDepth: 1 + draw(8), Scheduler: hdd.Scheduler(draw(3)),
		PhysicalBlock: []uint64{0, 4096}[draw(2)],
		Segments:      draw(4), SegmentSize: 16 << 10, ReadAhead: uint64(draw(3)) * 8 << 10,
	}
	if err := p.cfg.Validate(); err != nil {
		panic(err)
	}
	info := devices.Info{
		Size: littleSize, LogicalBlock: 512, AtomicUnit: devices.Sector << draw(4), CanFlush: true, FUA: devices.FUANative,
		CanTrim: true, CanZero: true, MultiConn: true,
		Cache: []devices.CacheMode{devices.CacheVolatile, devices.CacheVolatile, devices.CacheNone}[draw(3)],
	}
	common := drive.Config{
		Info: info, Media: drive.NewMedia(drive.Versions), Capacity: littleCache,
		HighWater: littleCache / 2, LowWater: littleCache / 4, IdleDestage: time.Duration(draw(2)) * 5 * time.Millisecond,
	}
	p.dev = hdd.New(p.loop, p.cfg, common)
	p.dev.Watch(p.take)
	p.judge = history.NewJudge(info)
	p.top = history.NewTap(p.dev, p.loop, p.judge, &p.log)
	return p
}

func (p *play) fail(format string, args ...any) {
	if p.failed == nil {
		p.failed = fmt.Errorf(format, args...)
	}
}

// take checks that a resource does one job at a time, and that it has not been
// busy for longer than time has passed.
func (p *play) take(what hdd.Resource, from, to sim.Time) {
	r := &p.taken[what]
	if from < r.until || to < from || (what == hdd.TheArm && from != p.loop.Now()) {
		p.fail("resource %d: a job from %v to %v while the one before lasts until %v", what, from, to, r.until)
	}
	r.until = to
	if r.busy += to.Sub(from); r.busy > to.Sub(0) {
		p.fail("resource %d: busy for %v of %v", what, r.busy, to)
	}
}

func (p *play) run() error {
	for range littleSteps {
		if p.step(); p.failed != nil {
			break
		}
	}
	p.flushTwice()
	p.cut()
	if p.failed == nil {
		return nil
	}
	var lines []string
	for i := range p.log.Events {
		lines = append(lines, p.log.Events[i].String())
	}
	return fmt.Errorf("%w, on %+v, after\n  %s", p.failed, p.cfg, strings.Join(lines, "\n  "))
}

func (p *play) step() {
	switch k := p.draw(20); {
	case k < 10 && p.open < littleOpen:
		p.submit()
	case k < 14:
		for range p.draw(6) {
			p.loop.Step()
		}
	case k < 15:
		p.loop.Run(p.loop.Now().Add(time.Duration(p.draw(12)) * time.Millisecond))
	case k < 16:
		p.flushTwice()
	default:
		p.cut()
	}
}

// sector is the place on the disk of sector i of those that are used.
func sector(i int) uint64 {
	return uint64(i/littleRange)*(littleSize/devices.Sector/littlePlaces) + uint64(i%littleRange)
}

// submit sends a command of any kind for a range within one of the places.
func (p *play) submit() {
	first := p.draw(littlePlaces * littleRange)
	n := 1 + p.draw(littleRange-first%littleRange)
	r := &devices.Request{
		Offset: sector(first) * devices.Sector, Length: uint64(n) * devices.Sector,
		Completer: p, Txn: uint64(p.draw(50)),
	}
	switch p.draw(10) {
	case 0:
		r.Op, r.Offset, r.Length = devices.OpFlush, 0, 0
	case 1:
		r.Op = devices.OpWriteZeroes
	case 2:
		r.Op = devices.OpTrim
	case 3, 4, 5, 6:
		r.Op = devices.OpRead
		r.Versions = make([]devices.Stamp, n)
	default:
		r.Op = devices.OpWrite
		p.stamp++
		r.Stamp = p.stamp
	}
	if r.Op.Modifies() && p.draw(3) == 0 {
		r.Flags = devices.FUA
	}
	p.send(r, first)
}

// asked is what a client remembers of its request.
type asked struct{ first, tick int }

func (p *play) send(r *devices.Request, first int) {
	p.tick++
	p.open++
	r.Ref, r.Submitted = asked{first, p.tick}, p.loop.Now()
	if r.Op.Modifies() {
		for i := range int(r.Length / devices.Sector) {
			p.writes[first+i] = append(p.writes[first+i], written{stamp: r.Stamp, submit: p.tick})
		}
	}
	r.Begin(r.Submitted)
	p.top.Submit(r)
}

// Done checks what a read has found, and that the stages sum.
func (p *play) Done(r *devices.Request) {
	p.open--
	p.tick++
	a, took := r.Ref.(asked), p.loop.Now().Sub(r.Submitted)
	if got := r.Stages.Total(); got != took || r.Errno != devices.OK {
		p.fail("%v: %v, stages %v sum to %v, it took %v", r, r.Errno, r.Stages, got, took)
	}
	if r.Op == devices.OpRead && r.Stages[devices.MediaStage] == 0 {
		p.reached.hits++
	}
	if r.Op.Modifies() && r.Stages[devices.MediaStage] > 15*time.Millisecond { // longer than seek, turn and transfer
		p.reached.turnsMore++
	}
	for i := range int(r.Length / devices.Sector) {
		list := p.writes[a.first+i]
		if r.Op == devices.OpRead {
			p.checkRead(r, list, r.Versions[i], a.tick)
			continue
		}
		for j := range list {
			if list[j].submit == a.tick {
				list[j].done = p.tick
			}
		}
	}
}

// checkRead holds version v, found by a read that was submitted at tick asked,
// against the writes of that sector: it is the first version, or one of them that
// no other had wholly followed when the read was submitted.
func (p *play) checkRead(r *devices.Request, list []written, v devices.Stamp, asked int) {
	current := func(done int) bool {
		for _, w := range list {
			if w.done > 0 && w.done < asked && w.submit > done {
				return false
			}
		}
		return true
	}
	if v == 0 && current(0) {
		return
	}
	for _, w := range list {
		if w.stamp == v && (w.done == 0 || current(w.done)) {
			return
		}
	}
	p.fail("%v: found version %d of writes %+v, asked at %d", r, v, list, asked)
}

// flushTwice lets all that is open end and sends two FLUSHes, one after the
// other: the second finds nothing to do.
func (p *play) flushTwice() {
	p.drain()
	for i := range 2 {
		r := &devices.Request{Op: devices.OpFlush, Completer: p}
		p.send(r, 0)
		p.drain()
		if took := p.loop.Now().Sub(r.Submitted); i == 1 && took != p.cfg.Ack {
			p.fail("a second FLUSH took %v, want %v", took, p.cfg.Ack)
		}
	}
	p.reached.cleanFlushes++
	if n := p.dev.Cut(1).ExposedBytes(); n != 0 {
		p.fail("after a FLUSH %d bytes are exposed", n)
	}
}

func (p *play) drain() {
	p.loop.RunWhile(func() bool { return p.open > 0 && p.failed == nil })
	if p.open > 0 {
		p.fail("%d requests were never done", p.open)
	}
}

// cut cuts the power, which is a view, and asks the judge about the images.
func (p *play) cut() {
	k := p.dev.Cut(sim.Seed(p.draw(1000)))
	if k.ExposedBytes() > 0 {
		p.reached.dirtyCuts++
	}
	for _, image := range []func(uint64) devices.Stamp{k.Stamp, k.Durable, k.Media().Stamp} {
		p.judge.CheckImage(image, func(v history.Violation) { p.fail("cut: %v", v) })
	}
	for i, list := range p.writes {
		if n := len(list); n > 0 && list[n-1].done > 0 && k.Durable(sector(i)) != list[n-1].stamp {
			p.reached.lost++
			return
		}
	}
}

// checks has rapid run n histories unless the command line says otherwise.
func checks(t *testing.T, n string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := flag.Set("rapid.checks", n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", f.DefValue) })
}

// In random histories with power cuts, in all orders of service, with the caches
// on and off, with whole and with part blocks: what FLUSH and FUA have promised
// is there, a second FLUSH is clean, reads find the newest, and neither arm nor
// bus does two things at once.
func TestADiskKeepsItsPromisesAndItsTimeInRandomHistories(t *testing.T) {
	n := "3000"
	if testing.Short() {
		n = "300"
	}
	checks(t, n)
	var all reached
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
		if err := newPlay(draw, &all).run(); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%+v", all)
	if all.dirtyCuts == 0 || all.hits == 0 || all.turnsMore == 0 || all.lost == 0 || all.cleanFlushes == 0 {
		t.Errorf("the histories do not reach what they are for: %+v", all)
	}
}
