package bench

import (
	"context"
	"errors"
	"slices"
	"time"

	"nbdbench/devices/layer"
	"nbdbench/results"
)

// Outline is what a plan comes to for one device under one workload, before it is run.
type Outline struct {
	Device, Workload string
	Cells            int
	Runs             int // of all cells, at least
	// Commits are those of all runs, 0 where only a duration bounds them.
	Commits uint64
	// Requests are those that clients send in all runs; 0 where that is not known.
	Requests uint64
	// Time is how long runs in real time measure, with their warm-ups; 0 in virtual
	// time.
	Time time.Duration
}

// Outlines are the parts of the plan by device and workload.
func (p *Plan) Outlines(cells []Cell) (out []Outline) {
	runs := newOrder(p, 1)
	warmup := time.Duration(p.Warmup)
	if p.Warmup == WarmupAuto {
		warmup = realWarmup
	}
	for i := range cells {
		c := &cells[i]
		k := slices.IndexFunc(out, func(o Outline) bool { return o.Device == c.Device && o.Workload == c.Name })
		if k < 0 {
			k = len(out)
			out = append(out, Outline{Device: c.Device, Workload: c.Name})
		}
		o := &out[k]
		o.Cells++
		o.Runs += runs.looks[0]
		o.Commits += uint64(runs.looks[0]) * p.Commits
		if p.Clock == "real" {
			o.Time += time.Duration(runs.looks[0]) * (warmup + p.Duration)
		}
	}
	return out
}

// sampleCommits are the commits of the run that Sample makes.
const sampleCommits = 100

// Sample carries out a small part of a cell's runs in virtual time, without a warm-up,
// and returns how many requests all of its runs are expected to send, and how many
// times as long as the sample they are expected to take. Where the combination is
// unsupported both are 0.
func (p *Plan) Sample(ctx context.Context, c Cell) (requests uint64, times float64, err error) {
	q := *p
	q.Runs, q.Raw, q.Warmup = 1, false, 0
	share := 1.0
	if p.Commits > sampleCommits || p.Commits == 0 {
		q.Commits, q.Duration = sampleCommits, 0
		share = float64(sampleCommits) / float64(max(p.Commits, 1))
		q.Cuts = int(float64(p.Cuts)*share + 0.5)
	}
	c.Settled = results.CleanDevice
	o := runVirtual(&q, &c, task{}, func() bool { return ctx.Err() != nil })
	switch {
	case errors.Is(o.err, layer.ErrUnsupported):
		return 0, 0, nil
	case o.err != nil:
		return 0, 0, runError(c.ID, o)
	}
	w := o.result.Wire
	sent := w.Read + w.Write + w.WriteFUA + w.Flush + w.Trim + w.TrimFUA + w.WriteZeroes + w.WriteZeroesFUA
	switch commits := o.result.Commit.Count(); {
	case commits == 0:
		return 0, 0, nil
	case p.Commits == 0: // in as many as the duration has room for
		share = o.result.Elapsed.Seconds() / p.Duration.Seconds()
	}
	return uint64(float64(sent) * float64(p.Runs) / share), float64(p.Runs) / share, nil
}
