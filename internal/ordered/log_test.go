package ordered_test

import (
	"errors"
	"testing"

	"nbdbench/internal/ordered"
	"nbdbench/sim"
)

// fullDisk takes so many writes and no more.
type fullDisk struct{ left int }

var errFull = errors.New("full")

func (f *fullDisk) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func (f *fullDisk) WriteAt(b []byte, _ int64) (int, error) { return f.Write(b) }

// TestALogOfAFastFileReportsWhatItCouldNotWrite: who is about to reply learns it from
// Write, when the file is written at once.
func TestALogOfAFastFileReportsWhatItCouldNotWrite(t *testing.T) {
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	l := ordered.NewLog(&fullDisk{left: 100}, func() error { return nil })
	real.Do(func() { l.Start(real, nil) })
	taken := 0
	for range 200 {
		var wrote error
		waited := make(notified, 1)
		real.Do(func() {
			_, wrote = l.Write([]byte{1})
			w := l.Worker()
			if seq := w.Barrier(false); !w.Completed(seq) {
				w.After(seq, waited)
				return
			}
			waited <- wrote
		})
		if err := <-waited; err == nil {
			taken++
		} else if !errors.Is(err, errFull) {
			t.Fatal(err)
		}
	}
	l.Stop()
	if taken != 100 || !errors.Is(l.Err(), errFull) {
		t.Errorf("%d of 100 writes were taken, %v", taken, l.Err())
	}
}
