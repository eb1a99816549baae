package host

import (
	"context"
	"fmt"
	"sync"

	"nbdbench/devices"
	"nbdbench/sim"
)

// workers serve requests by blocking calls.
type workers struct {
	real *sim.Real
	do   func(r *devices.Request) error
	work chan *devices.Request // has room for as many as there are workers
	done sync.WaitGroup

	// The loop's.
	free    int           // workers that wait
	waiting devices.Queue // for a worker
	inside  int           // submitted and not done
}

// maxWorkers is how many buffered requests are in the kernel at a time. More gain
// nothing from the page cache, and nbdkit has 16.
const maxWorkers = 16

func newWorkers(depth int, real *sim.Real, do func(r *devices.Request) error) *workers {
	n := min(depth, maxWorkers)
	w := &workers{real: real, do: do, work: make(chan *devices.Request, n), free: n}
	for range n {
		w.done.Add(1)
		go w.run()
	}
	return w
}

// Submit takes a request. Only for the loop's owner.
func (w *workers) Submit(r *devices.Request) {
	w.inside++
	if w.free == 0 {
		w.waiting.Push(r)
		return
	}
	w.free--
	w.work <- r
}

// run does one request after another.
func (w *workers) run() {
	defer w.done.Done()
	for r := range w.work {
		for r != nil {
			r = w.one(r)
		}
	}
}

// one does r, and returns what waits for a worker.
func (w *workers) one(r *devices.Request) (next *devices.Request) {
	err := w.do(r)
	w.real.Enter()
	defer w.real.Leave()
	r.Charge(devices.MediaStage, w.real.Loop().Now())
	w.inside--
	if next = w.waiting.Pop(); next == nil {
		w.free++
	}
	r.Finish(devices.ErrnoOf(err))
	return next
}

// Close waits for what is in flight. Not for the loop's owner.
func (w *workers) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := w.real.RunWhile(ctx, func() bool { return w.inside > 0 }); err != nil {
		return fmt.Errorf("requests are still in the kernel after %v", drain)
	}
	close(w.work)
	w.done.Wait()
	return nil
}
