package workloads

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// groupLog is a Log of a run.
type groupLog struct {
	r       *Runner
	spec    Log
	number  uint32 // in Request.Stream
	room    span
	block   uint64
	most    uint64 // bytes of one group's write
	journal bool

	pos     uint64  // where the next record goes, from the beginning of room
	active  int     // transactions in progress that commit to it
	waiting []*slot // in the order in which they came
	group   []*slot // of the group in progress
	spare   []*slot
	records []devices.Record

	running   bool
	gathering bool   // a journal's group is closed and waits for its members
	open      uint64 // a journal's group that transactions join as they begin
	joined    int    // that are in it
	expected  int    // members of the group that is gathering

	first, length uint64 // of the group's write
	written       uint64 // where the last one ended
	grown         bool   // the group's write has a block that was not written before
	meta          span   // the file system's journal of a log that is a file
	metaPos       uint64 // where its next commit goes, from the beginning of meta
	metaFirst     uint64 // of the commit in progress
	step          int
	began         sim.Time
	txn           uint64
	errno         devices.Errno
	stages        devices.Stages
	hops          *devices.HopTimes // nil without proxies
	request       devices.Request
	buffer        []byte
	timer         sim.Timer
}

// makeLogs makes the logs of a run.
func (r *Runner) makeLogs(info devices.Info) {
	p := &r.cfg.Profile
	r.logs = map[string]*groupLog{}
	for i, name := range p.logNames() {
		spec := p.Logs[name]
		slots, _, journal := p.slotsOf(name)
		l := &groupLog{
			r: r, spec: spec, number: uint32(2*len(p.All()) + i), room: p.spanOf(spec.Region, info.Size),
			block: spec.block(), most: p.groupBytes(name, info), journal: journal,
			waiting: make([]*slot, 0, slots), group: make([]*slot, 0, slots), spare: make([]*slot, 0, slots),
			records: make([]devices.Record, slots),
		}
		if spec.Journal != "" {
			l.meta = p.spanOf(spec.Journal, info.Size)
		}
		if r.cfg.Content == Bytes {
			l.buffer = make([]byte, max(l.most, l.block, spec.metadata()))
		}
		r.logs[name] = l
	}
}

// enter notes that a transaction which will commit to the log begins.
func (l *groupLog) enter(s *slot) {
	l.active++
	if l.journal {
		s.journal, s.joins = l, l.open
		l.joined++
	}
}

// leave notes that such a transaction is over. One that has not come to its
// commit, because a request before it failed, leaves its group.
func (l *groupLog) leave(s *slot) {
	l.active--
	if s.journal != l {
		return
	}
	s.journal = nil
	if s.joins == l.open {
		l.joined--
		return
	}
	l.expected--
	l.gathered()
}

// commit has a slot's record, due at that instant, written by a group.
func (l *groupLog) commit(s *slot, o *op, due sim.Time) {
	s.arrived, s.size = due, o.record
	if s.journal == l {
		s.journal = nil
		if l.gathering && s.joins != l.open {
			l.group = append(l.group, s)
			l.gathered()
			return
		}
	}
	l.waiting = append(l.waiting, s)
	l.start()
}

// start begins a group if none is in progress and something waits.
func (l *groupLog) start() {
	if l.running || len(l.waiting) == 0 {
		return
	}
	l.running = true
	if l.spec.Delay > 0 && l.active-1 >= int(l.spec.Siblings) {
		l.r.loop.After(&l.timer, l.spec.Delay.Std(), l)
		return
	}
	l.Fire(nil)
}

// Fire is the end of the delay: the group takes what waits.
func (l *groupLog) Fire(*sim.Timer) {
	if !l.journal {
		l.take()
		l.write()
		return
	}
	l.gathering, l.expected, l.joined = true, l.joined, 0
	l.open++
	l.group = append(l.group, l.waiting...)
	l.waiting = l.waiting[:0]
	l.gathered()
}

// gathered writes a journal's group once all of its members have come.
func (l *groupLog) gathered() {
	if !l.gathering || len(l.group) < l.expected {
		return
	}
	l.gathering = false
	if len(l.group) == 0 {
		l.running = false
		l.start()
		return
	}
	blocks := uint64(1) // the descriptor
	for _, s := range l.group {
		blocks += s.size
	}
	if l.length = blocks * l.block; l.pos+l.length+l.block > l.room.length {
		l.pos = 0
	}
	l.first = l.pos
	l.pos += l.length + l.block
	l.write()
}

// take takes as many of the records that wait as fit into one write.
func (l *groupLog) take() {
	if l.end(l.waiting[0].size) > min(l.first0()+l.most, l.room.length) {
		l.pos, l.written = 0, 0
	}
	l.first = l.first0()
	limit, n := min(l.first+l.most, l.room.length), 0
	for _, s := range l.waiting {
		if l.end(s.size) > limit {
			break
		}
		l.records[n] = devices.Record{Txn: s.commit.Txn, Offset: l.room.start + l.pos, Length: s.size}
		l.pos += s.size
		n++
	}
	l.length = l.end(0) - l.first
	l.grown, l.written = l.end(0) > l.written, l.end(0)
	l.group = append(l.group, l.waiting[:n]...)
	l.waiting = l.waiting[:copy(l.waiting, l.waiting[n:])]
}

// first0 is the beginning of the block in which the next record begins.
func (l *groupLog) first0() uint64 { return l.pos / l.block * l.block }

// end is the end of the block in which a next record of that size would end.
func (l *groupLog) end(size uint64) uint64 { return (l.pos + size + l.block - 1) / l.block * l.block }

// write begins the group's requests.
func (l *groupLog) write() {
	l.r.txn++
	l.txn, l.step, l.began, l.errno, l.stages = l.r.txn, 0, l.r.loop.Now(), devices.OK, devices.Stages{}
	if l.hops != nil {
		*l.hops = devices.HopTimes{}
	}
	l.submit()
}

// part is what a write of a group holds.
type part uint8

const (
	partGroup    part = iota // the group's range
	partCommit               // a journal's commit block, after the group's range
	partMetadata             // what the file system's journal commits for a log that is a file
	partRecord               // its commit block
)

// groupOp is a request of a group.
type groupOp struct {
	op
	part part
}

var (
	groupWrite = groupOp{op{command: devices.OpWrite}, partGroup}
	groupFlush = groupOp{op: op{command: devices.OpFlush}}
	metadata   = groupOp{op{command: devices.OpWrite}, partMetadata}
)

// The requests of a group, in their order.
var (
	flushed = []groupOp{groupWrite, groupFlush}
	durably = []groupOp{{op{command: devices.OpWrite, flags: devices.FUA}, partGroup}}

	journalFlushed = []groupOp{groupWrite, groupFlush, {op{command: devices.OpWrite}, partCommit}, groupFlush}
	journalDurably = []groupOp{groupWrite, groupFlush, {op{command: devices.OpWrite, flags: devices.FUA}, partCommit}}

	grownFlushed = []groupOp{groupWrite, metadata, groupFlush, {op{command: devices.OpWrite}, partRecord}, groupFlush}
	grownDurably = []groupOp{groupWrite, metadata, groupFlush, {op{command: devices.OpWrite, flags: devices.FUA}, partRecord}}
)

func (l *groupLog) ops() []groupOp {
	switch fua := l.spec.Finish == FinishFUA; {
	case l.journal && fua:
		return journalDurably
	case l.journal:
		return journalFlushed
	case l.spec.Journal != "" && !l.commitsFile():
		return flushed
	case l.spec.Journal != "" && fua:
		return grownDurably
	case l.spec.Journal != "":
		return grownFlushed
	case fua:
		return durably
	}
	return flushed
}

// commitsFile reports whether the file system has something to commit for the group.
func (l *groupLog) commitsFile() bool { return l.grown || !l.spec.Preallocated }

// place is where a part of the group goes, on the device.
func (l *groupLog) place(p part) (offset, length uint64) {
	switch p {
	case partCommit:
		return l.room.start + l.first + l.length, l.block
	case partMetadata:
		return l.meta.start + l.metaFirst, l.spec.metadata()
	case partRecord:
		return l.meta.start + l.metaFirst + l.spec.metadata(), journalBlock
	}
	return l.room.start + l.first, l.length
}

// placeMetadata takes the next place in the file system's journal.
func (l *groupLog) placeMetadata() {
	need := l.spec.metadata() + journalBlock
	if l.metaPos+need > l.meta.length {
		l.metaPos = 0
	}
	l.metaFirst = l.metaPos
	l.metaPos += need
}

// submit puts the group's present request in flight.
func (l *groupLog) submit() {
	r, q, now := l.r, &l.request, l.r.loop.Now()
	o, leader := &l.ops()[l.step], l.group[0]
	q.Reset()
	q.Op, q.Flags, q.Step, q.Completer = o.command, o.flags, uint32(l.step), l
	q.Conn, q.Slot, q.Stream, q.Txn = leader.conn, leader.index, l.number, l.txn
	q.Intended, q.Submitted = now, now
	q.Begin(now)
	if q.Op == devices.OpWrite {
		if o.part == partMetadata {
			l.placeMetadata()
		}
		q.Offset, q.Length = l.place(o.part)
		r.stamp++
		q.Stamp = r.stamp
		if r.cfg.Content == Bytes {
			q.Bytes = l.buffer[:q.Length]
			Label{r.cfg.Seed, q.Offset, q.Stamp, q.Txn}.Fill(q.Bytes)
		}
	}
	r.stats.Requests++
	r.observer.Submit(q)
	if q.Op == devices.OpWrite && r.groups != nil {
		r.groups.Group(q, l.recordsOf(q, o.part))
	}
	r.dev.Submit(q)
}

// recordsOf are what a write holds of the group's members: the range of each record,
// and of a journal, whose group is whole or nothing, all of it for each.
func (l *groupLog) recordsOf(q *devices.Request, p part) []devices.Record {
	records := l.records[:len(l.group)]
	if l.journal || p != partGroup {
		for i, s := range l.group {
			records[i] = devices.Record{Txn: s.commit.Txn, Offset: q.Offset, Length: q.Length}
		}
	}
	return records
}

// Done notes that the request is done.
func (l *groupLog) Done(q *devices.Request) {
	now := l.r.loop.Now()
	q.Completed = now
	q.Charge(devices.ClientQueue, now)
	l.stages.Add(&q.Stages)
	if h := q.Hops(); h != nil {
		if l.hops == nil {
			l.hops = new(devices.HopTimes)
		}
		l.hops.Add(h)
	}
	l.errno = q.Errno
	l.r.observer.Op(q)
	if l.step++; l.errno == devices.OK && l.step < len(l.ops()) {
		l.submit()
		return
	}
	l.acknowledge(now)
}

// acknowledge ends the group. The next one begins with what waits by now, before
// any of its members can go on.
func (l *groupLog) acknowledge(now sim.Time) {
	done, began, stages, errno, hops := l.group, l.began, l.stages, l.errno, l.hops
	if hops != nil { // the next group has others
		mine := *hops
		hops = &mine
	}
	l.group, l.spare = l.spare[:0], done
	l.running = false
	l.start()
	for _, s := range done {
		s.commit.Stages[devices.ClientQueue] += began.Sub(s.arrived)
		s.commit.Stages.Add(&stages)
		s.addHops(hops)
		if s.commit.Errno == devices.OK {
			s.commit.Errno = errno
		}
		s.next(now)
	}
}
