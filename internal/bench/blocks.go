package bench

import (
	"context"
	"errors"
	"slices"
	"time"

	"nbdbench/internal/stack"
	"nbdbench/results"
	"nbdbench/sim"
)

// order is the order in which tasks are carried out.
type order struct {
	blocks [][]task
	// looks are the numbers of blocks after which enough may end the run.
	looks []int
}

// newOrder lays out the plan's runs: in blocks of one run of every cell. In real
// time each block is in an order of its own, drawn from the seed, so that a target
// that gets slower is slower for all.
func newOrder(p *Plan, cells int) order {
	s := order{looks: []int{p.Runs}}
	if p.MoreRuns {
		s.looks = nil
		for _, n := range results.Looks {
			if n >= p.Runs {
				s.looks = append(s.looks, n)
			}
		}
	}
	if len(s.looks) == 0 {
		s.looks = []int{p.Runs}
	}
	for run := range s.looks[len(s.looks)-1] {
		block := make([]task, cells)
		for c := range block {
			block[c] = task{c, run}
		}
		if p.Clock == "real" {
			shuffle(block, sim.Seed(p.Seed).Sub("block", uint64(run)).Stream("order"))
		}
		s.blocks = append(s.blocks, block)
	}
	return s
}

// shuffle is Fisher's and Yates's.
func shuffle(tasks []task, draw sim.Stream) {
	for i := len(tasks) - 1; i > 0; i-- {
		j := draw.Uint64N(uint64(i+1), uint64(i), 0)
		tasks[i], tasks[j] = tasks[j], tasks[i]
	}
}

// collection is what is known of a plan's tasks so far.
type collection struct {
	p        *Plan
	cells    []Cell
	kept     [][]outcome // by cell and run
	failed   error
	done     int
	total    int
	progress Progress
}

func newCollection(p *Plan, cells []Cell, runs int, progress Progress) *collection {
	c := &collection{p: p, cells: cells, kept: make([][]outcome, len(cells)), total: len(cells) * runs, progress: progress}
	for i := range c.kept {
		c.kept[i] = make([]outcome, 0, runs)
	}
	return c
}

// take keeps an outcome in its place, whatever the order in which runs end.
func (c *collection) take(o outcome) {
	for len(c.kept[o.cell]) <= o.run {
		c.kept[o.cell] = append(c.kept[o.cell], outcome{err: stack.ErrNotRun})
	}
	c.kept[o.cell][o.run] = o
	c.done++
	if o.err != nil && c.failed == nil && !isCellError(o.err) {
		c.failed = runError(c.cells[o.cell].ID, o)
	}
	if c.progress != nil {
		c.progress(c.done, c.total, c.cells[o.cell].ID)
	}
}

// enough reports whether every cell's deciding metric is known well enough.
func (c *collection) enough() bool {
	for i := range c.cells {
		cell := results.NewCell(cellConfig(c.p, &c.cells[i], c.kept[i]))
		giveRuns(cell, c.kept[i])
		if !cell.Known(c.p.Decide, results.Narrow) {
			return false
		}
	}
	return true
}

// broken reports whether a run of the cell must not be used: more of them would
// change nothing.
func (c *collection) broken(cell int) bool {
	return slices.ContainsFunc(c.kept[cell], func(o outcome) bool { return errors.Is(o.err, stack.ErrInvalid) })
}

// runBlocks carries out the tasks, block after block in real time, and all at
// once in virtual time. It returns how many blocks there are to be; fewer may be
// done if the run was stopped or its time was up.
func (c *collection) runBlocks(ctx context.Context, s order, left func() time.Duration) (planned int) {
	if c.p.Clock != "real" {
		var all []task
		for _, b := range s.blocks {
			all = append(all, b...)
		}
		work(ctx, c.p, c.cells, all, c.take)
		return len(s.blocks)
	}
	longest, before := time.Duration(0), left()
	for i, block := range s.blocks {
		if len(s.looks) > 0 && i == s.looks[0] {
			s.looks = s.looks[1:]
			if len(s.looks) == 0 || c.failed != nil || c.enough() {
				return i
			}
		}
		if i > 0 && left() < longest { // the next block would not end in time
			if planned := looksAt(s.looks, i); planned > 0 {
				return planned
			}
			return i
		}
		block = slices.DeleteFunc(slices.Clone(block), func(t task) bool { return c.broken(t.cell) })
		work(ctx, c.p, c.cells, block, c.take)
		now := left()
		longest, before = max(longest, before-now), now
		if ctx.Err() != nil || c.failed != nil {
			break
		}
	}
	return len(s.blocks)
}

// looksAt is how many blocks a run that has done some was to have at the least, if
// it has not got there; else 0.
func looksAt(looks []int, done int) int {
	if len(looks) > 0 && done < looks[0] && done < minimumBlocks {
		return looks[0]
	}
	return 0
}

// minimumBlocks is how many blocks are enough for intervals when time is up.
const minimumBlocks = 6
