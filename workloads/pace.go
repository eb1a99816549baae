package workloads

import (
	"cmp"

	"nbdbench/sim"
)

// pace decides when a stream's slots begin transactions: the closed or the open
// loop.
type pace interface {
	start()
	freed(s *slot) // s has ended a transaction and what follows it
	halt()         // begin nothing more
	count(m moment, at sim.Time)
}

// closedPace begins a slot's next transaction when it has ended the last.
type closedPace struct {
	c       *client
	loop    ClosedLoop
	rounds  bool // whole rounds are counted
	retired int  // slots that will not begin again
}

func (p *closedPace) start() {
	r := p.c.r
	now := r.loop.Now()
	for i := range p.c.slots {
		if !p.c.more(now) {
			p.c.end()
			return
		}
		r.begin(&p.c.slots[i], now)
	}
}

func (p *closedPace) freed(s *slot) {
	r := s.r
	now := r.loop.Now()
	due := p.loop.Due(now)
	if s.measured && p.rounds {
		r.stats.Iterations++
		r.stats.IterationTime += due.Sub(s.due)
	}
	switch {
	case !p.c.more(due):
		p.retire()
	case due == now:
		r.begin(s, due)
	default:
		r.loop.At(&s.timer, due, s)
	}
}

// retire ends the stream once no slot will begin again. Until then other slots
// may be pausing before an earlier instant.
func (p *closedPace) retire() {
	p.retired++
	if p.retired == len(p.c.slots) {
		p.c.end()
	}
}

func (p *closedPace) halt() {
	for i := range p.c.slots {
		p.c.r.loop.Cancel(&p.c.slots[i].timer)
	}
}

// count has nothing to count: there is no backlog.
func (p *closedPace) count(moment, sim.Time) {}

// openPace begins transactions when they are due and a slot is free. What is
// due and waits is not stored: the next one's instant stands for all.
type openPace struct {
	c        *client
	mean     float64  // rate at which transactions become due
	next     sequence // the next transaction to begin
	free     []*slot  // a ring, so that slots and their connections take turns
	head     int
	idle     int // free slots
	timer    sim.Timer
	schedule census
}

// sequence is a place in an open loop's sequence of arrivals.
type sequence struct {
	open OpenLoop
	n    uint64   // number of the next one
	due  sim.Time // when it is due
}

func newSequence(open OpenLoop, start sim.Time) sequence {
	return sequence{open: open, due: open.Due(0, start)}
}

func (a *sequence) advance() {
	a.n++
	a.due = a.open.Due(a.n, a.due)
}

// until goes on to the first arrival that is due at t or later.
func (a *sequence) until(t sim.Time) {
	for a.due < t {
		a.advance()
	}
}

func newOpenPace(c *client, open OpenLoop, now sim.Time) *openPace {
	o := &openPace{c: c, mean: c.mean(), next: newSequence(open, now), free: make([]*slot, len(c.slots)), idle: len(c.slots)}
	for i := range c.slots {
		o.free[i] = &c.slots[i]
	}
	o.schedule = census{pace: o, due: o.next}
	return o
}

// afterCommits is when the transaction after the n-th measured one is due.
func (o *openPace) afterCommits(n uint64) sim.Time {
	a := o.next
	a.until(o.c.r.from)
	for range n {
		a.advance()
	}
	return a.due
}

func (o *openPace) start() {
	o.schedule.arm()
	o.arrive()
}

func (o *openPace) freed(s *slot) {
	o.free[(o.head+o.idle)%len(o.free)] = s
	o.idle++
	o.arrive()
}

// Fire is the arrival of the next transaction.
func (o *openPace) Fire(*sim.Timer) { o.arrive() }

// arrive begins what is due for as long as there are free slots, and waits for
// what is not due yet.
func (o *openPace) arrive() {
	r := o.c.r
	now := r.loop.Now()
	for o.idle > 0 && o.next.due <= now && o.c.more(o.next.due) {
		due := o.next.due
		o.next.advance()
		r.begin(o.take(), due)
		o.checkBacklog(now)
	}
	switch {
	case !o.c.more(o.next.due):
		o.c.end()
	case o.idle > 0:
		r.loop.At(&o.timer, o.next.due, o)
	}
}

func (o *openPace) take() *slot {
	s := o.free[o.head]
	o.head = (o.head + 1) % len(o.free)
	o.idle--
	return s
}

// mean is the mean rate at which transactions become due.
func (c *client) mean() float64 {
	if c.load.Arrival == ArrivalReplayed {
		return c.trace.mean() * cmp.Or(c.load.Speed, 1)
	}
	return c.load.mean()
}

// checkBacklog stops a run whose backlog has grown past its bound. The backlog
// is the time since the next transaction was due, times the rate; but no more
// than will still be begun.
func (o *openPace) checkBacklog(now sim.Time) {
	waiting := now.Sub(o.next.due).Seconds() * o.mean
	if o.c.counts {
		waiting = min(waiting, float64(o.c.r.left))
	}
	if waiting > MaxBacklog {
		o.c.r.overrun()
	}
}

// halt begins nothing more. The census of a window that was cut short is taken now.
func (o *openPace) halt() {
	o.c.r.loop.Cancel(&o.timer)
	o.schedule.cut()
}

// count takes a count that the window's end is not known early enough for.
func (o *openPace) count(m moment, at sim.Time) { o.schedule.upTo(m, at) }

// moment is one of the instants at which a census is taken.
type moment int

const (
	opening moment = iota // of the window
	middle
	closing
	drained // of what was left then; no count
)

// census counts an open loop's arrivals and its backlog at three instants: when
// the window opens, in its middle, and when it ends. Where the load is kept up, a
// fourth instant ends a run that takes longer than the window to serve what was
// left then. Where the end is not known when the window opens, because other
// streams' commits decide it, the runner says when the middle and the end are.
type census struct {
	pace  *openPace
	due   sequence
	taken moment
	first uint64 // arrivals before the window
	timer sim.Timer
}

// at is the instant of the next count; Never if it is not known.
func (c *census) at() sim.Time {
	r := c.pace.c.r
	if c.taken != opening && r.end == sim.Never {
		return sim.Never
	}
	half := r.end.Sub(r.from) / 2
	return [...]sim.Time{r.from, r.from.Add(half), r.end, r.end.Add(2 * half)}[c.taken]
}

func (c *census) arm() {
	r := c.pace.c.r
	if at := c.at(); at != sim.Never && (c.taken < drained || r.cfg.Sustain) {
		r.loop.At(&c.timer, max(at, r.loop.Now()), c)
	}
}

// Fire takes the count that is due.
func (c *census) Fire(*sim.Timer) {
	r := c.pace.c.r
	if c.taken == drained {
		r.overrun()
		return
	}
	c.take(c.at())
	c.arm()
}

// take takes the next count, as of that instant.
func (c *census) take(at sim.Time) {
	s := &c.pace.c.r.stats
	c.due.until(at)
	backlog := int64(c.due.n) - int64(c.pace.c.ended)
	switch c.taken {
	case opening:
		c.first = c.due.n
	case middle:
		s.BacklogMiddle += backlog
	case closing:
		s.Arrivals += c.due.n - c.first
		s.BacklogEnd += backlog
	}
	c.taken++
}

// upTo takes the counts up to one of them, as of that instant.
func (c *census) upTo(m moment, at sim.Time) {
	r := c.pace.c.r
	if c.taken > m {
		return
	}
	r.loop.Cancel(&c.timer)
	for c.taken <= m {
		c.take(at)
	}
	c.arm()
}

// cut takes what counts are missing when a run is stopped inside its window, and
// ends the drain of one that is over.
func (c *census) cut() {
	r := c.pace.c.r
	r.loop.Cancel(&c.timer)
	for c.taken < drained {
		c.take(min(c.at(), r.loop.Now()))
	}
}
