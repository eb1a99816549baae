package bench

import (
	"context"
	"errors"
	"sync"

	"nbdbench/devices"
	"nbdbench/internal/pool"
	"nbdbench/internal/stack"
	"nbdbench/results"
)

// work runs the tasks on a pool of goroutines, one loop each, and hands their
// outcomes to take, one at a time, in the order in which they end. Real time
// has one task at a time: runs would disturb each other.
func work(ctx context.Context, p *Plan, cells []Cell, tasks []task, take func(outcome)) {
	jobs := p.Jobs
	if p.Clock == "real" {
		jobs = 1
	}
	var one sync.Mutex
	pool.Each(jobs, len(tasks), func(i int) {
		o := perform(ctx, p, &cells[tasks[i].cell], tasks[i])
		one.Lock()
		defer one.Unlock()
		take(o)
	})
}

// perform runs a task, unless the plan has been stopped.
func perform(ctx context.Context, p *Plan, c *Cell, t task) outcome {
	if ctx.Err() != nil {
		return outcome{task: t, err: stack.ErrNotRun}
	}
	if p.Clock == "real" {
		o := runReal(ctx, p, c, t)
		if ctx.Err() != nil && errors.Is(o.err, context.Canceled) { // stopped before it was under way
			o.err = stack.ErrNotRun
		}
		return o
	}
	return runVirtual(p, c, t, func() bool { return ctx.Err() != nil })
}

func advertised(info devices.Info) *results.Advertised {
	return &results.Advertised{Flush: info.CanFlush, FUA: info.FUA != devices.FUANone, MultiConn: info.MultiConn}
}
