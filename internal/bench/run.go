package bench

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"

	"nbdbench/devices/layer"
	"nbdbench/nbd/kernel"
	"nbdbench/results"
	"nbdbench/sim"
)

// Progress is told how far a plan is: one call for each run that has ended.
type Progress func(done, total int, cell string)

// task is one run of one cell.
type task struct{ cell, run int }

// outcome is what became of it.
type outcome struct {
	task
	result *results.RunResult
	export *results.Advertised
	late   *sim.Lateness // of the server's replies, in real time
	err    error
}

// Run runs the plan and returns its document. When ctx ends, runs in progress
// end early, and what there is comes back as partial, without an error. The
// document does not depend on Jobs or on the order in which runs end.
func Run(ctx context.Context, p *Plan, progress Progress) (*results.Run, error) {
	cells, err := p.Cells()
	if err != nil {
		return nil, err
	}
	plan, err := p.JSON()
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	doc := results.NewRun(Tool(), plan, sim.Seed(p.Seed))
	if p.Via == ViaKernel {
		if err := kernel.Load(); err != nil {
			return nil, err
		}
	}
	if p.Clock == "real" {
		if doc.Host, err = measuredHost(ctx, p); err != nil {
			return nil, err
		}
	}
	out := make([]*results.Cell, len(cells))
	for i := range cells {
		out[i] = results.NewCell(cellConfig(p, &cells[i]))
		doc.Add(out[i])
	}
	if err := collect(ctx, p, cells, out, progress); err != nil {
		return nil, err
	}
	p.ended(doc)
	doc.Finish()
	return doc, nil
}

// Tool says which program this is.
func Tool() results.Tool {
	t := results.Tool{Version: Version(), Go: runtime.Version()}
	t.Revision, t.Modified = revision()
	return t
}

// Version is the release that the program was built from, or "devel": a commit
// between two releases is not one, and must not change what a run prints.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || !release.MatchString(info.Main.Version) {
		return "devel"
	}
	return info.Main.Version
}

// release matches the versions of releases, and no pseudo-version.
var release = regexp.MustCompile(`^v\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?$`)

func cellConfig(p *Plan, c *Cell) results.CellConfig {
	return results.CellConfig{
		ID: c.ID, Device: c.Device, Workload: c.Name, Strategy: c.Strategy.Name,
		Clock: p.Clock, Link: linkName(p), QueueDepth: int(max(c.Workload.QueueDepth, 1)), Connections: int(p.Connections),
		Runs: p.Runs, Durable: c.Strategy.Durable, WhoDurable: c.Strategy.WhoDurable,
	}
}

func linkName(p *Plan) string {
	switch {
	case p.Via == ViaKernel:
		return results.LinkKernel
	case p.Clock == "real":
		return "socket"
	}
	return p.Link.Name
}

// collect runs every task and gives each cell its runs in order. Outcomes are
// kept until the runs before them are in, so a cell's result does not depend on
// who was first.
func collect(ctx context.Context, p *Plan, cells []Cell, out []*results.Cell, progress Progress) error {
	tasks := make([]task, 0, len(cells)*p.Runs)
	for c := range cells {
		for r := range p.Runs {
			tasks = append(tasks, task{c, r})
		}
	}
	kept := make([][]outcome, len(cells))
	for i := range kept {
		kept[i] = make([]outcome, p.Runs)
	}
	var failed error
	done := 0
	work(ctx, p, cells, tasks, func(o outcome) {
		kept[o.cell][o.run] = o
		done++
		if o.err != nil && failed == nil && !isCellError(o.err) {
			failed = fmt.Errorf("%s, run %d: %w", cells[o.cell].ID, o.run+1, o.err)
		}
		if progress != nil {
			progress(done, len(tasks), cells[o.cell].ID)
		}
	})
	if failed != nil {
		return failed
	}
	for i, c := range out {
		giveRuns(c, kept[i])
	}
	return nil
}

// isCellError reports whether err is the fate of a cell, which the document
// tells, and not of the plan.
func isCellError(err error) bool {
	return errors.Is(err, layer.ErrUnsupported) || errors.Is(err, ErrInvalid) || errors.Is(err, errNotRun)
}

// errNotRun is for tasks that were not begun because the plan was stopped.
var errNotRun = errors.New("interrupted")

// giveRuns gives a cell its runs.
func giveRuns(c *results.Cell, outcomes []outcome) {
	missing := 0
	var late []*sim.Lateness
	for _, o := range outcomes {
		switch {
		case errors.Is(o.err, layer.ErrUnsupported):
			c.Unsupported(o.err.Error())
			return
		case errors.Is(o.err, ErrInvalid):
			c.Invalid(o.err.Error())
			return
		case o.err != nil:
			missing++
			continue
		}
		if o.export != nil {
			c.Advertised = o.export
		}
		if o.result.Partial {
			missing++
		}
		c.Add(o.result)
		if o.late != nil && o.late.Count() > 0 {
			late = append(late, o.late)
		}
	}
	warnLate(c, late)
	if missing > 0 {
		c.Partial(fmt.Sprintf("interrupted: %d of %d runs are missing or incomplete", missing, len(outcomes)))
	}
}

// warnLate says how late a real-time server's replies were, beyond what the
// device's time asks: the worst of its runs. The quantiles are upper ends of
// buckets of a sixteenth of a factor of two.
func warnLate(c *results.Cell, late []*sim.Lateness) {
	if len(late) == 0 {
		return
	}
	var p50, p99, most sim.Duration
	for _, l := range late {
		p50, p99, most = max(p50, l.Quantile(0.5)), max(p99, l.Quantile(0.99)), max(most, l.Max())
	}
	c.Warn("replies late by: p50 below %v, p99 below %v, at most %v", rough(p50), rough(p99), rough(most))
}

// rough rounds to two significant digits.
func rough(d sim.Duration) sim.Duration {
	unit := sim.Duration(1)
	for ; d >= 100*unit; unit *= 10 {
	}
	return d.Round(unit)
}

// runVirtual is one task in virtual time.
func runVirtual(p *Plan, c *Cell, t task, stop func() bool) outcome {
	o := outcome{task: t}
	seed := p.seedOf(t.run)
	w, err := newWorld(p, c, seed)
	if err != nil {
		o.err = err
		return o
	}
	partial := w.run(stop)
	if w.cutter != nil && !partial {
		w.cutter.finish()
	}
	o.result, o.err = w.result(seed, p.Warmup, partial)
	o.export = advertised(w.export.Info())
	return o
}
