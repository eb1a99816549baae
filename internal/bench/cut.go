package bench

import (
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
// one took. Two strategies of one run are cut at the same commits.
type cutter struct {
	w      *world
	seed   sim.Seed
	ledger *history.Ledger
	wire   *history.Judge
	grain  uint64

	at         []moment // still to come, first one first
	next       int      // index of the next cut, for its seed
	timer      sim.Timer
	acked      uint64
	lastAck    sim.Time
	durability results.Durability
}

type moment struct {
	commits uint64  // as many are acknowledged
	part    float64 // of the last commit's time has passed since
}

func newCutter(w *world, p *Plan, seed sim.Seed) *cutter {
	info := w.model.Info()
	c := &cutter{
		w: w, seed: seed.Sub("cuts", 0),
		ledger: history.NewLedger(), wire: history.NewJudge(info),
	}
	draw := seed.Stream("cut moments")
	span := p.Commits
	if span == 0 {
		span = 1000
	}
	for i := range uint64(p.Cuts) {
		c.at = append(c.at, moment{draw.Below(span, i, 0), draw.Float64(i, 1)})
	}
	slices.SortFunc(c.at, func(a, b moment) int {
		switch {
		case a.commits != b.commits:
			return int(int64(a.commits) - int64(b.commits))
		case a.part < b.part:
			return -1
		}
		return 1
	})
	return c
}

// setGrain says how far apart sectors may be judged: if all writes are whole,
// aligned pages and pages survive whole, the sectors of a page agree.
func (c *cutter) setGrain(p *workloads.Profile) {
	const page = 4096
	c.grain = devices.Sector
	if c.w.model.Info().AtomicUnit < page {
		return
	}
	for _, steps := range [][]workloads.Step{p.Transaction, p.Between} {
		for i := range steps {
			if uint64(steps[i].Size)%page != 0 {
				return
			}
		}
	}
	c.grain = page
}

// Submit and Op feed the ledger; see workloads.Observer.
func (c *cutter) Submit(r *devices.Request) { c.ledger.Submit(r) }

// Op is part of workloads.Observer.
func (c *cutter) Op(r *devices.Request) { c.ledger.Op(r) }

// Commit feeds the ledger and sets the timer for the cuts that come before the
// next commit.
func (c *cutter) Commit(k *devices.Commit) {
	c.ledger.Commit(k)
	c.acked++
	cycle := k.Acked.Sub(c.lastAck)
	c.lastAck = k.Acked
	if len(c.at) > 0 && c.at[0].commits < c.acked && !c.timer.Pending() {
		c.arm(cycle)
	}
}

func (c *cutter) arm(cycle sim.Duration) {
	c.timer.Tag = int(cycle)
	c.w.loop.At(&c.timer, c.lastAck.Add(sim.Duration(c.at[0].part*float64(cycle))), c)
}

// Fire cuts the power.
func (c *cutter) Fire(t *sim.Timer) {
	c.at = c.at[1:]
	c.durability.Add(c.judge())
	if len(c.at) > 0 && c.at[0].commits < c.acked {
		c.arm(sim.Duration(t.Tag))
	}
}

// judge says what a power cut at this instant would have done.
func (c *cutter) judge() results.Cut {
	cut := c.w.model.Cut(c.seed.Sub("cut", uint64(c.next)))
	c.next++
	exposed := func(visit func(off, end uint64)) {
		cut.Exposed(func(off, end uint64) {
			for at := off / c.grain * c.grain; at < end; at += c.grain {
				visit(at, at+devices.Sector)
			}
		})
	}
	lost := c.ledger.Lost(exposed, cut.Stamp)
	risk := c.ledger.Lost(exposed, cut.Durable)
	k := results.Cut{
		Acked: int64(c.ledger.Acked()), Lost: int64(lost.Commits), AtRisk: int64(risk.Commits),
		AtRiskBytes: int64(cut.ExposedBytes()),
	}
	if lost.Commits > 0 {
		k.LostWindow = c.w.loop.Now().Sub(lost.OldestAck)
	}
	exposed(func(off, _ uint64) {
		if sector := off / devices.Sector; !c.wire.Legal(sector, cut.Stamp(sector)) {
			k.Violations++
		}
	})
	return k
}

// judgeAll judges all that was ever written, once, at the end of a run: what a
// drive does not show as exposed must be there.
func (c *cutter) judgeAll() {
	cut := c.w.model.Cut(c.seed.Sub("cut", uint64(c.next)))
	c.next++
	lost := c.ledger.Lost(c.ledger.Written, cut.Stamp)
	k := results.Cut{Acked: int64(c.ledger.Acked()), Lost: int64(lost.Commits), AtRisk: int64(lost.Commits), AtRiskBytes: int64(cut.ExposedBytes())}
	if lost.Commits > 0 {
		k.LostWindow = c.w.loop.Now().Sub(lost.OldestAck)
	}
	c.wire.CheckImage(cut.Stamp, func(history.Violation) { k.Violations++ })
	c.durability.Add(k)
}
