package nbd

import (
	"time"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Timeouts bound how long a client waits for a reply. A zero is no bound.
type Timeouts struct {
	Reply time.Duration // to any command but FLUSH, and to an option
	Flush time.Duration // to FLUSH, which may have to write back a whole cache
}

// of is the bound for a request.
func (t *Timeouts) of(r *devices.Request) time.Duration {
	if r.Op == devices.OpFlush {
		return t.Flush
	}
	return t.Reply
}

// watchdog finds the reply that is overdue. Its timer is set while requests are
// in flight, and costs one look at all of them for each time that it fires: at
// most once in the time of a bound, because no deadline of a later request
// comes before.
type watchdog struct {
	client  *Client
	limits  Timeouts
	timer   sim.Timer
	expired func(*TimeoutError) // is to end the connection
}

// Watch has expired called, on the loop, when a reply is overdue.
func (c *Client) Watch(t Timeouts, expired func(*TimeoutError)) {
	if t.Reply > 0 || t.Flush > 0 {
		c.watchdog = &watchdog{client: c, limits: t, expired: expired}
	}
}

// sent sets the timer for a request that was sent, if none is set or r's reply is
// due before.
func (w *watchdog) sent(r *devices.Request) {
	limit := w.limits.of(r)
	if limit == 0 {
		return
	}
	if due := r.Submitted.Add(limit); !w.timer.Pending() || due < w.timer.When() {
		w.client.loop.At(&w.timer, due, w)
	}
}

// Fire looks for the first deadline of those in flight.
func (w *watchdog) Fire(*sim.Timer) {
	c, next := w.client, sim.Never
	for i := range c.table.slots {
		r := c.table.slots[i].r
		if r == nil || w.limits.of(r) == 0 {
			continue
		}
		due := r.Submitted.Add(w.limits.of(r))
		if due <= c.loop.Now() {
			w.expired(&TimeoutError{Awaited: "reply to " + command(r), After: w.limits.of(r)})
			return
		}
		next = min(next, due)
	}
	if next != sim.Never {
		c.loop.At(&w.timer, next, w)
	}
}
