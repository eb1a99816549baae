package crash

import (
	"context"
	"runtime"
	"sync"
)

// Progress is told how many cells are done: one call for each.
type Progress func(done, total int, cell string)

// Run checks all cells, side by side, each on loops of its own, and returns the
// document, which does not depend on their order. When ctx ends, the cells that
// were not done are missing and the document says so.
func Run(ctx context.Context, c Config, progress Progress) (*Document, error) {
	cells, err := c.Cells()
	if err != nil {
		return nil, err
	}
	jobs := c.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	results, errs := make([]*CellResult, len(cells)), make([]error, len(cells))
	queue, done := make(chan int), make(chan int)
	var workers sync.WaitGroup
	for range min(jobs, len(cells)) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := range queue {
				results[i], errs[i] = cells[i].check(func() bool { return ctx.Err() != nil })
				done <- i
			}
		}()
	}
	go func() {
		for i := range cells {
			queue <- i
		}
		close(queue)
		workers.Wait()
		close(done)
	}()
	n := 0
	for i := range done {
		if n++; progress != nil {
			progress(n, len(cells), cells[i].ID())
		}
	}
	for i, err := range errs {
		if err != nil {
			return nil, &CellError{cells[i].ID(), err}
		}
	}
	d := newDocument(&c, results, ctx.Err() != nil)
	if l := cells[0].history; l != nil && l.Torn != nil {
		d.Torn = l.Torn.Error()
	}
	return d, nil
}

// CellError is what went wrong in one cell.
type CellError struct {
	Cell string
	Err  error
}

func (e *CellError) Error() string { return e.Cell + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *CellError) Unwrap() error { return e.Err }
