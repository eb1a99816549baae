package ordered_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"nbdbench/internal/ordered"
	"nbdbench/sim"
)

// slowFile is a file that says what it begins to do, and does it when allowed.
type slowFile struct {
	begun chan string // nil is fast
	goOn  chan error
	did   []string // of one goroutine at a time
	bytes int
	delay time.Duration // of each Do
}

func newSlowFile() *slowFile {
	return &slowFile{begun: make(chan string), goOn: make(chan error)}
}

func (f *slowFile) operation(what string) error {
	f.did = append(f.did, what)
	if f.begun == nil {
		return nil
	}
	f.begun <- what
	return <-f.goOn
}

func (f *slowFile) Do(op *ordered.Op) error {
	f.bytes += len(op.Data)
	time.Sleep(f.delay)
	return f.operation(fmt.Sprint(op.Kind, op.Off, op.N))
}

func (f *slowFile) Sync() error { return f.operation("sync") }

// fast lets everything go on from now on, after the operation that has begun.
func (f *slowFile) fast(err error) {
	f.begun = nil
	f.goOn <- err
}

type notified chan error

func (n notified) Written(err error) { n <- err }

type rig struct {
	*ordered.Worker
	file *slowFile // nil if it is another
	real *sim.Real
	lost []uint64
}

func newRig(t testing.TB, f ordered.File) *rig {
	t.Helper()
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{real: real}
	r.file, _ = f.(*slowFile)
	real.Do(func() {
		r.Worker = ordered.Start(real, f)
		r.Failed = func(off, _ uint64, _ error) { r.lost = append(r.lost, off) }
	})
	return r
}

func (r *rig) close(t testing.TB) {
	t.Helper()
	r.Close(func() {})
	if err := r.real.Close(); err != nil {
		t.Error(err)
	}
}

// after returns who waits for what was added so far.
func (r *rig) after(sync bool) notified {
	n := make(notified, 1)
	r.real.Do(func() {
		if seq := r.Barrier(sync); r.Completed(seq) {
			n <- r.Err()
		} else {
			r.After(seq, n)
		}
	})
	return n
}

// TestALoopGoesOnWhileAFileIsSlow, and what is added to it has an effect in its order.
func TestALoopGoesOnWhileAFileIsSlow(t *testing.T) {
	r := newRig(t, newSlowFile())
	r.real.Do(func() { r.Write(0, []byte{1}) })
	first := r.after(true)
	<-r.file.begun
	r.real.Do(func() { // which the file does not block
		r.Write(1, []byte{2})
		r.Zero(2, 5, false)
		r.Zero(3, 5, true)
		r.Append([]byte{3})
		if n := len(r.Pending()); n != 6 {
			t.Errorf("%d operations are pending, expected 6", n)
		}
	})
	second := r.after(false)
	if len(first)+len(second) > 0 {
		t.Error("reported before it was done")
	}
	r.file.fast(nil)
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
	r.close(t)
	want := []string{"0 0 1", "sync", "0 1 1", "2 2 5", "3 3 5", "1 0 1"}
	if i := slices.Index(r.file.did, "sync"); i < 1 {
		t.Errorf("%v: no sync after what it is for", r.file.did)
	}
	without := slices.DeleteFunc(r.file.did, func(s string) bool { return s == "sync" })
	if !slices.Equal(without, slices.Delete(want, 1, 2)) {
		t.Errorf("did %q, expected %q", r.file.did, want)
	}
	if n := len(r.Pending()); n != 0 || r.Bytes() != 0 {
		t.Errorf("%d operations and %d bytes are left", n, r.Bytes())
	}
}

// TestAnErrorReachesWhoWaits, and stays.
func TestAnErrorReachesWhoWaits(t *testing.T) {
	gone := errors.New("no space left")
	r := newRig(t, newSlowFile())
	r.real.Do(func() { r.Write(8, []byte{1}) })
	first := r.after(false)
	<-r.file.begun
	r.file.fast(gone)
	if err := <-first; !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	r.real.Do(func() { r.Write(16, []byte{1}) })
	if err := <-r.after(true); !errors.Is(err, gone) {
		t.Errorf("later: %v", err)
	}
	r.close(t)
	if !slices.Equal(r.lost, []uint64{8}) || !errors.Is(r.Err(), gone) {
		t.Errorf("lost %v, error %v", r.lost, r.Err())
	}
}

// TestASyncThatFailsLosesAllSinceTheLast.
func TestASyncThatFailsLosesAllSinceTheLast(t *testing.T) {
	r := newRig(t, newSlowFile())
	r.real.Do(func() { r.Write(8, []byte{1}); r.Write(16, []byte{1}) })
	n := r.after(true)
	for range 2 {
		<-r.file.begun
		r.file.goOn <- nil
	}
	<-r.file.begun
	r.file.fast(errors.New("gone"))
	<-n
	r.close(t)
	if !slices.Equal(r.lost, []uint64{0, 8, 16}) { // 0 is the error itself
		t.Errorf("lost %v", r.lost)
	}
}

// TestWhoAddsTooMuchWorksItself: the bounds hold, and nothing is done twice or out of order.
func TestWhoAddsTooMuchWorksItself(t *testing.T) {
	for name, op := range map[string]struct{ count, size int }{
		"operations": {ordered.MaxOps * 5 / 4, 1},
		"bytes":      {ordered.MaxBytes * 5 / 4 / ordered.MaxPiece, ordered.MaxPiece},
		"one write":  {1, ordered.MaxBytes * 5 / 4},
	} {
		r := newRig(t, &slowFile{})
		data := bytes.Repeat([]byte{1}, op.size)
		full := false
		r.real.Do(func() { // the worker cannot report meanwhile
			for i := range op.count {
				r.Write(uint64(i), data)
				full = full || r.Full()
				if len(r.Pending()) > ordered.MaxOps || r.Bytes() > ordered.MaxBytes {
					t.Fatalf("%s: %d operations of %d bytes wait", name, len(r.Pending()), r.Bytes())
				}
			}
		})
		if err := <-r.after(true); err != nil || !full && op.count > 1 || r.file.bytes != op.count*op.size {
			t.Errorf("%s: %v, full %v, %d bytes of %d", name, err, full, r.file.bytes, op.count*op.size)
		}
		r.close(t)
	}
}

// TestCloseDoesWhatIsLeft, and who waits is called.
func TestCloseDoesWhatIsLeft(t *testing.T) {
	r := newRig(t, &slowFile{})
	n := make(notified, 1)
	r.real.Do(func() {
		for i := range 500 {
			r.Write(uint64(i), []byte{1})
		}
		r.After(r.Barrier(true), n)
	})
	r.close(t)
	if len(n) != 1 || len(r.file.did) != 501 && r.file.did[len(r.file.did)-1] != "sync" {
		t.Errorf("%d operations are done, reported: %v", len(r.file.did), len(n) == 1)
	}
}

// TestAFastFileIsWrittenAtOnce, once it has been fast for long enough, unless something
// waits; and one write that is slow ends that.
func TestAFastFileIsWrittenAtOnce(t *testing.T) {
	r := newRig(t, &slowFile{})
	begin := func() (waits bool) {
		r.real.Do(func() {
			r.Write(0, []byte{1})
			waits = len(r.Pending()) > 0
		})
		<-r.after(false)
		return waits
	}
	if !begin() {
		t.Fatal("the first write is done in the loop")
	}
	for begin() { // until 64 in a row were fast, however busy the machine is
	}
	r.real.Do(func() {
		r.Barrier(true)
		r.Write(0, []byte{1})
		if n := len(r.Pending()); n != 2 {
			t.Errorf("%d operations wait behind an fdatasync, expected 2 with it", n)
		}
	})
	<-r.after(true)
	r.file.delay = 2 * time.Millisecond
	for !begin() { // the first one is done in the loop, if the file was fast until now
	}
	if first, second := begin(), begin(); !first || !second {
		t.Error("a slow file is written in the loop")
	}
	r.close(t)
}

// costless is a file that does nothing.
type costless struct{}

func (costless) Do(*ordered.Op) error { return nil }
func (costless) Sync() error          { return nil }

// BenchmarkWrite is a write that is waited for, on a file that costs nothing.
func BenchmarkWrite(b *testing.B) {
	r := newRig(b, costless{})
	defer r.close(b)
	data, n := make([]byte, 4096), make(notified, 1)
	write := func() {
		r.Write(0, data)
		if seq := r.Barrier(false); r.Completed(seq) {
			n <- nil
		} else {
			r.After(seq, n)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		r.real.Do(write)
		<-n
	}
}
