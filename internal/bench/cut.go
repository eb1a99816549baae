package bench

import (
	"cmp"
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/results"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// cutter cuts the power of a virtual run at seeded moments, judges what each
// cut would have left, and lets the run go on: a cut is a view of the drive and
// changes nothing.
//
// The moments are drawn before the run: a number of acknowledged commits, and
// how far into the time until the next one, as a part of the time that the last
// one took, so that two strategies of one run are cut at the same commits. Where
// time bounds the run, the moments are parts of that time.
type cutter struct {
	w      *world
	seed   sim.Seed
	ledger *history.Ledger
	wire   *history.Judge
	grain  uint64 // how far apart sectors may be judged
	// off and end bound what commits write. Where nothing else writes there, the
	// ledger is spared everything else.
	off, end uint64
	alone    bool

	at         []moment // still to come, first one first
	next       int      // index of the next cut, for its seed
	timer      sim.Timer
	acked      uint64
	lastAck    sim.Time
	span       sim.Duration // of the run, where time bounds it; else 0
	durability results.Durability
}

type moment struct {
	commits uint64  // as many are acknowledged
	part    float64 // of the last commit's time has passed since
}

// momentsOf draws the moments of the seeded cuts, in order.
func momentsOf(p *Plan, seed sim.Seed) []moment {
	draw := seed.Stream("cut moments")
	at := make([]moment, 0, p.Cuts)
	for i := range uint64(p.Cuts - 1) { // the last cut is at the end
		m := moment{part: draw.Float64(i, 1)}
		if p.Commits > 0 {
			m.commits = draw.Below(p.Commits, i, 0)
		}
		at = append(at, m)
	}
	slices.SortFunc(at, func(a, b moment) int {
		return cmp.Or(cmp.Compare(a.commits, b.commits), cmp.Compare(a.part, b.part))
	})
	return at
}

func newCutter(w *world, p *Plan, load *workloads.Profile, seed sim.Seed) *cutter {
	info := w.model.Info()
	c := &cutter{
		w: w, seed: seed.Sub("cuts", 0), grain: grainOf(load, info),
		ledger: history.NewLedger(), wire: history.NewJudge(info),
	}
	c.wire.PromisedOnly()
	c.off, c.end, c.alone = load.Footprint(info.Size)
	c.at = momentsOf(p, seed)
	if p.Commits == 0 { // the bound is a time: parts of it are the moments
		c.span = sim.Duration(p.Duration)
		c.lastAck = sim.Time(p.Warmup)
		c.arm(c.span)
	}
	return c
}

// grainOf says how far apart sectors may be judged: if all writes are whole,
// aligned pages and pages survive whole, the sectors of a page agree.
func grainOf(p *workloads.Profile, info devices.Info) uint64 {
	const page = 4096
	if info.AtomicUnit < page {
		return devices.Sector
	}
	for _, steps := range [][]workloads.Step{p.Transaction, p.Between} {
		for i := range steps {
			if uint64(steps[i].Size)%page != 0 {
				return devices.Sector
			}
		}
	}
	return page
}

// Submit feeds the ledger; see workloads.Observer.
func (c *cutter) Submit(r *devices.Request) {
	if r.Stream == workloads.StreamCommit || !c.alone {
		c.ledger.Submit(r)
	}
}

// Op feeds the ledger; see workloads.Observer.
func (c *cutter) Op(r *devices.Request) {
	if r.Stream == workloads.StreamCommit || !c.alone {
		c.ledger.Op(r)
	}
}

// Commit feeds the ledger and sets the timer for the cuts that come before the
// next commit.
func (c *cutter) Commit(k *devices.Commit) {
	c.ledger.Commit(k)
	c.acked++
	if c.span > 0 {
		return
	}
	cycle := k.Acked.Sub(c.lastAck)
	c.lastAck = k.Acked
	if len(c.at) > 0 && c.at[0].commits < c.acked && !c.timer.Pending() {
		c.arm(cycle)
	}
}

// arm sets the timer for the next cut, a part of cycle after the last commit.
func (c *cutter) arm(cycle sim.Duration) {
	if len(c.at) == 0 {
		return
	}
	c.timer.Tag = int(cycle)
	c.w.loop.At(&c.timer, c.lastAck.Add(sim.Duration(c.at[0].part*float64(cycle))), c)
}

// Fire cuts the power.
func (c *cutter) Fire(t *sim.Timer) {
	c.at = c.at[1:]
	k := c.judge()
	c.durability.Add(k)
	c.durability.Expose(results.Exposed{At: c.w.loop.Now().Sub(0), Bytes: k.AtRiskBytes, Commits: k.AtRisk})
	if c.span > 0 || (len(c.at) > 0 && c.at[0].commits < c.acked) {
		c.arm(sim.Duration(t.Tag))
	}
}

// judge says what a power cut at this instant would have done.
func (c *cutter) judge() results.Cut {
	cut := c.w.model.Cut(c.seed.Sub("cut", uint64(c.next)))
	c.next++
	ours := func(visit func(off, end uint64)) { c.exposed(cut, c.off, c.end, visit) }
	k := c.verdict(cut, c.ledger.Lost(ours, cut.Stamp))
	k.AtRisk = int64(c.ledger.Lost(ours, cut.Durable).Commits)
	from, to := c.promised()
	c.exposed(cut, from, to, func(off, _ uint64) { k.Violations += c.broken(cut, off) })
	return k
}

// promised is the range in which anything can be promised at the wire: what
// commits write, as long as nobody has flushed what others wrote.
func (c *cutter) promised() (from, to uint64) {
	if c.alone && !c.wire.Flushed() {
		return c.off, c.end
	}
	return 0, c.w.model.Info().Size
}

// broken is 1 if the sector at off breaks a promise after the cut, else 0.
func (c *cutter) broken(cut *devices.Cut, off uint64) int64 {
	if sector := off / devices.Sector; !c.wire.Legal(sector, cut.Stamp(sector)) {
		return 1
	}
	return 0
}

// exposed visits one sector of each grain that the cut exposes.
func (c *cutter) exposed(cut *devices.Cut, from, to uint64, visit func(off, end uint64)) {
	cut.Exposed(from, to, func(off, end uint64) {
		for at := off / c.grain * c.grain; at < end; at += c.grain {
			visit(at, at+devices.Sector)
		}
	})
}

func (c *cutter) verdict(cut *devices.Cut, lost history.Loss) results.Cut {
	k := results.Cut{Acked: int64(c.ledger.Acked()), Lost: int64(lost.Commits), AtRiskBytes: int64(cut.ExposedBytes())}
	if lost.Commits > 0 {
		k.LostWindow = c.w.loop.Now().Sub(lost.OldestAck)
	}
	return k
}

// finish is the last cut, at the end of the run. It judges all that was ever
// written: what a drive does not show as exposed has to be there. The cuts that
// would have come after the last commit come here too.
func (c *cutter) finish() {
	for len(c.at) > 0 && c.at[0].commits < c.acked {
		c.at = c.at[1:]
		c.durability.Add(c.judge())
	}
	cut := c.w.model.Cut(c.seed.Sub("cut", uint64(c.next)))
	k := c.verdict(cut, c.ledger.Lost(c.ledger.Written, cut.Stamp))
	k.AtRisk = int64(c.ledger.Lost(c.ledger.Written, cut.Durable).Commits)
	from, to := c.promised()
	c.wire.Written(func(off, end uint64) {
		for ; off < end && off >= from && off < to; off += c.grain {
			k.Violations += c.broken(cut, off)
		}
	})
	c.durability.Add(k)
}
