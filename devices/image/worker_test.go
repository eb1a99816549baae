package image

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// slowDisk is an fdatasync that waits until it is allowed to go on.
type slowDisk struct {
	begun, goOn chan struct{}
	err         error
}

func newSlowDisk() *slowDisk {
	return &slowDisk{begun: make(chan struct{}), goOn: make(chan struct{})}
}

func (s *slowDisk) datasync(*os.File) error {
	s.begun <- struct{}{}
	<-s.goOn
	return s.err
}

// notified is who waits for an operation.
type notified chan error

func (n notified) Written(err error) { n <- err }

// workerRig is an image with a worker on a slow disk.
type workerRig struct {
	*Media
	real *sim.Real
	disk *slowDisk
	path string
}

func newWorkerRig(t interface{ Fatal(...any) }, dir string) *workerRig {
	r := &workerRig{disk: newSlowDisk(), path: filepath.Join(dir, "image")}
	var err error
	if r.Media, err = Open(r.path, Options{Size: size, Sync: true, Datasync: r.disk.datasync}); err != nil {
		t.Fatal(err)
	}
	if r.real, err = sim.NewReal(sim.NewLoop()); err != nil {
		t.Fatal(err)
	}
	r.real.Do(func() { r.StartWorker(r.real, nil) })
	return r
}

// barrier asks for what was written to be durable, and returns who waits for it.
func (r *workerRig) barrier() notified {
	n := make(notified, 1)
	r.real.Do(func() { r.Worker().After(r.Barrier(), n) })
	return n
}

func (r *workerRig) close() error {
	r.StopWorker()
	return errors.Join(r.Media.Close(), r.real.Close(), os.Remove(r.path))
}

// draw is a write.
func draw(t *rapid.T, i int) (off, n uint64, c drive.Content) {
	off = rapid.Uint64Range(0, size/512-1).Draw(t, "sector") * 512
	n = min(rapid.Uint64Range(1, 300).Draw(t, "sectors")*512, size-off)
	if rapid.Bool().Draw(t, "zero") {
		return off, n, drive.Content{Zero: true, Provision: rapid.Bool().Draw(t, "provision")}
	}
	return off, n, drive.Content{Bytes: bytes.Repeat([]byte{byte(i + 1)}, int(n))}
}

// TestWhatIsToBeWrittenIsRead by reads, copies and BLOCK_STATUS: while an fdatasync is in
// progress, the file has nothing of what was written after it.
func TestWhatIsToBeWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		r := newWorkerRig(t, dir)
		want := drive.NewMedia(drive.RealBytes)
		write := func(i int) {
			off, n, c := draw(t, i)
			r.real.Do(func() { r.Write(off, n, c) })
			want.Write(off, n, c)
		}
		write(0)
		first := r.barrier()
		<-r.disk.begun
		before, err := os.ReadFile(r.path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rapid.IntRange(1, 20).Draw(t, "writes") {
			write(i + 1)
		}
		r.real.Do(func() {
			all := content(want)
			if !bytes.Equal(content(r), all) || !bytes.Equal(content(r.Clone()), all) {
				t.Error("what is read, or a copy, differs from memory")
			}
			at := uint64(0)
			for _, e := range extents(r) {
				if part := all[at : at+e.Length]; e.Flags&devices.StatusZero != 0 && !bytes.Equal(part, make([]byte, len(part))) {
					t.Errorf("%d bytes at %d are called zeros and are not", e.Length, at)
				}
				at += e.Length
			}
		})
		if after, err := os.ReadFile(r.path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("the file has changed during fdatasync, %v", err)
		}
		r.disk.goOn <- struct{}{}
		if err := <-first; err != nil {
			t.Error(err)
		}
		last := r.barrier()
		<-r.disk.begun
		if after, err := os.ReadFile(r.path); err != nil || !bytes.Equal(after, content(want)) {
			t.Errorf("fdatasync comes before what it makes durable, %v", err)
		}
		r.disk.goOn <- struct{}{}
		if err := <-last; err != nil {
			t.Error(err)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOneSyncServesAllThatWait while another is in progress.
func TestOneSyncServesAllThatWait(t *testing.T) {
	r := newWorkerRig(t, t.TempDir())
	write := func() notified {
		r.real.Do(func() { r.Write(0, 512, drive.Content{Bytes: make([]byte, 512)}) })
		return r.barrier()
	}
	first := write()
	<-r.disk.begun
	second, third := write(), write()
	r.disk.goOn <- struct{}{}
	<-first
	<-r.disk.begun
	if len(second)+len(third) > 0 {
		t.Error("a reply came before its fdatasync")
	}
	r.disk.goOn <- struct{}{}
	<-second
	<-third
	r.real.Do(func() {
		if seq := r.Barrier(); !r.Worker().Completed(seq) {
			t.Error("nothing was written, and there is something to wait for")
		}
	})
	if err := r.close(); err != nil {
		t.Error(err)
	}
}

// TestASyncThatFailsLosesWhatItWasFor, and not what an earlier one has made durable.
func TestASyncThatFailsLosesWhatItWasFor(t *testing.T) {
	r := newWorkerRig(t, t.TempDir())
	for i, err := range []error{nil, errors.New("the disk is gone")} {
		r.real.Do(func() { r.Write(uint64(i)*4096, 512, drive.Content{Bytes: make([]byte, 512)}) })
		n := r.barrier()
		<-r.disk.begun
		r.disk.err = err
		r.disk.goOn <- struct{}{}
		if got := <-n; !errors.Is(got, err) {
			t.Errorf("who waits gets %v, expected %v", got, err)
		}
	}
	r.real.Do(func() {
		if r.Lost(0, 4096) || !r.Lost(4096, 512) || r.Err() == nil {
			t.Errorf("lost: %v, %v", r.lost, r.Err())
		}
	})
	if err := r.close(); err == nil {
		t.Error("closing: no error")
	}
}
