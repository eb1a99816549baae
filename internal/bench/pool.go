package bench

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"nbdbench/devices"
	"nbdbench/results"
)

// work runs the tasks on a pool of goroutines, one loop each, and hands their
// outcomes to take, one at a time, in the order in which they end. Real time
// has one task at a time: runs would disturb each other.
func work(ctx context.Context, p *Plan, cells []Cell, tasks []task, take func(outcome)) {
	jobs := p.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	if p.Clock == "real" {
		jobs = 1
	}
	queue, outcomes := make(chan task), make(chan outcome)
	var workers sync.WaitGroup
	for range min(jobs, len(tasks)) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for t := range queue {
				outcomes <- one(ctx, p, &cells[t.cell], t)
			}
		}()
	}
	go func() {
		for _, t := range tasks {
			queue <- t
		}
		close(queue)
		workers.Wait()
		close(outcomes)
	}()
	for o := range outcomes {
		take(o)
	}
}

// each calls f with 0 to n-1, as many at once as there are cores.
func each(n int, f func(i int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := range next {
				f(i)
			}
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}

// one runs a task, unless the plan has been stopped.
func one(ctx context.Context, p *Plan, c *Cell, t task) outcome {
	if ctx.Err() != nil {
		return outcome{task: t, err: errNotRun}
	}
	if p.Clock == "real" {
		o := runReal(ctx, p, c, t)
		if ctx.Err() != nil && errors.Is(o.err, context.Canceled) { // stopped before it was under way
			o.err = errNotRun
		}
		return o
	}
	return runVirtual(p, c, t, func() bool { return ctx.Err() != nil })
}

func advertised(info devices.Info) *results.Advertised {
	return &results.Advertised{Flush: info.CanFlush, FUA: info.FUA != devices.FUANone, MultiConn: info.MultiConn}
}
