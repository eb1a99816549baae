package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"

	"nbdbench/devices"
	"nbdbench/devices/layer"
	"nbdbench/internal/stack"
	"nbdbench/nbd/kernel"
	"nbdbench/results"
	"nbdbench/sim"
)

// Progress is called with the progress of a plan, once for each run that has ended.
type Progress func(done, total int, cell string)

// task is one run of one cell.
type task struct{ cell, run int }

// outcome is what became of it.
type outcome struct {
	task
	result *results.RunResult
	export *results.Advertised
	late   *sim.Lateness       // of the server's replies, in real time
	level  *devices.FUASupport // what a plugin promised of FUA; nil of another device
	err    error

	abandoned bool // a target's requests were in flight at its end

	connected func() error // called once all connections are there; nil is nothing

	count *counting // what is counted of a pass apart from the runs; nil of a run
}

// Run runs the plan and returns its document. When ctx ends, runs in progress
// end early, and what there is comes back as partial, without an error. The
// document does not depend on Jobs or on the order in which runs end.
func Run(ctx context.Context, p *Plan, progress Progress) (doc *results.Run, err error) {
	cells, err := p.Cells()
	if err != nil {
		return nil, err
	}
	plan, err := p.JSON()
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	doc = results.NewRun(Tool(), plan, sim.Seed(p.Seed))
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
	if err := p.openStorages(); err != nil {
		return nil, errors.Join(err, p.closeStorages())
	}
	defer func() { err = errors.Join(err, p.closeStorages()) }()
	if err := p.precondition(ctx, progress); err != nil {
		return nil, err
	}
	if err := p.askNbdkit(ctx); err != nil {
		return nil, err
	}
	doc.Decide = p.Decide
	measure := measureCells
	if p.FindMax != "" {
		measure = findMax
	}
	if err := measure(ctx, p, cells, doc, progress); err != nil {
		return nil, err
	}
	p.ended(doc)
	doc.Finish()
	p.judgeThresholds(doc)
	return doc, nil
}

// measureCells runs every cell and adds it to the document.
func measureCells(ctx context.Context, p *Plan, cells []Cell, doc *results.Run, progress Progress) error {
	ctx, left, cancel := timeLimit(ctx, p)
	defer cancel()
	if err := settleCells(ctx, p, cells); err != nil {
		return err
	}
	s := newOrder(p, len(cells))
	c := newCollection(p, cells, len(s.blocks), progress)
	planned := c.runBlocks(ctx, s, left)
	if c.failed != nil {
		return c.failed
	}
	q := *p
	q.Runs = planned
	for i := range cells {
		cell := results.NewCell(cellConfig(&q, &cells[i], c.kept[i]))
		for len(c.kept[i]) < planned {
			c.kept[i] = append(c.kept[i], outcome{err: stack.ErrNotRun})
		}
		giveRuns(cell, c.kept[i])
		p.describeStorage(&cells[i], cell)
		p.countSent(ctx, &cells[i], cell)
		doc.Add(cell)
	}
	if p.Clock == "real" {
		doc.Order = idsOf(s, cells, planned)
	}
	return p.vary(ctx, cells, c.kept, doc, progress)
}

// idsOf names the cells block by block.
func idsOf(s order, cells []Cell, blocks int) [][]string {
	out := make([][]string, min(blocks, len(s.blocks)))
	for i := range out {
		for _, t := range s.blocks[i] {
			out[i] = append(out[i], cells[t.cell].ID)
		}
	}
	return out
}

func runError(id string, o outcome) error { return fmt.Errorf("%s, run %d: %w", id, o.run+1, o.err) }

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

func cellConfig(p *Plan, c *Cell, runs []outcome) results.CellConfig {
	who := c.Strategy.WhoDurable
	switch {
	case c.Storage != "":
		who = cmp.Or(p.storageWho(c), who)
	case c.Profile == nil:
		who = cmp.Or(p.whoDurable(c.Strategy.Name), who)
	case c.Plugin != "":
		who = cmp.Or(pluginDurable(c.Strategy.Name, levelOf(runs)), who)
	}
	config := results.CellConfig{
		ID: c.ID, At: c.At, Device: c.Device, Workload: c.Name, Strategy: c.Strategy.Name,
		Clock: p.Clock, Link: linkName(p, c), QueueDepth: int(c.Workload.Depth()), Connections: int(c.Connections),
		Runs: p.Runs, Commits: p.Commits, Durable: c.Strategy.Durable, WhoDurable: who, NoCommits: !c.Workload.HasCommits(),
		Arrival: string(c.Workload.Arrivals()), Settled: c.Settled, NotSettled: c.NotSettled, Warmup: c.Warmup, PhaseWarmups: c.Warmups,
		Parallelism: p.doubtful(c), Storage: c.Storage != "",
	}
	if len(p.Hops) > 0 {
		throughHops(p, c, &config)
	}
	return config
}

func linkName(p *Plan, c *Cell) string {
	switch {
	case p.Via == ViaKernel:
		return results.LinkKernel
	case p.Clock == "real":
		return "socket"
	}
	return c.Link.Name
}

// isCellError reports whether err is the fate of a cell, which the document
// tells, and not of the plan.
func isCellError(err error) bool {
	return errors.Is(err, layer.ErrUnsupported) || errors.Is(err, stack.ErrInvalid) || errors.Is(err, stack.ErrNotRun)
}

// giveRuns gives a cell its runs.
func giveRuns(c *results.Cell, outcomes []outcome) {
	missing := 0
	for _, o := range outcomes {
		switch {
		case errors.Is(o.err, layer.ErrUnsupported):
			c.Unsupported(o.err.Error())
			return
		case errors.Is(o.err, stack.ErrInvalid):
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
		if l := o.late; l != nil && l.Count() > 0 {
			o.result.Late = &results.ReplyLateness{P50: l.Quantile(0.5), P99: l.Quantile(0.99), Max: l.Max()}
		}
		c.Add(o.result)
	}
	if missing > 0 {
		c.Partial(fmt.Sprintf("interrupted: %d of %d runs are missing or incomplete", missing, len(outcomes)))
	}
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
	defer w.close()
	if w.drive != nil {
		o.level = level(w.drive.Resolution())
	}
	partial := w.run(stop)
	if w.cutter != nil && !partial {
		w.cutter.finish()
	}
	o.result, o.err = w.result(seed, partial)
	if failed := stack.Failures(w.runner.Stats(), p.AllowErrors); o.err == nil && failed != nil {
		o.err = fmt.Errorf("%w: %w", stack.ErrInvalid, failed)
	}
	o.export = advertised(w.export.Info())
	return o
}
