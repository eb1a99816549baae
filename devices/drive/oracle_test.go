package drive_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// The little device of the histories: at most 32 sectors, so that most writes
// overlap.
const (
	oracleSectors = 32
	oracleBytes   = oracleSectors * devices.Sector
	oracleSteps   = 40
)

// source draws whole numbers below n: from rapid, which can shrink, or from a
// seed, where a failure is what is looked for.
type source func(n int) int

func rapidSource(t *rapid.T) source {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
}

func seedSource(seed int) source {
	s, i := sim.Seed(seed).Stream("history"), uint64(0)
	return func(n int) int {
		i++
		return int(s.Uint64N(uint64(n), i, 0))
	}
}

// request is one command between its submit and its completion.
type request struct {
	submit   history.Event
	flight   *drive.Flight // of a FUA write that the device has begun
	twin     *drive.Flight
	snapshot uint64 // of a FLUSH that the device has begun
	begun    bool
}

// machine drives a cache the way a drive may, in any order that is possible,
// passes to a judge what a client would see, and cuts the power. A second cache in
// byte mode does the same; both must answer alike.
type machine struct {
	draw    source
	sectors int // that are written to
	steps   int
	cache   *drive.Cache
	twin    *drive.Cache
	judge   *history.Judge
	open    []*request
	destage [][2]*drive.Flight
	newest  [oracleSectors]devices.Stamp // what a reader sees
	seq     uint64
	stamp   devices.Stamp
	log     []string

	blind bool // judge by power cuts alone, not by what is read
}

func newMachine(draw source, broken drive.Defect) *machine {
	atomic := uint32(devices.Sector << draw(4))                                      // 512 to 4096
	m := &machine{draw: draw, steps: oracleSteps, sectors: oracleSectors >> draw(4)} // 32 down to 4
	m.cache = drive.NewCache(drive.NewMedia(drive.Versions), 1<<30, atomic)
	m.twin = drive.NewCache(drive.NewMedia(drive.RealBytes), 1<<30, atomic)
	m.cache.Break(broken)
	m.twin.Break(broken)
	m.judge = history.NewJudge(devices.Info{MultiConn: true, AtomicUnit: devices.Sector})
	return m
}

func (m *machine) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// run takes some steps and judges the device after each power cut.
func (m *machine) run() error {
	for range m.steps {
		if err := m.step(); err != nil {
			return fmt.Errorf("%w, after\n  %s", err, strings.Join(m.log, "\n  "))
		}
	}
	return nil
}

func (m *machine) step() error {
	switch k := m.draw(12); {
	case k < 4:
		m.submit()
	case k < 8:
		m.advance()
	case k < 9:
		m.takeOff()
	case k < 10:
		m.land()
	case k < 11:
		return m.read()
	default:
		return m.cut()
	}
	return nil
}

// submit receives a command of any kind for any range.
func (m *machine) submit() {
	first := m.draw(m.sectors)
	n := 1 + m.draw(min(12, m.sectors-first))
	e := history.Event{Kind: history.Submit, Offset: uint64(first) * devices.Sector, Length: uint64(n) * devices.Sector}
	switch m.draw(8) {
	case 0, 1:
		e.Op, e.Offset, e.Length = devices.OpFlush, 0, 0
	case 2:
		e.Op = devices.OpWriteZeroes
	case 3:
		e.Op = devices.OpTrim
	default:
		e.Op = devices.OpWrite
		m.stamp++
		e.Stamp = m.stamp
	}
	if e.Op != devices.OpFlush && m.draw(3) == 0 {
		e.Flags = devices.FUA
	}
	m.observe(&e)
	m.open = append(m.open, &request{submit: e})
}

func (m *machine) observe(e *history.Event) {
	m.seq++
	e.Seq, e.Time = m.seq, sim.Time(m.seq)
	m.note("%v", e)
	m.judge.Observe(e)
}

func (m *machine) done(i int, err devices.Errno) {
	e := m.open[i].submit
	e.Of, e.Kind, e.Errno = e.Seq, history.Done, err
	m.open = append(m.open[:i], m.open[i+1:]...)
	m.observe(&e)
}

// advance takes one open request to its next stage.
func (m *machine) advance() {
	if len(m.open) == 0 {
		return
	}
	i := m.draw(len(m.open))
	switch r := m.open[i]; {
	case r.submit.Op == devices.OpFlush:
		m.flush(i, r)
	case r.submit.Flags&devices.FUA != 0:
		m.through(i, r)
	default:
		m.write(i, r)
	}
}

func (m *machine) flush(i int, r *request) {
	if !r.begun {
		r.begun, r.snapshot = true, m.cache.Seq()
		m.note("flush %d begins at %d", r.submit.Seq, r.snapshot)
		return
	}
	if m.cache.Clean(r.snapshot) {
		m.done(i, devices.OK)
	}
}

// through is a FUA write: a flight of its own, then the reply.
func (m *machine) through(i int, r *request) {
	e := &r.submit
	if r.flight == nil {
		a, b := contents(e)
		r.flight, r.twin = m.cache.Through(e.Offset, e.Length, a), m.twin.Through(e.Offset, e.Length, b)
		m.note("fua %d departs", e.Seq)
		return
	}
	m.cache.Land(r.flight)
	m.twin.Land(r.twin)
	m.show(e)
	m.done(i, devices.OK)
}

// write acknowledges a write; now and then with an error, its data lost or not.
func (m *machine) write(i int, r *request) {
	failed := m.draw(12) == 0
	if !failed || m.draw(2) == 0 {
		a, b := contents(&r.submit)
		m.cache.Write(r.submit.Offset, r.submit.Length, a, 0)
		m.twin.Write(r.submit.Offset, r.submit.Length, b, 0)
		m.show(&r.submit)
	}
	if failed {
		m.done(i, devices.EIO)
		return
	}
	m.done(i, devices.OK)
}

// contents is what a command writes, as a version and as bytes.
func contents(e *history.Event) (version, data drive.Content) {
	if e.Op != devices.OpWrite {
		return drive.Content{Zero: true}, drive.Content{Zero: true}
	}
	b := bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(e.Stamp)), int(e.Length/8))
	return drive.Content{Stamp: e.Stamp}, drive.Content{Bytes: b}
}

// show makes a command's data what readers see.
func (m *machine) show(e *history.Event) {
	for s := e.Offset / devices.Sector; s < (e.Offset+e.Length)/devices.Sector; s++ {
		m.newest[s] = e.Stamp
	}
}

// takeOff begins a destage of some dirty extents, in any order.
func (m *machine) takeOff() {
	a, b := m.cache.Depart(), m.twin.Depart()
	for n := 1 + m.draw(3); n > 0; n-- {
		w, v := m.cache.From(0), m.twin.From(0)
		for skip := m.draw(4); skip > 0 && w.Extent() != nil; skip-- {
			w, v = w.Next(), v.Next()
		}
		e := w.Extent()
		if e == nil || m.cache.InFlightElsewhere(a, e.Off, e.End) {
			continue
		}
		m.note("destage %d+%d", e.Off, e.Len())
		m.cache.Take(a, e)
		if twin := v.Extent(); !m.twin.InFlightElsewhere(b, twin.Off, twin.End) {
			m.twin.Take(b, twin)
		}
	}
	m.destage = append(m.destage, [2]*drive.Flight{a, b})
}

func (m *machine) land() {
	if len(m.destage) == 0 {
		return
	}
	i := m.draw(len(m.destage))
	f := m.destage[i]
	m.destage = append(m.destage[:i], m.destage[i+1:]...)
	m.note("a destage lands")
	m.cache.Land(f[0])
	m.twin.Land(f[1])
}

// read compares what a reader gets with the newest data.
func (m *machine) read() error {
	if m.blind {
		return nil
	}
	p := devices.Payload{Versions: make([]devices.Stamp, oracleSectors)}
	m.cache.Read(0, oracleBytes, &p)
	for s, v := range p.Versions {
		if v != m.newest[s] {
			return fmt.Errorf("a read of sector %d gives %d, the newest is %d", s, v, m.newest[s])
		}
	}
	return nil
}

// cut cuts the power and asks the judge about the image. The run goes on as if
// nothing had happened: a cut is a view.
func (m *machine) cut() error {
	seed := sim.Seed(m.draw(1000))
	m.note("cut, seed %d", seed)
	k := m.cache.Cut(seed)
	for _, image := range []func(uint64) devices.Stamp{k.Stamp, k.Durable, k.Media().Stamp} {
		var bad []string
		m.judge.CheckImage(image, func(v history.Violation) { bad = append(bad, v.String()) })
		if len(bad) > 0 {
			return fmt.Errorf("%s", strings.Join(bad, "; "))
		}
	}
	return m.sameBytes(k, m.twin.Cut(seed))
}

// sameBytes compares the images of the two modes.
func (m *machine) sameBytes(k, twin *drive.Cut) error {
	got := devices.Payload{Bytes: make([]byte, oracleBytes)}
	twin.Media().Read(0, oracleBytes, &got)
	image := k.Media()
	for s := range uint64(oracleSectors) {
		if v := binary.BigEndian.Uint64(got.Bytes[s*devices.Sector:]); devices.Stamp(v) != image.Stamp(s) {
			return fmt.Errorf("after the cut sector %d holds version %d, and in bytes %d", s, image.Stamp(s), v)
		}
	}
	return nil
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

func TestCacheKeepsItsPromisesInRandomHistories(t *testing.T) {
	checks(t, "12000")
	rapid.Check(t, func(t *rapid.T) {
		if err := newMachine(rapidSource(t), drive.DefectNone).run(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTheOracleFindsEveryBrokenCache shows that the test above can fail: by
// what a power cut leaves, without looking at what is read.
func TestTheOracleFindsEveryBrokenCache(t *testing.T) {
	const most = 20_000
	for name, fault := range map[string]drive.Defect{
		"FUA leaves the older copy in the cache":           drive.DefectStaleCopyAfterFUA,
		"an older destage in flight lands after FUA":       drive.DefectOldFlightLandsAfterFUA,
		"FLUSH does not wait for what is in flight":        drive.DefectFlushMissesFlights,
		"FLUSH forgets zeroes":                             drive.DefectFlushForgetsZeroes,
		"an overwrite forgets what an older FLUSH awaits":  drive.DefectOverwriteForgets,
		"two destages of one sector are in flight at once": drive.DefectFlightsOvertake,
		"FLUSH waits for the newest destage alone":         drive.DefectFlushMissesOldFlights,
		"FUA drops one of the older cached copies":         drive.DefectFUADropsOneExtent,
		"FUA drops what a destage has behind its range":    drive.DefectFUACutsTooMuch,
		"FUA drops the copy of the newest destage alone":   drive.DefectFUACutsNewestFlight,
		"FUA drops what a piece has behind its range":      drive.DefectFUACutLosesTail,
		"FUA at an unaligned offset drops no copies":       drive.DefectFUASkipsUnaligned,
		"an extent that is split loses its tail":           drive.DefectSplitLosesTail,
		"zeros that are split lose their tail":             drive.DefectZeroSplitLosesTail,
		"FLUSH ends at any landing":                        drive.DefectFlushEndsAtAnyLanding,
		"FLUSH does not cover the latest write":            drive.DefectSnapshotOffByOne,
		"FLUSH with nothing dirty awaits no destage":       drive.DefectFlushSkipsDestages,
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range most {
				m := newMachine(seedSource(seed), fault)
				m.blind, m.steps = true, 5*oracleSteps
				if err := m.run(); err != nil {
					t.Logf("found in history %d: %v", seed, err)
					return
				}
			}
			t.Errorf("not found in %d histories", most)
		})
	}
}
