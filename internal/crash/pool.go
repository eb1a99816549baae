package crash

import (
	"context"
	"sync"

	"nbdbench/internal/pool"
)

// Progress is called with the number of cells done, once for each.
type Progress func(done, total int, cell string)

// Run checks all cells, side by side, each on loops of its own, and returns the
// document, which does not depend on their order. When ctx ends, the cells that
// were not done are missing and the document says so.
func Run(ctx context.Context, c Config, progress Progress) (*Document, error) {
	cells, err := c.Cells()
	if err != nil {
		return nil, err
	}
	results, errs := make([]*CellResult, len(cells)), make([]error, len(cells))
	var one sync.Mutex
	done := 0
	pool.Each(c.Jobs, len(cells), func(i int) {
		results[i], errs[i] = cells[i].check(func() bool { return ctx.Err() != nil })
		one.Lock()
		defer one.Unlock()
		if done++; progress != nil {
			progress(done, len(cells), cells[i].ID())
		}
	})
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
