package workloads

import (
	"cmp"
	"math"

	"nbdbench/devices"
	"nbdbench/sim"
)

// client is one copy of a stream: its slots, and what makes them begin.
type client struct {
	r           *Runner
	number      uint32 // in Request.Stream, of its transactions; one more is what runs between
	label       string // of its draws
	load        Load
	open        bool      // its load is an open loop
	trace       *Requests // that it replays, or nil
	delay       sim.Duration
	counts      bool   // its transactions are those that the run counts
	most        uint64 // transactions that it begins at most; the highest is no bound
	ended       uint64 // transactions
	over        bool   // it begins nothing more
	pace        pace
	transaction program
	between     program // what runs between two transactions
	slots       []slot
	timer       sim.Timer // of the start's delay
}

// makeClients makes the clients of all phases.
func (r *Runner) makeClients(info devices.Info) {
	p := &r.cfg.Profile
	all := p.All()
	total := max(r.cfg.Connections, 1)
	slots, conns := uint32(0), uint32(0)
	for _, streams := range p.EachPhase() {
		var clients []client
		some := false
		for _, i := range streams {
			some = some || all[i].Commits()
		}
		for _, i := range streams {
			s := &all[i]
			for part := range s.copies() {
				c := client{
					number: 2 * uint32(i), label: s.label(part), load: s.Load, open: s.Load.Open(), delay: s.StartDelay.Std(),
					counts: s.Commits() || !some, most: cmp.Or(s.Transactions, math.MaxUint64), slots: make([]slot, s.depth()),
				}
				if c.trace = s.replays(); c.trace != nil {
					c.most = min(c.most, uint64(len(c.trace.list)))
				}
				c.transaction = compile(p, c.label+"/commit", s.Transaction, part, s.copies(), info, r.cfg.Seed)
				c.between = compile(p, c.label+"/between", s.Between, part, s.copies(), info, r.cfg.Seed)
				c.transaction.stream, c.between.stream = c.number, c.number+1
				c.transaction.commitTo(r.logs)
				clients = append(clients, c)
			}
		}
		for i := range clients {
			c := &clients[i]
			c.r = r
			own := ownConnections(all, c)
			for k := range c.slots {
				conn := slots % total
				if own > 0 {
					conn = (conns + uint32(k)%own) % total
				}
				c.slots[k].init(c, slots, conn)
				slots++
			}
			conns += own
		}
		r.phases = append(r.phases, clients)
	}
}

// ownConnections is how many connections a client has to itself; 0 is none.
func ownConnections(all []Stream, c *client) uint32 { return all[c.number/2].Connections }

// prepare makes the client ready to start, in a phase that begins at now.
func (c *client) prepare(now sim.Time) {
	if c.load.Arrival == ArrivalReplayed {
		c.pace = newOpenPace(c, Replayed{now.Add(c.delay), cmp.Or(c.load.Speed, 1), c.trace}, now.Add(c.delay))
		c.r.open = true
		return
	}
	if open := c.load.opens(now.Add(c.delay), c.r.cfg.Seed, c.label+"/arrivals"); open != nil {
		c.pace = newOpenPace(c, open, now.Add(c.delay))
		c.r.open = true
		return
	}
	c.pace = &closedPace{c: c, loop: ClosedLoop{c.load.Think.Std()}, rounds: len(c.r.cfg.Profile.Streams) == 0}
}

// start begins the client's transactions, after its delay.
func (c *client) start(now sim.Time) {
	if c.delay == 0 {
		c.pace.start()
		return
	}
	c.r.loop.At(&c.timer, now.Add(c.delay), c)
}

// Fire is the end of the delay.
func (c *client) Fire(*sim.Timer) { c.pace.start() }

// onlyCounting is the one client whose transactions count, if there is only one.
func (r *Runner) onlyCounting() (only *client) {
	for i := range r.clients {
		if c := &r.clients[i]; c.counts {
			if only != nil {
				return nil
			}
			only = c
		}
	}
	return only
}

// more reports whether a transaction that is due at that instant may begin: it
// is measured, or measured ones are still in progress and the load is kept up.
func (c *client) more(due sim.Time) bool {
	r := c.r
	if c.over || c.exhausted() {
		return false
	}
	if r.left == 0 {
		if !r.cfg.Sustain {
			return false
		}
		if c.counts && due < r.end {
			r.endAt(due)
		}
	}
	return due < r.end || r.cfg.Sustain && r.pending > 0
}

// goesOn reports whether a slot whose transaction has ended at that instant runs
// what comes between two: as long as the window is open, and until the last
// measured transaction is done.
func (c *client) goesOn(now sim.Time) bool {
	r := c.r
	if !r.cfg.Sustain {
		return c.more(now)
	}
	return !r.stopped && (now < r.end || r.pending > 0)
}

// halt begins nothing more.
func (c *client) halt() {
	c.r.loop.Cancel(&c.timer)
	if !c.over {
		c.over = true
		c.pace.halt()
	}
}

// exhausted reports whether the client has begun as many as it does at most.
func (c *client) exhausted() bool { return c.transaction.begun >= c.most }

// end is the client's end: it begins nothing more by itself. The phase ends with
// its last client. Its window ends, unless it has by then, with the last client
// that counts, where each of these has begun all that it does.
func (c *client) end() {
	if c.over {
		return
	}
	r := c.r
	c.halt()
	others, counting, exhausted := false, false, true
	for i := range r.clients {
		o := &r.clients[i]
		others = others || !o.over
		counting = counting || o.counts && !o.over
		exhausted = exhausted && (!o.counts || o.exhausted())
	}
	if exhausted && !counting && r.left > 0 {
		r.left = 0
		if r.last == math.MaxUint64 {
			r.lastIs(r.txn)
		}
		if now := r.loop.Now(); now < r.end {
			r.endAt(max(now, r.from))
		}
		r.closeIfDone(r.loop.Now())
	}
	if !others {
		r.stop()
	}
}
