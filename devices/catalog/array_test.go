package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/array"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// small drives with caches that are soon full, so that all that a cache does happens.
const (
	smallNVMe = "extends: nvme-990pro\nname: small-nvme\nsize: 64MiB\ncache: {capacity: 256KiB, high_water: 64KiB, low_water: 0, idle_destage: 20ms}\n"
	smallDisk = "extends: hdd-7200\nname: small-disk\nsize: 96MiB\ncache: {capacity: 256KiB, high_water: 64KiB, low_water: 0, idle_destage: 20ms}\n"
)

// arrays are the compositions that the tests go through, by their names.
func arrays(t *testing.T) map[string]*Profile {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"nvme.yaml": smallNVMe, "disk.yaml": smallDisk, "tiny.yaml": strings.Replace(smallNVMe, "64MiB", "1MiB", 1)} {
		writeFile(t, dir, name, text)
	}
	out := map[string]*Profile{}
	for name, text := range map[string]string{
		"mirror": "kind: mirror\nmembers: [{device: ./nvme.yaml, seed: 7}, ./nvme.yaml, ./disk.yaml]\n",
		"pair":   "kind: mirror\nmembers: [./nvme.yaml, ./nvme.yaml]\n",
		"stripe": "kind: stripe\nchunk: 8KiB\nmembers: [./nvme.yaml, ./nvme.yaml, ./nvme.yaml]\n",
		"raid5":  "kind: raid5\nchunk: 8KiB\nmembers: [./nvme.yaml, ./nvme.yaml, ./nvme.yaml, ./nvme.yaml]\n",
		"log":    "kind: log\nlog: {ack: 2us, interval: 3ms, dirty: 256KiB}\nmembers: [./tiny.yaml, ./nvme.yaml]\n",
		"nested": "kind: stripe\nchunk: 16KiB\nmembers: [./mirror.yaml, ./raid5.yaml]\n",
	} {
		writeFile(t, dir, name+".yaml", fmt.Sprintf("name: %s\ntitle: t\nabout: a\nconfidence: low\n%s", name, text))
	}
	for _, name := range []string{"mirror", "pair", "stripe", "raid5", "log", "nested"} {
		p, err := Load(dir + "/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		out[name] = p
	}
	return out
}

// breakable is an array of any kind.
type breakable interface {
	Device
	Break(d array.Defect)
}

// rig is an array under random requests, with a judge of what it promises.
type rig struct {
	t      *testing.T
	loop   *sim.Loop
	model  breakable
	array  *array.Array // the model, but of a log
	tap    *history.Tap
	judge  *history.Judge
	draw   sim.Stream
	n      uint64
	stamp  devices.Stamp
	failed map[devices.Errno]int
	ops    []*devices.Request // idle
	fua    bool
}

const rigSpan = 512 << 10 // bytes that the requests go to

func newRig(t *testing.T, p *Profile, seed sim.Seed, defect array.Defect) *rig {
	t.Helper()
	g := &rig{t: t, loop: sim.NewLoop(), draw: seed.Stream("rig"), failed: map[devices.Errno]int{}}
	d, err := p.Open(g.loop, Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	g.model = d.(breakable)
	g.array, _ = d.(*array.Array)
	g.model.Break(defect)
	g.judge = history.NewJudge(d.Info())
	g.tap = history.NewTap(g.model, g.loop, g.judge)
	g.fua = d.Info().FUA == devices.FUANative
	for range 8 {
		g.ops = append(g.ops, &devices.Request{Completer: g})
	}
	return g
}

func (g *rig) uint64n(n uint64) uint64 {
	g.n++
	return g.draw.Uint64N(n, g.n, 0)
}

// next submits a random request, if one may be in progress.
func (g *rig) next() {
	if len(g.ops) == 0 {
		return
	}
	r := g.ops[len(g.ops)-1]
	g.ops = g.ops[:len(g.ops)-1]
	*r = devices.Request{Completer: g}
	r.Submitted = g.loop.Now()
	r.Begin(r.Submitted)
	r.Offset = g.uint64n(rigSpan/512) * 512
	r.Length = (1 + g.uint64n(16)) * 512
	if g.uint64n(8) == 0 {
		r.Length *= 8
	}
	r.Length = min(r.Length, rigSpan-r.Offset)
	i := g.model.Info()
	switch k := g.uint64n(20); {
	case k < 3:
		r.Op, r.Offset, r.Length = devices.OpFlush, 0, 0
	case k < 7:
		r.Op = devices.OpRead
		r.Versions = make([]devices.Stamp, r.Length/512)
	case k < 8 && i.CanZero:
		r.Op = devices.OpWriteZeroes
	default:
		r.Op = devices.OpWrite
	}
	if r.Op.Modifies() {
		g.stamp++
		r.Stamp = g.stamp
		if g.fua && g.uint64n(3) == 0 {
			r.Flags = devices.FUA
		}
	}
	g.tap.Submit(r)
}

// Done holds the stages of a request against its time.
func (g *rig) Done(r *devices.Request) {
	g.ops = append(g.ops, r)
	if r.Errno != devices.OK {
		g.failed[r.Errno]++
		return
	}
	if took := g.loop.Now().Sub(r.Submitted); r.Stages.Total() != took {
		g.t.Errorf("%v took %v, its stages sum to %v", r, took, r.Stages.Total())
	}
}

// step lets n events happen, with requests between them.
func (g *rig) step(n int) {
	for range n {
		if g.uint64n(3) == 0 {
			g.next()
		}
		if !g.loop.Step() {
			g.next()
		}
	}
}

// rest waits for all that is in progress.
func (g *rig) rest() { g.loop.RunWhile(func() bool { return len(g.ops) < 8 }) }

// violations judges an image.
func (g *rig) violations(k *drive.Cut) (out []string) {
	for _, read := range []func(uint64) devices.Stamp{k.Stamp, k.Durable, k.Media().Stamp} {
		g.judge.CheckImage(read, func(v history.Violation) { out = append(out, v.String()) })
	}
	return out
}

// do carries out one request.
func (g *rig) do(r *devices.Request) devices.Errno {
	w := waiter{}
	r.Completer = &w
	r.Begin(g.loop.Now())
	g.tap.Submit(r)
	g.loop.RunWhile(func() bool { return !w.done })
	return r.Errno
}

type waiter struct{ done bool }

func (w *waiter) Done(*devices.Request) { w.done = true }

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// versions reads all there is.
func (g *rig) versions() []devices.Stamp {
	v := make([]devices.Stamp, rigSpan/512)
	if e := g.do(&devices.Request{Op: devices.OpRead, Length: rigSpan, Payload: devices.Payload{Versions: v}}); e != devices.OK {
		g.t.Errorf("a READ of all: %v", e)
	}
	return v
}

func TestNoCutOfAnArrayBreaksAPromise(t *testing.T) {
	worlds := sim.Seed(12)
	if testing.Short() {
		worlds = 3
	}
	for name, p := range arrays(t) {
		for seed := range worlds {
			g := newRig(t, p, seed+1, array.DefectNone)
			for cut := range uint64(25) {
				g.step(60)
				k := g.model.Cut(sim.Seed(seed).Sub("cut", cut))
				switch cut % 3 {
				case 1:
					k.Worst()
				case 2:
					k.Random(sim.Seed(cut))
				}
				if v := g.violations(k); len(v) > 0 {
					t.Fatalf("%s, seed %d, cut %d: %d, first %s", name, seed+1, cut, len(v), v[0])
				}
			}
			g.rest()
			if len(g.failed) > 0 {
				t.Errorf("%s, seed %d: %v", name, seed+1, g.failed)
			}
			if g.do(&devices.Request{Op: devices.OpFlush}) != devices.OK {
				t.Fatalf("%s: FLUSH fails", name)
			}
			k, v := g.model.Cut(1).Media(), g.versions()
			for s, want := range v {
				if got := k.Stamp(uint64(s)); got != want {
					t.Fatalf("%s, seed %d: after FLUSH sector %d is %d, and reads as %d", name, seed+1, s, got, want)
				}
			}
		}
	}
}

// A member that loses its power alone is dropped; the array goes on without it, keeps its
// promises, and reads as before. Brought up to date it counts again.
func TestAMemberLosesItsPower(t *testing.T) {
	all := arrays(t)
	for _, name := range []string{"mirror", "raid5"} {
		for seed := range sim.Seed(10) {
			for lost := range len(all[name].Members) {
				g := newRig(t, all[name], seed+1, array.DefectNone)
				g.step(400)
				if err := g.array.CutMember(lost, seed); err != nil {
					t.Fatal(err)
				}
				g.step(400)
				if v := g.violations(g.array.Cut(seed)); name == "mirror" && len(v) > 0 {
					t.Fatalf("%s without member %d, seed %d: %d, first %s", name, lost, seed+1, len(v), v[0])
				}
				g.rest()
				ended := devices.EIO
				g.array.Resync(lost, func(e devices.Errno) { ended = e })
				g.step(200)
				g.loop.RunWhile(func() bool { return g.array.Failed(lost) && ended != devices.OK })
				g.rest()
				if ended != devices.OK || g.array.Failed(lost) {
					t.Fatalf("%s, member %d, seed %d: resync ended with %v", name, lost, seed+1, ended)
				}
				after := g.versions()
				g.do(&devices.Request{Op: devices.OpFlush})
				for other := range len(all[name].Members) { // each of the others can be done without now
					k := g.array.CutWithout(other, seed)
					m := k.Media()
					for s, want := range after {
						if k.Stamp(uint64(s)) != want || m.Stamp(uint64(s)) != want {
							t.Fatalf("%s, seed %d: without member %d sector %d is %d or %d, and read as %d", name, seed+1, other, s, k.Stamp(uint64(s)), m.Stamp(uint64(s)), want)
						}
					}
				}
			}
		}
	}
}

// What was acknowledged and flushed is read without any one member.
func TestWithoutAMemberTheOthersHaveAllData(t *testing.T) {
	all := arrays(t)
	for _, name := range []string{"mirror", "raid5"} {
		for lost := range len(all[name].Members) {
			g := newRig(t, all[name], 3, array.DefectNone)
			g.step(3000)
			g.rest()
			want := g.versions()
			g.do(&devices.Request{Op: devices.OpFlush})
			if err := g.array.CutMember(lost, 1); err != nil {
				t.Fatal(err)
			}
			got := g.versions()
			for s := range want {
				if got[s] != want[s] {
					t.Fatalf("%s without member %d: sector %d reads as %d, was %d", name, lost, s, got[s], want[s])
				}
			}
		}
	}
}

// findsViolation reports whether a defect shows in so many cuts, of all members or with
// one of them lost.
func findsViolation(t *testing.T, p *Profile, defect array.Defect, lost int, member bool) bool {
	t.Helper()
	for seed := range sim.Seed(40) {
		g := newRig(t, p, seed+1, defect)
		for cut := range uint64(20) {
			if member && cut == 10 {
				if err := g.array.CutMember(0, seed); err != nil {
					t.Fatal(err)
				}
			}
			g.step(60)
			k := g.model.Cut(sim.Seed(seed).Sub("cut", cut))
			if lost >= 0 {
				g.rest()
				k = g.array.CutWithout(lost, sim.Seed(seed).Sub("cut", cut))
			}
			if len(g.violations(k)) > 0 {
				return true
			}
		}
	}
	return false
}

func TestTheJudgeFindsEveryDefectOfAnArray(t *testing.T) {
	all := arrays(t)
	for _, c := range []struct {
		name   string
		defect array.Defect
		lost   int // as well as the power; -1 is nothing
		member bool
	}{
		{"pair", array.DefectFlushOneLeg, -1, false},
		{"pair", array.DefectFlushForgets, 0, false},
		{"mirror", array.DefectReturnsSilently, -1, true},
		{"stripe", array.DefectFlushForgets, -1, false},
		{"raid5", array.DefectFlushForgets, -1, false},
		{"nested", array.DefectFlushForgets, -1, false},
		{"log", array.DefectLogEarly, -1, false},
		{"log", array.DefectLogForgets, -1, false},
		{"log", array.DefectLogReplaysNothing, -1, false},
	} {
		if c.lost >= 0 && findsViolation(t, all[c.name], array.DefectNone, c.lost, c.member) {
			t.Errorf("%s without member %d: a violation without a defect", c.name, c.lost)
		}
		if !findsViolation(t, all[c.name], c.defect, c.lost, c.member) {
			t.Errorf("%s: defect %d was not found", c.name, c.defect)
		}
	}
}

// A promise of a RAID 5 holds without any one member, where nothing else is written: the
// parity is as durable as the data when the reply comes.
func TestTheParityIsDurableWithTheData(t *testing.T) {
	p := arrays(t)["raid5"]
	for _, c := range []struct {
		defect array.Defect
		flags  devices.Flags
		flush  bool
		lost   bool
	}{
		{array.DefectNone, devices.FUA, false, false},
		{array.DefectNone, 0, true, false},
		{array.DefectFUADataOnly, devices.FUA, false, true},
		{array.DefectAckBeforeParity, devices.FUA, false, true},
	} {
		lost := false
		for off := uint64(0); off < 24<<10; off += 4 << 10 {
			g := newRig(t, p, 5, c.defect)
			g.do(&devices.Request{Op: devices.OpWrite, Offset: off, Length: 4 << 10, Flags: c.flags, Payload: devices.Payload{Stamp: 1}})
			if c.flush {
				g.do(&devices.Request{Op: devices.OpFlush})
			}
			for i := range p.Members {
				k := g.array.CutWithout(i, 1)
				k.Worst()
				lost = lost || k.Stamp(off/512) != 1 || k.Media().Stamp(off/512+7) != 1
			}
		}
		if lost != c.lost {
			t.Errorf("defect %d, flags %v, FLUSH %v: lost %v, want %v", c.defect, c.flags, c.flush, lost, c.lost)
		}
	}
}

// The write hole: a row of which data and parity are being written when the power goes,
// and a member of it that is lost with it.
func TestTheWriteHoleOfRAID5(t *testing.T) {
	p := arrays(t)["raid5"]
	holes := 0
	for seed := range sim.Seed(40) {
		g := newRig(t, p, seed+1, array.DefectNone)
		for cut := range uint64(20) {
			g.step(60)
			at := sim.Seed(seed).Sub("cut", cut)
			if v := g.violations(g.array.Cut(at)); len(v) > 0 {
				t.Fatalf("seed %d, cut %d, with all members: %s", seed+1, cut, v[0])
			}
			if v := g.violations(g.array.CutWithout(1, at)); len(v) > 0 {
				if holes == 0 {
					t.Logf("seed %d, cut %d, without member 1: %d sectors, first %s", seed+1, cut, len(v), strings.TrimSpace(v[0]))
				}
				holes++
			}
		}
	}
	if holes == 0 {
		t.Error("no cut with a lost member shows the write hole")
	}
}

func TestErrorsOfArraysNameFileAndLine(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "self.yaml", "name: self\nkind: mirror\nmembers: [nvme-980, ./self.yaml]\n")
	writeFile(t, dir, "a.yaml", "name: a\nkind: mirror\nmembers: [nvme-980, ./b.yaml]\n")
	writeFile(t, dir, "b.yaml", "name: b\nkind: mirror\nmembers: [nvme-980, ./a.yaml]\n")
	writeFile(t, dir, "c1.yaml", "name: c1\nkind: mirror\nmembers: [nvme-980, nvme-980]\n")
	for i := 2; i <= 4; i++ {
		writeFile(t, dir, fmt.Sprintf("c%d.yaml", i), fmt.Sprintf("name: c%d\nkind: mirror\nmembers: [./c%d.yaml, ./c%d.yaml]\n", i, i-1, i-1))
	}
	writeFile(t, dir, "wide.yaml", "name: wide\nkind: mirror\nmembers: ["+strings.Repeat("nvme-980, ", 31)+"nvme-980]\n")
	for _, c := range []struct{ text, want string }{
		{"kind: mirror\nmembers: [nvme-980]\n", "x.yaml:3:1: members: expected 2 to 32 members, got 1"},
		{"kind: mirror\n", "expected 2 to 32 members, got 0"},
		{"kind: mirror\nmembers: [nvme-980, nvme-98]\n", `x.yaml:3:21: members[1]: unknown device "nvme-98"`},
		{"kind: mirror\nmembers: [nvme-980, ./none.yaml]\n", "x.yaml:3:21: members[1]:"},
		{"kind: mirror\nmembers: [nvme-980, [1]]\n", "x.yaml:3:21: members[1]: expected a device's name"},
		{"kind: mirror\nmembers: [nvme-980, {seed: 3}]\n", "x.yaml:3:21: members[1]: expected a device"},
		{"kind: mirror\nchunk: 64KiB\nmembers: [nvme-980, nvme-980]\n", "x.yaml:3:8: chunk: expected none of a mirror"},
		{"kind: stripe\nmembers: [nvme-980, nvme-980]\n", "expected a chunk that is a power of two"},
		{"kind: stripe\nchunk: 12KiB\nmembers: [nvme-980, nvme-980]\n", "x.yaml:3:8: chunk: expected a chunk that is a power of two"},
		{"kind: raid5\nchunk: 64KiB\nmembers: [nvme-980, nvme-980]\n", "expected 3 to 32 members, got 2"},
		{"kind: mirror\nmembers: [nvme-980, ./self.yaml]\n", "expected no array that contains itself"},
		{"kind: mirror\nmembers: [nvme-980, ./a.yaml]\n", "expected no array that contains itself"},
		{"kind: mirror\nmembers: [nvme-980, ./c4.yaml]\n", "expected at most 3 arrays within each other"},
		{"kind: mirror\nmembers: [./wide.yaml, ./wide.yaml, ./wide.yaml]\n", "expected at most 64 members in all"},
		{"kind: mirror\nadvertise: {flush: true, fua: none}\nmembers: [nvme-980, nvme-980]\n", "x.yaml:3:1: advertise: expected none, or what follows from the members"},
		{"kind: ssd\nmembers: [nvme-980]\n", "x.yaml:3:1: members: expected none of a device of kind"},
	} {
		writeFile(t, dir, "x.yaml", "name: x\n"+c.text)
		_, err := Load(dir + "/x.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

// again submits one request over and over, on an array whose tables have grown.
type again struct {
	loop   *sim.Loop
	device Device
	r      devices.Request
	done   bool
	n      uint64
}

func (a *again) Done(*devices.Request) { a.done = true }

func (a *again) once() {
	a.n++
	a.r = devices.Request{Completer: a, Op: devices.OpWrite, Offset: a.n * 7919 % 64 * 4096, Length: 4096, Payload: devices.Payload{Stamp: devices.Stamp(a.n)}}
	switch a.n % 3 {
	case 1:
		a.r.Op, a.r.Offset, a.r.Length = devices.OpFlush, 0, 0
	case 2:
		a.r.Op = devices.OpRead
	}
	a.done = false
	a.r.Begin(a.loop.Now())
	a.device.Submit(&a.r)
	a.loop.RunWhile(func() bool { return !a.done })
}

// The array itself allocates nothing for a request. What is kept of a RAID 5's parity in
// the members' caches is kept in memory of its own, as bytes are.
func TestAnArrayAllocatesNothingForARequest(t *testing.T) {
	for name, most := range map[string]float64{"mirror": 0, "pair": 0, "stripe": 0, "raid5": 2} {
		loop := sim.NewLoop()
		d, err := arrays(t)[name].Open(loop, Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		a := &again{loop: loop, device: d}
		for range 20000 {
			a.once()
		}
		if got := testing.AllocsPerRun(3000, a.once); got > most {
			t.Errorf("%s: %.2f allocations a request, want at most %.0f", name, got, most)
		}
	}
}

// A FLUSH of a fast drive and a disk together takes as long as the disk's alone, and its
// stages are those of the disk.
func TestAFlushEndsWithTheSlowestMember(t *testing.T) {
	all := arrays(t)
	took := map[string]sim.Duration{}
	for name, p := range map[string]*Profile{"mirror": all["mirror"], "disk": all["mirror"].Members[2].Profile, "nvme": all["mirror"].Members[0].Profile} {
		loop := sim.NewLoop()
		d, err := p.Open(loop, Options{Seed: 1, Size: 32 << 20})
		if err != nil {
			t.Fatal(err)
		}
		a := &again{loop: loop, device: d}
		for range 300 {
			a.once()
			if a.n%3 == 1 {
				took[name] += a.r.Stages.Total()
			}
		}
	}
	if took["mirror"] < took["disk"]*9/10 || took["nvme"]*2 > took["mirror"] {
		t.Errorf("100 FLUSHes take %v on a mirror, %v on its disk and %v on its drive", took["mirror"], took["disk"], took["nvme"])
	}
}
