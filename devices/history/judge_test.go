package history

import (
	"testing"

	"nbdbench/devices"
)

// tale writes a history event by event. Requests are named by their stamps; a
// FLUSH has a name of its own.
type tale struct {
	t       *testing.T
	j       *Judge
	seq     uint64
	submits map[string]Event
}

func newTale(t *testing.T, info devices.Info) *tale {
	return &tale{t: t, j: NewJudge(info), submits: map[string]Event{}}
}

func (h *tale) submit(name string, e Event) *tale {
	h.seq++
	e.Kind, e.Seq = Submit, h.seq
	h.submits[name] = e
	h.j.Observe(&e)
	return h
}

// write submits a write of whole pages.
func (h *tale) write(name string, stamp devices.Stamp, page, pages uint64) *tale {
	return h.submit(name, Event{Op: devices.OpWrite, Offset: page * 4096, Length: pages * 4096, Stamp: stamp})
}

func (h *tale) fua(name string, stamp devices.Stamp, page, pages uint64) *tale {
	return h.submit(name, Event{Op: devices.OpWrite, Flags: devices.FUA, Offset: page * 4096, Length: pages * 4096, Stamp: stamp})
}

func (h *tale) flush(name string) *tale { return h.submit(name, Event{Op: devices.OpFlush}) }

func (h *tale) done(names ...string) *tale {
	for _, name := range names {
		h.end(name, devices.OK)
	}
	return h
}

func (h *tale) failed(name string) *tale { return h.end(name, devices.EIO) }

func (h *tale) end(name string, errno devices.Errno) *tale {
	e, ok := h.submits[name]
	if !ok {
		h.t.Fatalf("%s is not in progress", name)
	}
	delete(h.submits, name)
	h.seq++
	e.Kind, e.Of, e.Seq, e.Errno = Done, e.Seq, h.seq, errno
	h.j.Observe(&e)
	return h
}

// legal checks that of all stamps up to the last given, exactly these are legal
// in sector.
func (h *tale) legal(sector uint64, stamps ...devices.Stamp) *tale {
	h.t.Helper()
	want := map[devices.Stamp]bool{}
	for _, s := range stamps {
		want[s] = true
	}
	for s := devices.Stamp(0); s < 8; s++ {
		if got := h.j.Legal(sector, s); got != want[s] {
			v, _ := h.j.Check(sector, s)
			h.t.Errorf("after event %d sector %d: version %d is legal: %v, want %v (%v)", h.seq, sector, s, got, want[s], v)
		}
	}
	return h
}

var multiConn = devices.Info{MultiConn: true, AtomicUnit: 512}

func TestAWriteInFlightIsPossibleAndSoIsWhatWasThere(t *testing.T) {
	newTale(t, multiConn).write("a", 1, 0, 1).legal(0, 0, 1).legal(8, 0)
}

func TestAnAcknowledgedWriteIsNotPromised(t *testing.T) {
	newTale(t, multiConn).write("a", 1, 0, 1).done("a").legal(0, 0, 1)
}

func TestAFUAReplyPromisesItsOwnWrite(t *testing.T) {
	newTale(t, multiConn).
		write("a", 1, 1, 1).done("a").
		fua("b", 2, 0, 1).legal(0, 0, 2).done("b").
		legal(0, 2).legal(7, 2).
		legal(8, 0, 1) // not what was replied to before it
}

func TestAFlushPromisesWhatWasRepliedToBeforeItWasReceived(t *testing.T) {
	newTale(t, multiConn).
		write("a", 1, 0, 1).done("a").
		write("b", 2, 1, 1).
		flush("f").done("b").legal(0, 0, 1).done("f").
		legal(0, 1).
		legal(8, 0, 2) // b's reply came after the flush was received
}

func TestAFlushThatFailedPromisesNothing(t *testing.T) {
	newTale(t, multiConn).write("a", 1, 0, 1).done("a").flush("f").failed("f").legal(0, 0, 1)
}

func TestAWriteAfterAFailedFlushIsPromisedByTheNext(t *testing.T) {
	newTale(t, multiConn).write("a", 1, 0, 1).done("a").
		flush("f").failed("f").flush("g").done("g").legal(0, 1)
}

func TestOverlappingWritesMayLandInEitherOrder(t *testing.T) {
	newTale(t, multiConn).
		write("a", 1, 0, 1).fua("b", 2, 0, 1).done("b").
		legal(0, 1, 2). // a was in flight when b was received
		done("a").legal(0, 1, 2).
		fua("c", 3, 0, 1).done("c").legal(0, 3)
}

func TestAVersionBeforeAPromisedOneIsIllegalEvenIfItWasPromised(t *testing.T) {
	newTale(t, multiConn).
		fua("a", 1, 0, 1).done("a").legal(0, 1).
		write("b", 2, 0, 1).done("b").legal(0, 1, 2).
		flush("f").done("f").legal(0, 2)
}

func TestALaterWriteThatIsNotPromisedIsLegal(t *testing.T) {
	newTale(t, multiConn).
		fua("a", 1, 0, 1).done("a").write("b", 2, 0, 1).done("b").write("c", 3, 0, 1).legal(0, 1, 2, 3)
}

func TestAFailedWriteStaysPossibleUntilSomethingDurableIsAfterIt(t *testing.T) {
	newTale(t, multiConn).
		fua("a", 1, 0, 1).done("a").
		fua("b", 2, 0, 1).failed("b").legal(0, 1, 2).
		flush("f").done("f").legal(0, 1, 2). // a flush does not promise it
		fua("c", 3, 0, 1).done("c").legal(0, 3)
}

func TestFlushesThatEndInTheOtherOrder(t *testing.T) {
	newTale(t, multiConn).
		write("a", 1, 0, 1).done("a").flush("f").
		write("b", 2, 0, 1).done("b").flush("g").
		done("g").legal(0, 2).
		done("f").legal(0, 2)
}

func TestAFlushHoldsForItsConnectionOnlyWithoutMultiConn(t *testing.T) {
	one := Event{Op: devices.OpWrite, Length: 4096, Stamp: 1, Conn: 1}
	two := Event{Op: devices.OpWrite, Offset: 4096, Length: 4096, Stamp: 2, Conn: 2}
	newTale(t, devices.Info{}).
		submit("a", one).submit("b", two).done("a", "b").
		submit("f", Event{Op: devices.OpFlush, Conn: 2}).done("f").
		legal(0, 0, 1).legal(8, 2)
}

func TestZeroesAreAVersion(t *testing.T) {
	zero := Event{Op: devices.OpWriteZeroes, Flags: devices.FUA, Length: 4096}
	newTale(t, multiConn).
		fua("a", 1, 0, 1).done("a").
		submit("z", zero).legal(0, 0, 1).done("z").legal(0, 0).
		fua("b", 2, 0, 1).legal(0, 0, 2).done("b").legal(0, 2)
}

func TestZeroesWithAStampMayShowEither(t *testing.T) {
	zero := Event{Op: devices.OpWriteZeroes, Flags: devices.FUA, Length: 4096, Stamp: 2}
	newTale(t, multiConn).
		fua("a", 1, 0, 1).done("a").submit("z", zero).done("z").legal(0, 0, 2)
}

func TestATrimMakesZerosLegalAndNothingIllegal(t *testing.T) {
	trim := Event{Op: devices.OpTrim, Flags: devices.FUA, Length: 4096}
	newTale(t, multiConn).
		fua("a", 1, 0, 1).done("a").fua("b", 2, 0, 1).done("b").
		submit("t", trim).legal(0, 0, 2).done("t").legal(0, 0, 2). // but a stays illegal
		fua("c", 3, 0, 1).done("c").legal(0, 3)
}

func TestAPartOfAPageIsJudgedOnItsOwn(t *testing.T) {
	part := Event{Op: devices.OpWrite, Flags: devices.FUA, Offset: 1024, Length: 512, Stamp: 2}
	newTale(t, multiConn).
		fua("a", 1, 0, 2).done("a").submit("p", part).done("p").
		legal(1, 1).legal(2, 2).legal(3, 1).legal(8, 1)
}

func TestPiecesOfAWriteMayShareItsStamp(t *testing.T) {
	newTale(t, multiConn).
		fua("a1", 1, 0, 1).fua("a2", 1, 1, 1).done("a1").
		fua("b", 2, 0, 1).done("b").
		legal(0, 1, 2). // lenient: a2 is in progress
		done("a2").legal(0, 1, 2).
		fua("c", 3, 0, 1).done("c").legal(0, 3).legal(8, 1)
}

func TestAnUnstampedWriteShowsAsZero(t *testing.T) {
	newTale(t, multiConn).
		fua("a", 1, 0, 1).done("a").
		submit("b", Event{Op: devices.OpWrite, Flags: devices.FUA, Length: 4096}).done("b").legal(0, 0)
}

func TestALongTrimIsOneRange(t *testing.T) {
	h := newTale(t, multiConn)
	h.fua("a", 1, 0, 1).done("a").
		submit("t", Event{Op: devices.OpTrim, Length: 1 << 45}).done("t").legal(0, 0, 1).
		fua("b", 2, 0, 1).done("b").legal(0, 2).
		submit("z", Event{Op: devices.OpWriteZeroes, Length: 1 << 45, Flags: devices.FUA}).done("z").legal(0, 0).legal(1<<36-1, 0)
	if n := len(h.j.cells.pages); n != 1 {
		t.Errorf("%d pages", n)
	}
}

func TestViolationClasses(t *testing.T) {
	unit := devices.Info{MultiConn: true, AtomicUnit: 4096}
	zero := Event{Op: devices.OpWriteZeroes, Length: 4096}
	history := func() *tale { return newTale(t, unit).write("a", 1, 0, 1).done("a") }
	cases := []struct {
		class Class
		h     *tale
		found devices.Stamp
	}{
		{StaleResurrected, history().fua("b", 2, 0, 1).done("b"), 1},
		{LostFUA, history().flush("f").done("f").fua("b", 2, 0, 1).done("b"), 1},
		{LostFUA, history().fua("b", 2, 0, 1).done("b"), 0},
		{LostFlushed, history().write("b", 2, 0, 1).done("b").flush("f").done("f"), 1},
		{Regressed, history().fua("b", 2, 0, 1).done("b").fua("c", 3, 0, 1).done("c"), 1},
		{WrongZero, history().submit("z", zero).done("z").fua("b", 2, 0, 1).done("b"), 0},
		{Misdirected, history().write("b", 2, 1, 1).done("b"), 2},
		{Corrupt, history(), 7},
	}
	for _, c := range cases {
		v, bad := c.h.j.Check(0, c.found)
		if !bad || v.Class != c.class || v.Found != c.found {
			t.Errorf("%s: got %v, %+v", c.class, bad, v)
		}
	}
	v, _ := cases[3].h.j.Check(0, 1)
	if want := (Violation{LostFlushed, 0, 1, 2, 6}); v != want {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

func TestCheckImageFindsEachBadSectorAndNoOther(t *testing.T) {
	h := newTale(t, multiConn).fua("a", 1, 0, 1).done("a").fua("b", 2, 4, 1).done("b")
	image := map[uint64]devices.Stamp{0: 1, 1: 1, 2: 1, 3: 0, 4: 1, 5: 1, 6: 1, 7: 1}
	for s := uint64(32); s < 40; s++ {
		image[s] = 2
	}
	var got []uint64
	n := h.j.CheckImage(func(s uint64) devices.Stamp { return image[s] }, func(v Violation) { got = append(got, v.Sector) })
	if n != 1 || len(got) != 1 || got[0] != 3 {
		t.Errorf("got %d violations, sectors %v", n, got)
	}
}

func TestCheckImageFindsShornUnits(t *testing.T) {
	cases := []struct {
		name   string
		info   devices.Info
		second Event
		left   devices.Stamp // sectors 0 to 3
		right  devices.Stamp // sectors 4 to 7
		want   int
	}{
		{"two whole versions", devices.Info{AtomicUnit: 4096}, Event{Op: devices.OpWrite, Length: 4096, Stamp: 2}, 2, 1, 1},
		{"a whole version and the initial content", devices.Info{AtomicUnit: 4096}, Event{Op: devices.OpWrite, Length: 4096, Stamp: 2}, 2, 0, 1},
		{"a part over a whole version", devices.Info{AtomicUnit: 4096}, Event{Op: devices.OpWrite, Length: 2048, Stamp: 2}, 2, 1, 0},
		{"units of a sector", devices.Info{AtomicUnit: 512}, Event{Op: devices.OpWrite, Length: 4096, Stamp: 2}, 2, 1, 0},
		{"a trim that left a part alone", devices.Info{AtomicUnit: 4096}, Event{Op: devices.OpTrim, Length: 4096, Stamp: 2}, 2, 1, 0},
		{"zeros after a trim", devices.Info{AtomicUnit: 4096}, Event{Op: devices.OpTrim, Length: 4096}, 0, 1, 0},
	}
	for _, c := range cases {
		h := newTale(t, c.info).write("a", 1, 0, 1).done("a").submit("b", c.second).done("b")
		read := func(s uint64) devices.Stamp {
			if s < 4 {
				return c.left
			}
			return c.right
		}
		n := h.j.CheckImage(read, func(v Violation) {
			if v.Class != Shorn || v.Sector != 4 {
				t.Errorf("%s: %+v", c.name, v)
			}
		})
		if n != c.want {
			t.Errorf("%s: %d violations, want %d", c.name, n, c.want)
		}
	}
}

func TestCheckImageLooksAtEachUnitOfAPage(t *testing.T) {
	h := newTale(t, devices.Info{AtomicUnit: 2048}).write("a", 1, 0, 1).done("a").write("b", 2, 0, 1).done("b")
	image := []devices.Stamp{2, 2, 2, 2, 1, 1, 1, 2}
	var got []Violation
	h.j.CheckImage(func(s uint64) devices.Stamp { return image[s] }, func(v Violation) { got = append(got, v) })
	if want := (Violation{Class: Shorn, Sector: 7, Found: 2, Expected: 1}); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestALongCommandCountsAmongThePromised(t *testing.T) {
	zero := Event{Op: devices.OpWriteZeroes, Flags: devices.FUA, Length: 1 << 45}
	last := func(h *tale) *tale { return h.fua("c", 3, 0, 1).done("c") }
	first := func() *tale { return newTale(t, multiConn).write("a", 1, 0, 1).done("a") }
	for name, h := range map[string]*tale{
		"the latest":         first().fua("b", 2, 0, 1).done("b").submit("z", zero).done("z"),
		"the latest but one": last(first().submit("z", zero).done("z")),
	} {
		if v, _ := h.j.Check(0, 1); v.Class != Regressed {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestPromisedOnlyKeepsNoOtherPages(t *testing.T) {
	for only, want := range map[bool]int{false: 3, true: 1} {
		h := newTale(t, multiConn)
		if only {
			h.j.PromisedOnly()
		}
		h.write("a", 1, 0, 2).done("a").fua("b", 2, 2, 1).done("b")
		pages := 0
		h.j.Written(func(off, end uint64) { pages += int(end-off) / 4096 })
		if pages != want || h.j.Flushed() {
			t.Errorf("promised only %v: %d pages, want %d; flushed %v", only, pages, want, h.j.Flushed())
		}
		if h.flush("f").failed("f"); h.j.Flushed() {
			t.Error("a FLUSH that failed has flushed")
		}
		if h.flush("f").done("f"); !h.j.Flushed() {
			t.Error("a FLUSH that succeeded has not flushed")
		}
	}
}
