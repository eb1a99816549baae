package bench

import (
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/results"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// cutter cuts the power of a virtual run at seeded moments, judges what each
// cut would have left, and lets the run go on: a cut is a view of the drive and
// changes nothing. Every instant of the window is as likely as any other.
type cutter struct {
	w      *world
	load   *workloads.Profile
	seed   sim.Seed
	cuts   int
	ledger *history.Ledger
	wire   *history.Judge
	grain  uint64 // how far apart sectors may be judged
	// off and end bound what commits write. Where nothing else writes there, the
	// ledger is spared everything else.
	off, end  uint64
	exclusive bool

	moments    moments
	timer      sim.Timer
	next       uint64 // index of the next cut, for its seed
	before     int64  // commits acknowledged before the window
	judged     []judged
	width      sim.Duration // of the first stratum of each phase
	phase      uint64
	durability results.Durability
}

// judged is one cut.
type judged struct {
	cut     results.Cut
	exposed results.Exposed
}

// moments are instants that are uniform over a window whose length is not known
// before it ends: one in each of equal strata, at a random place. Where there
// would be too many, neighbouring strata become one that keeps one of the two
// moments, as chance decides.
type moments struct {
	draw  sim.Stream
	from  sim.Time
	width sim.Duration // of a stratum
	most  int          // strata; 0 is no bound
	next  uint64       // number of the next stratum
	level uint64       // how often strata were joined
}

// at is the instant in the next stratum.
func (m *moments) at() sim.Time {
	part := m.draw.Float64(m.next, 2*m.level)
	return m.from.Add(sim.Duration((float64(m.next) + part) * float64(m.width)))
}

// join reports for each two strata, from the first on, whether the second one's
// moment stays, and makes them one.
func (m *moments) join() (second func(pair int) bool) {
	coin := 2*m.level + 1
	m.level++
	m.width *= 2
	m.next /= 2
	return func(pair int) bool { return m.draw.Float64(uint64(pair), coin) < 0.5 }
}

// MaxPluginCuts bounds the power cuts in a run of a plugin: for each of them other
// instances of the plugin get all calls since the beginning.
const MaxPluginCuts = 5

func newCutter(w *world, p *Plan, cell *Cell, seed sim.Seed) *cutter {
	info, load := w.model.Info(), &cell.Workload
	c := &cutter{
		w: w, load: load, seed: seed.Sub("cuts", 0), cuts: p.Cuts, grain: grainOf(load, info),
		ledger: history.NewLedger(), wire: history.NewJudge(info),
	}
	if w.drive != nil {
		c.cuts = min(c.cuts, MaxPluginCuts)
	}
	c.wire.PromisedOnly()
	c.off, c.end, c.exclusive = load.Footprint(info.Size)
	c.moments = moments{draw: seed.Stream("cut moments")}
	if p.Commits == 0 {
		c.width = max(sim.Duration(p.Duration)/sim.Duration(c.cuts), 1)
		c.moments.width = c.width
		return c
	}
	// Somewhat more moments than cuts, so that a run that is shorter than expected has
	// enough of them; one that is longer joins strata.
	c.moments.most = 2 * (c.cuts + 1)
	c.width = max(cell.expected(p.Commits)/sim.Duration(c.cuts+1+c.cuts/8), 1)
	c.moments.width = c.width
	return c
}

// perCommit is how long a commit is taken to last where no pilot run has measured it.
const perCommit = 10 * time.Microsecond

// expected is about how long a window of that many commits is.
func (c *Cell) expected(commits uint64) sim.Duration {
	if c.rate > 0 {
		return sim.Duration(float64(commits) / c.rate * 1e9)
	}
	return sim.Duration(commits) * perCommit
}

// opens begins to cut, at the window's beginning.
func (c *cutter) opens(at sim.Time) {
	c.moments.from, c.before = at, int64(c.ledger.Acked())
	c.arm()
}

func (c *cutter) arm() { c.w.loop.At(&c.timer, max(c.moments.at(), c.w.loop.Now()), c) }

// closes ends it: a moment that is still to come lies outside of the window.
func (c *cutter) closes() { c.w.loop.Cancel(&c.timer) }

// nextPhase counts the cuts of the phase whose window is over and begins anew: each
// phase has as many.
func (c *cutter) nextPhase() {
	c.choose()
	c.phase++
	c.judged = c.judged[:0]
	c.moments = moments{draw: c.seed.Sub("phase", c.phase).Stream("cut moments"), width: c.width, most: c.moments.most}
}

// Fire cuts the power.
func (c *cutter) Fire(*sim.Timer) {
	k := c.judge()
	at := c.w.loop.Now().Sub(c.moments.from)
	c.judged = append(c.judged, judged{k, results.Exposed{At: at, Bytes: k.AtRiskBytes, Commits: k.AtRisk}})
	c.moments.next++
	if len(c.judged) == c.moments.most {
		second := c.moments.join()
		for i := range len(c.judged) / 2 {
			c.judged[i] = c.judged[2*i]
			if second(i) {
				c.judged[i] = c.judged[2*i+1]
			}
		}
		c.judged = c.judged[:len(c.judged)/2]
	}
	c.arm()
}

// grainOf says how far apart sectors may be judged: if all writes are whole,
// aligned pages and pages survive whole, the sectors of a page agree.
func grainOf(p *workloads.Profile, info devices.Info) uint64 {
	const page = 4096
	if info.AtomicUnit < page {
		return devices.Sector
	}
	if !p.Aligned(page) {
		return devices.Sector
	}
	return page
}

// Submit feeds the ledger; see workloads.Observer.
func (c *cutter) Submit(r *devices.Request) {
	if r.Stream == workloads.StreamCommit || !c.exclusive {
		c.ledger.Submit(r)
	}
}

// Group feeds the ledger; see workloads.GroupObserver.
func (c *cutter) Group(r *devices.Request, records []devices.Record) { c.ledger.Records(r, records) }

// Op feeds the ledger; see workloads.Observer.
func (c *cutter) Op(r *devices.Request) {
	if r.Stream == workloads.StreamCommit || !c.exclusive {
		c.ledger.Op(r)
	}
}

// Commit feeds the ledger with what is a commit; see workloads.Observer.
func (c *cutter) Commit(k *devices.Commit) {
	if c.load.IsCommit(k.Stream) {
		c.ledger.Commit(k)
	}
}

// loss is what a power cut at this instant would leave.
type loss struct {
	cut   *drive.Cut
	worst func(sector uint64) devices.Stamp // in the worst legal image
	bytes int64                             // acknowledged and not durable
	// ours visits the sectors that the cut may have taken of what commits write, and
	// promised those of which anything may be promised at the wire.
	ours, promised func(visit func(off, end uint64))
}

// cut is the loss of the next cut.
func (c *cutter) cut() loss {
	seed := c.seed.Sub("cut", c.next)
	c.next++
	k := c.w.model.Cut(seed)
	if c.w.drive != nil {
		return c.pluginLoss(k)
	}
	from, to := c.promised()
	return loss{
		cut: k, worst: k.Durable, bytes: int64(k.ExposedBytes()),
		ours:     func(visit func(off, end uint64)) { c.exposed(k, c.off, c.end, visit) },
		promised: func(visit func(off, end uint64)) { c.exposed(k, from, to, visit) },
	}
}

// pluginLoss is that of a plugin, which does not show what it exposes: all that was
// written is looked at.
func (c *cutter) pluginLoss(k *drive.Cut) loss {
	worst := c.w.drive.WorstCut()
	l := loss{cut: k, worst: worst.Stamp, ours: c.ledger.Written}
	for sector, stamp := range c.w.drive.Newest() {
		if worst.Stamp(sector) != stamp {
			l.bytes += devices.Sector
		}
	}
	l.promised = func(visit func(off, end uint64)) {
		c.wire.Written(func(off, end uint64) {
			for ; off < end; off += c.grain {
				visit(off, off+devices.Sector)
			}
		})
	}
	return l
}

// judge says what a power cut at this instant would have done.
func (c *cutter) judge() results.Cut {
	l := c.cut()
	k := c.verdict(l, c.ledger.Lost(l.ours, l.cut.Stamp))
	k.AtRisk = int64(c.ledger.Lost(l.ours, l.worst).Commits)
	l.promised(func(off, _ uint64) { k.Violations += c.broken(l.cut, off) })
	return k
}

// promised is the range in which anything can be promised at the wire: what
// commits write, as long as nobody has flushed what others wrote.
func (c *cutter) promised() (from, to uint64) {
	if c.exclusive && !c.wire.Flushed() {
		return c.off, c.end
	}
	return 0, c.w.model.Info().Size
}

// broken is 1 if the sector at off breaks a promise after the cut, else 0.
func (c *cutter) broken(cut *drive.Cut, off uint64) int64 {
	if sector := off / devices.Sector; !c.wire.Legal(sector, cut.Stamp(sector)) {
		return 1
	}
	return 0
}

// exposed visits one sector of each grain that the cut exposes.
func (c *cutter) exposed(cut *drive.Cut, from, to uint64, visit func(off, end uint64)) {
	cut.Exposed(from, to, func(off, end uint64) {
		for at := off / c.grain * c.grain; at < end; at += c.grain {
			visit(at, at+devices.Sector)
		}
	})
}

func (c *cutter) verdict(l loss, lost history.Loss) results.Cut {
	k := results.Cut{Acked: int64(c.ledger.Acked()) - c.before, Lost: int64(lost.Commits), AtRiskBytes: l.bytes}
	if lost.Commits > 0 {
		k.LostWindow = c.w.loop.Now().Sub(lost.OldestAck)
	}
	return k
}

// finish counts as many of the cuts as were asked for, chosen by chance and in the
// order of time. Then it judges all that was ever written: what a drive does not
// show as exposed has to be there. That is no cut like the others, since nothing is
// in flight; it counts what is missing or breaks a promise, and nothing else.
func (c *cutter) finish() {
	c.choose()
	l := c.cut()
	all := c.verdict(l, c.ledger.Lost(c.ledger.Written, l.cut.Stamp))
	shown := c.ledger.Lost(l.ours, l.cut.Stamp)
	all.Violations = max(all.Lost-int64(shown.Commits), 0)
	from, to := c.promised()
	c.wire.Written(func(off, end uint64) {
		for ; off < end && off >= from && off < to; off += c.grain {
			all.Violations += c.broken(l.cut, off)
		}
	})
	if c.durability.Cuts == 0 { // the window had no length
		all.AtRisk = int64(c.ledger.Lost(c.ledger.Written, l.worst).Commits)
		c.durability.Add(all)
		return
	}
	c.durability.Violations += all.Violations
}

// choose takes the cuts that count.
func (c *cutter) choose() {
	draw, left, wanted := c.seed.Stream("chosen"), len(c.judged), c.cuts
	if c.phase > 0 {
		draw = c.seed.Sub("phase", c.phase).Stream("chosen")
	}
	for i, k := range c.judged {
		if draw.Float64(uint64(i), 0)*float64(left) < float64(wanted) {
			c.durability.AddAt(k.cut, k.exposed.At, c.w.window.end.Sub(c.moments.from))
			c.durability.Expose(k.exposed)
			wanted--
		}
		left--
	}
}
