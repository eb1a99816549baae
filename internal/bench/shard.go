package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"nbdbench/devices/layer"
	"nbdbench/internal/conf"
	"nbdbench/results"
	"nbdbench/sim"
)

// ErrStopped is of a shard that was not done when it was stopped.
var ErrStopped = errors.New("the shard was stopped before all of its runs were done")

// CheckShard refuses a shard that is not one of so many, and a plan that has none. The
// task with number i of a plan, of all runs of the first seed and then of the next,
// belongs to shard (i mod of) + 1.
func (p *Plan) CheckShard(shard, of int) error {
	switch {
	case of < 1 || of > results.MaxShards:
		return fmt.Errorf("expected 1 to %d shards, got %d", results.MaxShards, of)
	case shard < 1 || shard > of:
		return fmt.Errorf("expected a shard from 1 to %d, got %d", of, shard)
	case p.Clock == "real":
		return errors.New("expected virtual time: what is measured in real time depends on the machine")
	case p.FindMax != "":
		return errors.New("expected no find_max: a search has no runs that are known before")
	case p.Sensitivity:
		return errors.New("expected no sensitivity")
	}
	return nil
}

// RunShard carries out the tasks of one shard.
func RunShard(ctx context.Context, p *Plan, shard, of int, progress Progress) (*results.Shard, error) {
	if err := p.CheckShard(shard, of); err != nil {
		return nil, err
	}
	cells, err := p.Cells()
	if err != nil {
		return nil, err
	}
	plan, err := p.JSON()
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	doc := results.NewRun(Tool(), plan, sim.Seed(p.Seed))
	doc.Decide = p.Decide
	p.ended(doc)
	tasks := shardTasks(p, len(cells), shard, of)
	if err := settleGroups(ctx, p, cells, tasks); err != nil {
		return nil, err
	}
	c := newCollection(p, cells, 0, progress)
	c.total = len(tasks)
	work(ctx, p, cells, tasks, c.take)
	if ctx.Err() != nil {
		return nil, ErrStopped
	}
	if c.failed != nil {
		return nil, c.failed
	}
	return shardOf(p, doc, shard, of, c, tasks), nil
}

// shardOf is what a shard stores of its tasks.
func shardOf(p *Plan, doc *results.Run, shard, of int, c *collection, tasks []task) *results.Shard {
	tasksOf := map[task]bool{}
	for _, t := range tasks {
		tasksOf[t] = true
	}
	s := &results.Shard{Schema: results.SchemaShard, Index: shard, Of: of, Run: doc, Cells: []*results.CellConfig{}, Runs: []results.ShardRun{}}
	for i := range c.cells {
		if mine := ofShard(c.kept[i], i, tasksOf); len(mine) > 0 {
			config := cellConfig(p, &c.cells[i], mine)
			s.Cells = append(s.Cells, &config)
			for _, o := range mine {
				s.Runs = append(s.Runs, shardRun(c.cells[i].ID, o))
			}
		}
	}
	return s
}

// shardTasks are the tasks of a shard.
func shardTasks(p *Plan, cells, shard, of int) (out []task) {
	i := 0
	for _, block := range newOrder(p, cells).blocks {
		for _, t := range block {
			if i%of+1 == shard {
				out = append(out, t)
			}
			i++
		}
	}
	return out
}

// ofShard are those outcomes of a cell that are of its tasks.
func ofShard(kept []outcome, cell int, tasks map[task]bool) (out []outcome) {
	for run, o := range kept {
		if tasks[task{cell, run}] {
			out = append(out, o)
		}
	}
	return out
}

// settleGroups settles the cells of tasks, each with those that it must agree with: all
// strategies on its device under its workload.
func settleGroups(ctx context.Context, p *Plan, cells []Cell, tasks []task) error {
	group := func(c *Cell) [3]string { return [3]string{c.Device, c.Name, c.At.ID()} }
	needed := map[[3]string]bool{}
	for _, t := range tasks {
		needed[group(&cells[t.cell])] = true
	}
	var some []Cell
	var places []int
	for i := range cells {
		if needed[group(&cells[i])] {
			some, places = append(some, cells[i]), append(places, i)
		}
	}
	if err := settleCells(ctx, p, some); err != nil {
		return err
	}
	for k, i := range places {
		cells[i] = some[k]
	}
	return nil
}

func shardRun(cell string, o outcome) results.ShardRun {
	r := results.ShardRun{Cell: cell, Run: o.run, Advertised: o.export}
	switch {
	case errors.Is(o.err, layer.ErrUnsupported):
		r.Unsupported = o.err.Error()
	case o.err != nil:
		r.Invalid = o.err.Error()
	default:
		r.Result = o.result
	}
	return r
}

// MergeShards is the document of the plan that the shards are of: the same as of one
// run of it. Shards that are missing are a *results.ShardError.
func MergeShards(shards []*results.Shard) (*results.Run, error) {
	if err := sameShards(shards); err != nil {
		return nil, err
	}
	doc := shards[0].Run
	p, located, err := decodePlan(doc)
	if err != nil {
		return nil, err
	}
	cells, err := p.Cells()
	if err != nil {
		return nil, located.Locate(err)
	}
	if err := p.CheckShard(1, len(shards)); err != nil {
		return nil, conf.Under("plan", err)
	}
	if err := fill(doc, p.Runs, cells, shards); err != nil {
		return nil, err
	}
	doc.Finish()
	p.judgeThresholds(doc)
	return doc, nil
}

// fill gives a document its cells with all of their runs.
func fill(doc *results.Run, planned int, cells []Cell, shards []*results.Shard) error {
	configs, runs := map[string]*results.CellConfig{}, map[results.ShardRun]*results.ShardRun{}
	for _, s := range shards {
		for _, c := range s.Cells {
			configs[c.ID] = c
		}
		for i := range s.Runs {
			r := &s.Runs[i]
			runs[results.ShardRun{Cell: r.Cell, Run: r.Run}] = r
		}
	}
	for i := range cells {
		id := cells[i].ID
		mine := make([]*results.ShardRun, planned)
		for run := range mine {
			if mine[run] = runs[results.ShardRun{Cell: id, Run: run}]; mine[run] == nil {
				return fmt.Errorf("cell %s: expected run %d in one of the shards", id, run)
			}
		}
		cell := results.NewCell(*configs[id])
		if err := cell.AddShardRuns(mine); err != nil {
			return err
		}
		doc.Add(cell)
	}
	return nil
}

// sameShards refuses shards of different plans, and fewer than there are.
func sameShards(shards []*results.Shard) error {
	first := shards[0]
	seen := make([]bool, first.Of+1)
	for _, s := range shards {
		switch {
		case s.Of != first.Of || !bytes.Equal(s.Run.Plan, first.Run.Plan) || !sameProfiles(s.Run, first.Run):
			return fmt.Errorf("expected shards of one plan, got shard %d of %d and shard %d of %d of different plans", first.Index, first.Of, s.Index, s.Of)
		case s.Run.Tool != first.Run.Tool || s.Run.Tool != Tool():
			return fmt.Errorf("expected shards of this program, %s, got shard %d of %s", toolName(Tool()), s.Index, toolName(s.Run.Tool))
		case seen[s.Index]:
			return fmt.Errorf("shard %d is given twice", s.Index)
		}
		seen[s.Index] = true
	}
	var missing []int
	for i := 1; i <= first.Of; i++ {
		if !seen[i] {
			missing = append(missing, i)
		}
	}
	if missing != nil {
		return &results.ShardError{Missing: missing, Of: first.Of}
	}
	return nil
}

// toolName is a program in an error.
func toolName(t results.Tool) string {
	s := t.Version + " " + t.Revision
	if t.Modified {
		s += " (modified)"
	}
	return s + " " + t.Go
}

// sameProfiles reports whether two documents were made with the same profiles.
func sameProfiles(a, b *results.Run) bool {
	return sameStored(a.Devices, b.Devices) && sameStored(a.Workloads, b.Workloads)
}

func sameStored(a, b map[string]*results.Stored) bool {
	if len(a) != len(b) {
		return false
	}
	for name, s := range a {
		if t := b[name]; t == nil || s.Digest != t.Digest {
			return false
		}
	}
	return true
}
