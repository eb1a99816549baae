package volume_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/devices/volume"
	"nbdbench/sim"
)

// The little volume of the histories: so few sectors that most writes overlap,
// and a cache that is soon full.
const (
	littleSectors = 64
	littleCache   = 20 * devices.Sector
	littleSteps   = 160
	littleOpen    = 10 // requests at once
)

// acknowledged takes every good reply for a promise: what a volume without a
// volatile cache lets its clients do.
type acknowledged struct{ judge *history.Judge }

// Observe passes the event to the judge as a command with FUA.
func (a acknowledged) Observe(e *history.Event) {
	strict := *e
	if e.Op.Modifies() {
		strict.Flags |= devices.FUA
	}
	a.judge.Observe(&strict)
}

// play is one random history of a volume.
type play struct {
	draw  sim.Stream
	drawn uint64

	loop  *sim.Loop
	dev   model
	raid  *volume.RAID // nil for a cloud
	top   devices.Device
	judge *history.Judge
	info  devices.Info
	mode  drive.Mode

	open   int
	stamp  devices.Stamp
	log    history.Log
	failed error

	// transcript is all that was read, and all images after cuts: the same for
	// versions and for bytes.
	transcript []devices.Stamp
	lost       int // sectors lost while a cache without a battery was drained
	drains     int // cuts in that time
	destages   int // cuts while the disk had a destage
}

// maker makes the volume of a play.
type maker func(p *play, media drive.Media)

func (p *play) intN(n int) int {
	p.drawn++
	return int(p.draw.Uint64N(uint64(n), p.drawn, 0))
}

func newPlay(seed int, mode drive.Mode, make maker) *play {
	p := &play{draw: sim.Seed(seed).Stream("play"), loop: sim.NewLoop(), mode: mode, info: info}
	p.info.Size, p.info.AtomicUnit = littleSectors*devices.Sector, uint32(devices.Sector<<p.intN(4))
	make(p, drive.NewMedia(mode))
	p.judge = history.NewJudge(p.info)
	p.top = history.NewTap(p.dev, p.loop, acknowledged{p.judge}, &p.log)
	return p
}

func makeCloud(p *play, media drive.Media) {
	c := volume.CloudConfig{
		Mean: 700 * us, Min: 300 * us, Sigma: 1, TailProbability: 0.1, Tail: 5 * ms,
		IOPS: volume.Limit{Rate: 4000, Burst: uint64(p.intN(8))}, MaxInFlight: p.intN(5),
	}
	p.dev = volume.NewCloud(p.loop, c, p.info, media, sim.Seed(p.intN(1000)))
}

func makeRAID(p *play, media drive.Media) {
	d := &disk{loop: p.loop, info: p.info, parallel: p.intN(3) > 0}
	d.info.Cache = []devices.CacheMode{devices.CacheNone, devices.CacheVolatile}[p.intN(2)]
	pace := p.draw
	d.service = func(*devices.Request) time.Duration {
		p.drawn++
		return time.Duration(pace.Uint64N(uint64(600*us), p.drawn, 1))
	}
	c := controller
	c.Capacity, c.HighWater = littleCache, uint64(p.intN(littleCache))
	c.LowWater = c.HighWater / 2
	c.QueueDepth, c.Order = 1+p.intN(6), volume.Order(p.intN(2))
	c.IdleDestage = time.Duration(p.intN(2)) * 100 * us
	c.BatteryFailed = p.intN(8) == 0
	v, err := volume.NewRAID(p.loop, c, p.info, media, d)
	if err != nil {
		panic(err)
	}
	p.dev, p.raid = v, v
}

func (p *play) run() error {
	for range littleSteps {
		if p.step(); p.failed != nil {
			break
		}
	}
	p.loop.Run(sim.Never)
	if p.failed == nil && p.open > 0 {
		p.failed = fmt.Errorf("%d requests were never done", p.open)
	}
	p.cut()
	if p.failed == nil {
		return nil
	}
	var lines []string
	for i := range p.log.Events {
		lines = append(lines, p.log.Events[i].String())
	}
	return fmt.Errorf("%w, after\n  %s", p.failed, strings.Join(lines, "\n  "))
}

func (p *play) step() {
	switch k := p.intN(60); {
	case k < 26 && p.open < littleOpen:
		p.submit()
	case k < 50:
		for range p.intN(5) {
			p.loop.Step()
		}
	case k < 59:
		p.cut()
	case p.raid != nil:
		p.raid.FailBattery()
	}
}

// submit sends a command of any kind for any range.
func (p *play) submit() {
	first := p.intN(littleSectors)
	most := 10
	if p.intN(10) == 0 {
		most = littleSectors // longer than the cache, perhaps
	}
	n := uint64(1 + p.intN(min(most, littleSectors-first)))
	r := &devices.Request{Offset: uint64(first) * devices.Sector, Length: n * devices.Sector, Completer: p}
	switch p.intN(10) {
	case 0:
		r.Op, r.Length, r.Offset = devices.OpFlush, 0, 0
	case 1:
		r.Op = devices.OpWriteZeroes
	case 2:
		r.Op = devices.OpTrim
	case 3, 4, 5:
		r.Op = devices.OpRead
		r.Versions = make([]devices.Stamp, n)
		r.Bytes = make([]byte, r.Length)
	default:
		r.Op = devices.OpWrite
		p.stamp++
		r.Stamp = p.stamp
	}
	if r.Op == devices.OpWrite && p.mode == drive.RealBytes {
		r.Bytes = bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(r.Stamp)), int(r.Length/8))
	}
	if r.Op.Modifies() && p.intN(3) == 0 {
		r.Flags = devices.FUA
	}
	r.Txn = uint64(p.intN(100))
	p.open++
	r.Submitted = p.loop.Now()
	r.Begin(r.Submitted)
	p.top.Submit(r)
}

// Done checks what a read found, and that the stages sum.
func (p *play) Done(r *devices.Request) {
	p.open--
	if got, took := r.Stages.Total(), p.loop.Now().Sub(r.Submitted); got != took || r.Errno != devices.OK {
		p.fail("%v: %v, stages %v sum to %v, it took %v", r, r.Errno, r.Stages, got, took)
	}
	if r.Op != devices.OpRead {
		return
	}
	for i := range r.Versions {
		v, sector := r.Versions[i], r.Offset/devices.Sector+uint64(i)
		if p.mode == drive.RealBytes {
			v = devices.Stamp(binary.BigEndian.Uint64(r.Bytes[i*devices.Sector:]))
		}
		p.transcript = append(p.transcript, v)
		if bad, is := p.judge.Check(sector, v); is {
			p.fail("%v found %v", r, bad)
		}
	}
}

func (p *play) fail(format string, args ...any) {
	if p.failed == nil {
		p.failed = fmt.Errorf("at %v: "+format, append([]any{p.loop.Now()}, args...)...)
	}
}

// cut cuts the power and has the image judged. The run goes on as if nothing had
// happened: a cut is a view.
func (p *play) cut() {
	k := p.dev.Cut(sim.Seed(p.intN(1000)))
	image := p.image(k)
	p.transcript = append(p.transcript, image...)
	if p.mode == drive.RealBytes {
		return // the same as the versions', which were judged
	}
	exposed := p.exposed(k)
	for _, read := range []func(uint64) devices.Stamp{
		k.Stamp, k.Durable, func(s uint64) devices.Stamp { return image[s] },
	} {
		p.judge.CheckImage(read, func(v history.Violation) {
			if exposed[v.Sector] {
				p.lost++
				return
			}
			p.fail("cut: %v", v)
		})
	}
	for s, v := range image {
		if k.Stamp(uint64(s)) != v {
			p.fail("cut: sector %d is %d in the view and %d in the image", s, k.Stamp(uint64(s)), v)
		}
	}
}

// exposed are the sectors that the cut may lose although they were acknowledged:
// none, but while a cache without a battery is drained.
func (p *play) exposed(k *drive.Cut) (sectors [littleSectors]bool) {
	if p.raid == nil || p.raid.Dirty() == 0 {
		if k.ExposedBytes() != 0 {
			p.fail("cut: %d bytes are exposed", k.ExposedBytes())
		}
		return sectors
	}
	if !p.raid.BatteryFailed() {
		p.destages++
		return sectors
	}
	p.drains++
	k.Exposed(0, p.info.Size, func(off, end uint64) {
		for ; off < end; off += devices.Sector {
			sectors[off/devices.Sector] = true
		}
	})
	return sectors
}

func (p *play) image(k *drive.Cut) []devices.Stamp {
	m, out := k.Media(), make([]devices.Stamp, littleSectors)
	for s := range out {
		out[s] = m.Stamp(uint64(s))
	}
	if p.mode == drive.RealBytes {
		b := devices.Payload{Bytes: make([]byte, p.info.Size)}
		m.Read(0, p.info.Size, &b)
		for s := range out {
			out[s] = devices.Stamp(binary.BigEndian.Uint64(b.Bytes[s*devices.Sector:]))
		}
	}
	return out
}

// histories runs n random histories, and some of them again in bytes.
func histories(t *testing.T, n int, make maker) (lost, drains, destages int) {
	if testing.Short() {
		n /= 10
	}
	const twins = 10 // one in so many
	for seed := range n {
		p := newPlay(seed, drive.Versions, make)
		if err := p.run(); err != nil {
			t.Fatalf("history %d: %v", seed, err)
		}
		lost, drains, destages = lost+p.lost, drains+p.drains, destages+p.destages
		if seed%twins > 0 {
			continue
		}
		twin := newPlay(seed, drive.RealBytes, make)
		if err := twin.run(); err != nil {
			t.Fatalf("history %d, in bytes: %v", seed, err)
		}
		if !slices.Equal(p.transcript, twin.transcript) {
			t.Fatalf("history %d: versions and bytes differ", seed)
		}
	}
	return lost, drains, destages
}

func TestACloudKeepsAllThatItAcknowledged(t *testing.T) {
	histories(t, 3000, makeCloud)
}

func TestARAIDKeepsAllThatItAcknowledgedUntilItsBatteryFails(t *testing.T) {
	lost, drains, dirty := histories(t, 3000, makeRAID)
	t.Logf("%d cuts with a full cache, %d in a drain without a battery, %d sectors lost there", dirty, drains, lost)
	// The drain is what shows that the judge would find a loss.
	if lost == 0 || drains == 0 || dirty == 0 {
		t.Error("the histories do not reach what they are for")
	}
}
