package workloads

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/sim"
)

// slot is one of the queue depth's places: one transaction at a time, with all
// the requests it may have in flight.
type slot struct {
	r     *Runner
	c     *client
	index uint32 // in the run
	conn  uint32
	timer sim.Timer

	commit   devices.Commit    // of the transaction in progress
	hops     *devices.HopTimes // of it; nil without proxies
	due      sim.Time          // when the slot's last transaction of the stream was due
	measured bool              // that was in the window, and of a stream that counts
	program  *program          // what is in progress: the transaction, or what is between
	n        uint64            // its number in its stream
	stage    int
	waiting  int // requests of the stage that are not done

	arrived sim.Time  // at a log
	size    uint64    // of the record there
	journal *groupLog // whose group the transaction has joined, and not come to
	joins   uint64    // that group

	requests []devices.Request
	buffers  [][]byte          // per request, for content Bytes
	versions [][]devices.Stamp // per request, for reads of content Stamps
}

func (s *slot) init(c *client, index, conn uint32) {
	s.r, s.c, s.index, s.conn = c.r, c, index, conn
	width := max(c.transaction.width, c.between.width)
	s.requests = make([]devices.Request, width)
	s.buffers = make([][]byte, width)
	s.versions = make([][]devices.Stamp, width)
	for i := range width {
		longest, read := c.longest(i)
		if s.r.cfg.Content == Bytes {
			s.buffers[i] = make([]byte, longest)
		} else {
			s.versions[i] = make([]devices.Stamp, read/devices.Sector)
		}
	}
}

// longest is the longest payload that request i of any stage has, and the
// longest READ.
func (c *client) longest(i int) (payload, read uint64) {
	for _, p := range []*program{&c.transaction, &c.between} {
		for _, stage := range p.stages {
			if i >= len(stage) {
				continue
			}
			switch o := &stage[i]; {
			case o.command == devices.OpRead || o.reads:
				read = max(read, o.longest)
				payload = max(payload, o.longest)
			case o.command == devices.OpWrite:
				payload = max(payload, o.longest)
			}
		}
	}
	return payload, read
}

// begin starts the next of a program, the stream's transaction or what is between
// two of them, which was due at that instant.
func (s *slot) begin(p *program, due sim.Time) {
	r := s.r
	r.txn++
	s.program, s.stage, s.n = p, 0, p.begun
	p.begun++
	s.commit = devices.Commit{Stream: p.stream, Txn: r.txn, Intended: due, Started: r.loop.Now(), Hops: s.hops}
	if s.hops != nil {
		*s.hops = devices.HopTimes{}
	}
	for _, l := range p.logs {
		l.enter(s)
	}
	s.submit(due)
}

// submit puts all requests of the present stage in flight.
func (s *slot) submit(due sim.Time) {
	r, stage := s.r, s.program.stages[s.stage]
	if o := &stage[0]; o.log != nil {
		o.log.commit(s, o, due)
		return
	}
	s.waiting = len(stage)
	r.stats.Requests += uint64(len(stage))
	for i := range stage {
		q := s.fill(i, &stage[i], due)
		r.observer.Submit(q)
		r.dev.Submit(q)
	}
}

// fill makes request i.
func (s *slot) fill(i int, o *op, due sim.Time) *devices.Request {
	q := &s.requests[i]
	q.Reset()
	q.Op, q.Flags, q.Step = o.command, o.flags, o.step
	q.Offset, q.Length = o.place.at(s.n, o.step)
	if o.varies != nil {
		o.varies.vary(q, s.n)
	}
	q.Conn, q.Stream, q.Txn = s.conn, s.commit.Stream, s.commit.Txn
	q.Slot, q.Completer = s.index, s
	q.Intended, q.Submitted = due, s.r.loop.Now()
	q.Begin(due)
	q.Charge(devices.ClientQueue, q.Submitted)
	if q.Op.Modifies() {
		s.r.stamp++
		q.Stamp = s.r.stamp
	}
	s.attach(q, i)
	return q
}

// attach gives a request its payload.
func (s *slot) attach(q *devices.Request, i int) {
	switch {
	case q.Op != devices.OpRead && q.Op != devices.OpWrite:
	case s.r.cfg.Content == Bytes:
		q.Bytes = s.buffers[i][:q.Length]
		if q.Op == devices.OpWrite {
			Label{s.r.cfg.Seed, q.Offset, q.Stamp, q.Txn}.Fill(q.Bytes)
		}
	case q.Op == devices.OpRead:
		q.Versions = s.versions[i][:q.Length/devices.Sector]
	}
}

// Done is called when one of the requests is done.
func (s *slot) Done(q *devices.Request) {
	now := s.r.loop.Now()
	q.Completed = now
	q.Charge(devices.ClientQueue, now)
	if q.Stages.Total() != now.Sub(q.Intended) {
		panic(fmt.Sprintf("workloads: %v took %v, but %v of it is charged: %v", q, now.Sub(q.Intended), q.Stages.Total(), q.Stages))
	}
	if s.commit.Errno == devices.OK {
		s.commit.Errno = q.Errno
	}
	s.r.observer.Op(q)
	s.waiting--
	if s.waiting == 0 {
		s.commit.Stages.Add(&q.Stages) // q was the last: the critical path
		s.addHops(q.Hops())
		s.next(now)
	}
}

// addHops adds the time at proxies of the transaction's critical path, if there are any.
func (s *slot) addHops(h *devices.HopTimes) {
	if h == nil {
		return
	}
	if s.hops == nil {
		s.hops = new(devices.HopTimes)
		s.commit.Hops = s.hops
	}
	s.hops.Add(h)
}

// next goes on to the next stage, or ends the transaction: after its last stage,
// or after one in which a request failed.
func (s *slot) next(now sim.Time) {
	s.stage++
	if s.commit.Errno == devices.OK && s.stage < len(s.program.stages) {
		s.submit(now)
		return
	}
	s.r.ended(s)
}

// Fire ends the slot's pause. A run that stops in the meantime cancels it.
func (s *slot) Fire(t *sim.Timer) { s.r.begin(s, t.When()) }
