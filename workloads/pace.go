package workloads

import "nbdbench/sim"

// closedPace begins a slot's next transaction when it has ended the last.
type closedPace struct {
	r       *Runner
	loop    ClosedLoop
	retired int // slots that will not begin again
}

func (c *closedPace) start() {
	now := c.r.loop.Now()
	for i := range c.r.slots {
		if !c.r.more(now) {
			return
		}
		c.r.begin(&c.r.slots[i], now)
	}
}

func (c *closedPace) freed(s *slot) {
	now := c.r.loop.Now()
	due := c.loop.Due(now)
	c.r.iterated(s, due)
	switch {
	case !c.r.more(due):
		c.retire()
	case due == now:
		c.r.begin(s, due)
	default:
		c.r.loop.At(&s.timer, due, s)
	}
}

// retire ends the run once no slot will begin again. Until then other slots may
// be pausing before an earlier instant.
func (c *closedPace) retire() {
	c.retired++
	if c.retired == len(c.r.slots) {
		c.r.Stop()
	}
}

func (c *closedPace) halt() {
	for i := range c.r.slots {
		c.r.loop.Cancel(&c.r.slots[i].timer)
	}
}

// openPace begins transactions when they are due and a slot is free. What is
// due and waits is not stored: the next one's instant stands for all.
type openPace struct {
	r        *Runner
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

func newOpenPace(r *Runner, open OpenLoop, now sim.Time) *openPace {
	o := &openPace{r: r, next: newSequence(open, now), free: make([]*slot, len(r.slots)), idle: len(r.slots)}
	for i := range r.slots {
		o.free[i] = &r.slots[i]
	}
	o.schedule = census{pace: o, due: o.next}
	if r.cfg.Commits > 0 {
		r.end = min(r.end, o.afterCommits(r.cfg.Commits))
	}
	return o
}

// afterCommits is when the transaction after the n-th measured one is due.
func (o *openPace) afterCommits(n uint64) sim.Time {
	a := o.next
	a.until(o.r.from)
	for range n {
		a.advance()
	}
	return a.due
}

func (o *openPace) start() {
	o.r.endAt(o.r.end)
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
	now := o.r.loop.Now()
	for o.idle > 0 && o.next.due <= now && o.r.more(o.next.due) {
		due := o.next.due
		o.next.advance()
		o.r.begin(o.take(), due)
		o.checkBacklog(now)
	}
	switch {
	case !o.r.more(o.next.due):
		o.r.Stop()
	case o.idle > 0:
		o.r.loop.At(&o.timer, o.next.due, o)
	}
}

func (o *openPace) take() *slot {
	s := o.free[o.head]
	o.head = (o.head + 1) % len(o.free)
	o.idle--
	return s
}

// checkBacklog stops a run whose backlog has grown past its bound. The backlog
// is the time since the next transaction was due, times the rate; but no more
// than will still be begun.
func (o *openPace) checkBacklog(now sim.Time) {
	waiting := now.Sub(o.next.due).Seconds() * float64(o.r.cfg.Profile.Rate)
	if min(waiting, float64(o.r.left)) > MaxBacklog {
		o.r.overrun()
	}
}

// halt begins nothing more. The census of a window that was cut short is taken now.
func (o *openPace) halt() {
	o.r.loop.Cancel(&o.timer)
	o.schedule.cut()
}

// census counts an open loop's arrivals and its backlog at three instants: when
// the window opens, in its middle, and when it ends. Where the load is kept up, a
// fourth instant ends a run that takes longer than the window to serve what was
// left then.
type census struct {
	pace  *openPace
	due   sequence
	taken int
	first uint64 // arrivals before the window
	timer sim.Timer
}

// at is the instant of the next count.
func (c *census) at() sim.Time {
	r := c.pace.r
	half := r.end.Sub(r.from) / 2
	return [...]sim.Time{r.from, r.from.Add(half), r.end, r.end.Add(2 * half)}[c.taken]
}

func (c *census) arm() {
	if r := c.pace.r; c.taken < 3 || r.cfg.Sustain {
		r.loop.At(&c.timer, max(c.at(), r.loop.Now()), c)
	}
}

// Fire takes the count that is due.
func (c *census) Fire(*sim.Timer) {
	r := c.pace.r
	if c.taken == 3 {
		r.overrun()
		return
	}
	c.take(c.at())
	c.arm()
}

// take takes the next count, as of that instant.
func (c *census) take(at sim.Time) {
	r := c.pace.r
	c.due.until(at)
	backlog := int64(c.due.n) - int64(r.stats.Commits+r.stats.Failed)
	switch c.taken {
	case 0:
		c.first = c.due.n
	case 1:
		r.stats.BacklogMiddle = backlog
	case 2:
		r.stats.Arrivals, r.stats.BacklogEnd = c.due.n-c.first, backlog
	}
	c.taken++
}

// cut takes what counts are missing when a run is stopped inside its window, and
// ends the drain of one that is over.
func (c *census) cut() {
	c.pace.r.loop.Cancel(&c.timer)
	for c.taken < 3 {
		c.take(min(c.at(), c.pace.r.loop.Now()))
	}
}
