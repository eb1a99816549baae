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
	r     *Runner
	open  OpenLoop
	n     uint64 // number of the next transaction
	due   sim.Time
	free  []*slot // a ring, so that slots and their connections take turns
	head  int
	idle  int // free slots
	timer sim.Timer
}

func newOpenPace(r *Runner, open OpenLoop, now sim.Time) *openPace {
	o := &openPace{r: r, open: open, due: open.Due(0, now), free: make([]*slot, len(r.slots)), idle: len(r.slots)}
	for i := range r.slots {
		o.free[i] = &r.slots[i]
	}
	return o
}

func (o *openPace) start() { o.arrive() }

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
	for o.idle > 0 && o.due <= now && o.r.more(o.due) {
		due := o.due
		o.n++
		o.due = o.open.Due(o.n, due)
		o.r.begin(o.take(), due)
		o.checkBacklog(now)
	}
	switch {
	case !o.r.more(o.due):
		o.r.Stop()
	case o.idle > 0:
		o.r.loop.At(&o.timer, o.due, o)
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
	waiting := now.Sub(o.due).Seconds() * float64(o.r.cfg.Profile.Rate)
	if min(waiting, float64(o.r.left)) > MaxBacklog {
		o.r.overloaded(now.Sub(o.due))
	}
}

func (o *openPace) halt() { o.r.loop.Cancel(&o.timer) }
