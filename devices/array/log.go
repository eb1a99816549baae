package array

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// Group says how a pool with a log gathers what goes to the pool.
type Group struct {
	// Ack is what the host takes to put a write into its memory.
	Ack sim.Duration
	// Interval is how long a group of writes is open before it goes to the pool.
	Interval sim.Duration
	// Dirty bounds the bytes in the host's memory; half of it closes a group early.
	Dirty uint64
}

// Pool is a pool of storage with a fast log device beside it, as ZFS has with a SLOG. A
// write is acknowledged from the host's memory. FUA and FLUSH put what they cover into the
// log, one block after another with a FLUSH of the log between them, and end then. Every
// Interval what is in memory goes to the pool as a group, in order of address, with a
// FLUSH of the pool; then the log is free of it. After a power loss the log is replayed.
type Pool struct {
	loop  *sim.Loop
	cfg   Config
	info  devices.Info
	media drive.Media
	log   Member
	pool  Member

	open, closing *drive.Cache // the groups' newest content
	records       []record     // not yet in the pool, in their order
	seq, durable  uint64       // the last record, and the last one that is durable
	bytes         uint64       // of all records
	entering      uint64       // bytes of writes that the host is putting into memory
	blocks        []block      // of the log, with records
	number        uint64       // of the last block
	tail          uint64       // where the next block goes
	logging       bool         // a block is on its way
	group         sim.Timer
	closed        uint64 // the last record of the group that goes to the pool
	writes        []drive.Extent
	flying        int

	stalled  devices.Queue // writes that wait for memory
	waiting  devices.Queue // FLUSHes, and FUA writes, that wait for the log
	requests devices.Freelist
	finisher devices.Finisher
	stats    devices.Stats
	defect   Defect
	broken   devices.Errno // of the log or the pool: nothing can be promised any more
}

// record is one write.
type record struct {
	seq, off, n uint64
	content     drive.Content
}

// block is a write to the log: records up to last, at a place of the log.
type block struct {
	number, at, n, last uint64
}

// The bounds of the log.
const (
	maxBlock   = 128 << 10 // bytes of a block, unless one record has more
	blockUnit  = 4 << 10   // a block is whole units
	header     = 512       // of each record
	poolWrites = 32        // of a group at once
)

// The meanings of the timers.
const (
	tagStore = iota + 1 // a write is in memory
	tagGroup            // the group goes to the pool
)

// logInfo is what a pool with a log says of itself.
func (c *Config) logInfo(members []devices.Info) devices.Info {
	i := members[1]
	i.Size, i.MaxPayload = c.Size, 0
	i.CanFlush, i.FUA, i.Cache = true, devices.FUANative, devices.CacheVolatile
	i.CanTrim, i.CanZero, i.CanFastZero = false, false, false
	return i
}

// NewPool returns a pool with a log on loop. media is what is durable of the pool. The
// configuration must be valid; its Open makes the log, member 0, and the pool, member 1.
func NewPool(loop *sim.Loop, cfg Config, media drive.Media) (*Pool, error) {
	p := &Pool{loop: loop, cfg: cfg, media: media}
	p.finisher = devices.Finisher{Loop: loop, Stage: devices.DeviceQueue}
	p.open = p.newGroup()
	p.group.Tag = tagGroup
	var err error
	if p.log, err = cfg.Open(0, drive.NewMedia(drive.Versions)); err != nil {
		return nil, err
	}
	if p.pool, err = cfg.Open(1, media); err != nil {
		return nil, err
	}
	if least := uint64(2 * (maxBlock + blockUnit)); p.log.Info().Size < least {
		return nil, fmt.Errorf("array: the log has %d bytes, expected at least %d", p.log.Info().Size, least)
	}
	p.info = cfg.InfoOf([]devices.Info{p.log.Info(), p.pool.Info()})
	return p, nil
}

func (p *Pool) newGroup() *drive.Cache { return drive.NewCache(p.media, ^uint64(0)>>1, devices.Sector) }

// Break gives the pool a defect.
func (p *Pool) Break(d Defect) { p.defect = d }

// Info describes the pool.
func (p *Pool) Info() devices.Info { return p.info }

// Stats are the sums of the members' counters; what the host wrote counts once, and so
// does a FLUSH.
func (p *Pool) Stats() devices.Stats {
	s := p.log.Stats()
	s.Add(p.pool.Stats())
	s.Flushes, s.HostWrittenBytes = p.stats.Flushes, p.stats.HostWrittenBytes
	return s
}

// Gauges appends how full the host's memory is, and the gauges of the members.
func (p *Pool) Gauges(dst []drive.Gauge) []drive.Gauge {
	dst = append(dst, drive.Level("dirty bytes", "the host's memory", float64(p.bytes), float64(p.cfg.Group.Dirty)))
	return p.pool.Gauges(p.log.Gauges(dst))
}

// Submit takes a request.
func (p *Pool) Submit(r *devices.Request) {
	if e := p.check(r); e != devices.OK {
		p.finisher.Finish(r, e)
		return
	}
	switch r.Op {
	case devices.OpWrite:
		p.write(r)
	case devices.OpFlush:
		p.stats.Flushes++
		r.Seq = p.seq
		if r.Seq <= p.durable {
			p.finisher.Finish(r, devices.OK)
			return
		}
		p.waiting.Push(r)
		p.commit()
	case devices.OpRead:
		p.send(p.pool, r, devices.OpRead, r.Offset, r.Length, r.Payload)
	default: // advice; and nothing is said of what is stored
		p.finisher.Finish(r, devices.OK)
	}
}

func (p *Pool) check(r *devices.Request) devices.Errno {
	switch {
	case r.Op == devices.OpFlush:
		return p.broken
	case r.Offset > p.info.Size || r.Length > p.info.Size-r.Offset:
		if r.Op == devices.OpWrite || r.Op == devices.OpWriteZeroes {
			return devices.ENOSPC
		}
		return devices.EINVAL
	case r.Op == devices.OpTrim || r.Op == devices.OpWriteZeroes:
		return devices.ENOTSUP
	case r.Op == devices.OpWrite:
		return p.broken
	}
	return devices.OK
}

// write takes a write into memory, if there is room: one that is alone always has.
func (p *Pool) write(r *devices.Request) {
	if used := p.bytes + p.entering; p.stalled.Len() > 0 || used > 0 && used+r.Length > p.cfg.Group.Dirty {
		p.stalled.Push(r)
		p.close()
		return
	}
	p.admit(r)
}

func (p *Pool) admit(r *devices.Request) {
	p.entering += r.Length
	r.Charge(devices.DeviceQueue, p.loop.Now())
	r.Timer.Owner, r.Timer.Tag = r, tagStore
	p.loop.After(&r.Timer, p.cfg.Group.Ack, p)
}

// Fire goes on with a write that is in memory, or with the group.
func (p *Pool) Fire(t *sim.Timer) {
	if t.Tag == tagGroup {
		p.close()
		return
	}
	p.store(t.Owner.(*devices.Request))
}

// store makes a record of a write, and acknowledges it unless it is to be durable.
func (p *Pool) store(r *devices.Request) {
	r.Charge(devices.CacheStage, p.loop.Now())
	p.entering -= r.Length
	p.stats.HostWrittenBytes += r.Length
	p.seq++
	c := drive.ContentOf(r).Kept()
	p.records = append(p.records, record{p.seq, r.Offset, r.Length, c})
	p.bytes += r.Length
	if r.Length > 0 {
		p.open.Write(r.Offset, r.Length, c, r.Txn)
	}
	if !p.group.Pending() && p.closing == nil {
		p.loop.After(&p.group, p.cfg.Group.Interval, p)
	}
	if 2*p.bytes > p.cfg.Group.Dirty {
		p.close()
	}
	if r.Flags&devices.FUA == 0 {
		r.Finish(devices.OK)
		return
	}
	r.Seq = p.seq
	p.waiting.Push(r)
	p.commit()
}

// send submits a request to a member, on behalf of parent or, with nil, of the pool.
func (p *Pool) send(to Member, parent *devices.Request, op devices.Op, off, n uint64, payload devices.Payload) {
	c := p.requests.Get()
	c.Op, c.Offset, c.Length, c.Payload, c.Completer = op, off, n, payload, p
	if parent != nil {
		c.Ref, c.Txn, c.Stream, c.Conn = parent, parent.Txn, parent.Stream, parent.Conn
	}
	if to == p.log {
		c.Slot = 1
	}
	c.Submitted = p.loop.Now()
	c.Begin(c.Submitted)
	to.Submit(c)
}

// Done takes a request back from a member.
func (p *Pool) Done(c *devices.Request) {
	parent, op, e, isLog := c.Ref, c.Op, c.Errno, c.Slot == 1
	if op == devices.OpRead {
		r := parent.(*devices.Request)
		r.Absorb(devices.DeviceQueue, c.Submitted, c)
		r.Stamp = c.Stamp
		p.requests.Put(c)
		p.fill(r)
		r.Finish(e)
		return
	}
	if e != devices.OK {
		p.broken = e
	}
	p.requests.Put(c)
	switch {
	case isLog && op == devices.OpWrite && p.broken == devices.OK:
		if p.defect == DefectLogEarly {
			p.logged()
			return
		}
		p.send(p.log, nil, devices.OpFlush, 0, 0, devices.Payload{})
	case isLog:
		p.logged()
	case op == devices.OpWrite:
		p.flying--
		p.pump()
	default:
		p.grouped()
	}
}

// fill puts what is in memory over what the pool has.
func (p *Pool) fill(r *devices.Request) {
	for _, group := range []*drive.Cache{p.closing, p.open} {
		if group == nil {
			continue
		}
		for w := group.From(r.Offset); w.Extent() != nil && w.Extent().Off < r.End(); w = w.Next() {
			e := w.Extent()
			from, to := max(e.Off, r.Offset), min(e.End, r.End())
			over(&r.Payload, r.Offset, from, to, e.Content.Slice(from-e.Off, to-from))
		}
	}
	for i, v := range r.Versions {
		r.Stamp = drive.FoldStamps(r.Stamp, v, i == 0)
	}
}

// over puts content into the part [from, to) of a payload that begins at off.
func over(p *devices.Payload, off, from, to uint64, c drive.Content) {
	if p.Bytes != nil && c.Bytes != nil {
		copy(p.Bytes[from-off:to-off], c.Bytes)
	}
	if p.Versions == nil {
		p.Stamp = c.At(0)
		return
	}
	for at := from / devices.Sector * devices.Sector; at < to; at += devices.Sector {
		p.Versions[(at-off)/devices.Sector] = c.At(at - from/devices.Sector*devices.Sector)
	}
}

// commit sends the next block to the log, if somebody waits for it.
func (p *Pool) commit() {
	if p.logging || p.waiting.Len() == 0 {
		return
	}
	if p.broken != devices.OK {
		p.wake()
		return
	}
	b := block{number: p.number + 1}
	for i := p.firstVolatile(); i < len(p.records); i++ {
		r := &p.records[i]
		if n := roundUp(b.n+header+r.n, 1); b.last > 0 && n > maxBlock {
			break
		}
		b.n, b.last = b.n+header+r.n, r.seq
	}
	b.n = roundUp(b.n, blockUnit)
	if !p.fits(&b) {
		p.close() // which makes room
		return
	}
	p.number, p.logging = b.number, true
	p.tail = b.at + b.n
	p.blocks = append(p.blocks, b)
	p.send(p.log, nil, devices.OpWrite, b.at, b.n, devices.Payload{Stamp: devices.Stamp(b.number)})
}

// firstVolatile is the index of the first record that is not durable: of the many that wait
// for the pool, most are.
func (p *Pool) firstVolatile() int {
	from, to := 0, len(p.records)
	for from < to {
		if k := (from + to) / 2; p.records[k].seq <= p.durable {
			from = k + 1
		} else {
			to = k
		}
	}
	return from
}

func roundUp(n, unit uint64) uint64 { return (n + unit - 1) / unit * unit }

// fits finds a place for a block behind the others, or at the beginning of the log.
func (p *Pool) fits(b *block) bool {
	size := p.log.Info().Size
	b.at = p.tail
	if len(p.blocks) == 0 {
		b.at = 0
		return b.n <= size
	}
	first := p.blocks[0].at
	if b.at < first {
		return b.at+b.n < first // full is not empty
	}
	if b.at+b.n > size {
		b.at = 0
		return b.n < first
	}
	return true
}

// logged says that the last block of the log is durable.
func (p *Pool) logged() {
	p.logging = false
	if p.broken == devices.OK && len(p.blocks) > 0 {
		p.durable = max(p.durable, p.blocks[len(p.blocks)-1].last)
	}
	p.wake()
	p.commit()
}

// wake ends those that wait for what is durable now.
func (p *Pool) wake() {
	for n := p.waiting.Len(); n > 0; n-- {
		r := p.waiting.Pop()
		if r.Seq > p.durable && p.broken == devices.OK {
			p.waiting.Push(r)
			continue
		}
		r.Charge(devices.MediaStage, p.loop.Now())
		p.finisher.Finish(r, p.broken)
	}
}

// close has the open group go to the pool, unless another one does.
func (p *Pool) close() {
	if p.closing != nil || p.open.Extents() == 0 || p.broken != devices.OK {
		return
	}
	p.loop.Cancel(&p.group)
	p.closing, p.open, p.closed = p.open, p.newGroup(), p.seq
	p.writes = p.writes[:0]
	for w := p.closing.From(0); w.Extent() != nil; w = w.Next() {
		p.writes = append(p.writes, *w.Extent())
	}
	if p.defect == DefectLogForgets {
		p.durable = max(p.durable, p.closed)
		p.free()
		p.wake()
	}
	p.pump()
}

// pump sends the writes of the group, and then a FLUSH.
func (p *Pool) pump() {
	for len(p.writes) > 0 && p.flying < poolWrites {
		e := &p.writes[0]
		p.flying++
		p.send(p.pool, nil, devices.OpWrite, e.Off, e.Len(), e.Content.Payload(e.Len()))
		p.writes = p.writes[1:]
	}
	if p.flying == 0 {
		p.send(p.pool, nil, devices.OpFlush, 0, 0, devices.Payload{})
	}
}

// grouped says that the pool has the group.
func (p *Pool) grouped() {
	p.closing = nil
	if p.broken == devices.OK {
		p.durable = max(p.durable, p.closed)
		p.free()
	}
	p.wake()
	p.commit()
	for r := p.stalled.Peek(); r != nil; r = p.stalled.Peek() {
		if used := p.bytes + p.entering; p.broken == devices.OK && used > 0 && used+r.Length > p.cfg.Group.Dirty {
			break
		}
		p.stalled.Pop()
		p.admit(r)
	}
	if p.open.Extents() > 0 {
		p.loop.After(&p.group, p.cfg.Group.Interval, p)
		if p.stalled.Len() > 0 || p.waiting.Len() > 0 && !p.logging {
			p.close()
		}
	}
}

// free forgets the records of the closed group.
func (p *Pool) free() {
	n := 0
	for n < len(p.records) && p.records[n].seq <= p.closed {
		p.bytes -= p.records[n].n
		n++
	}
	p.records = append(p.records[:0], p.records[n:]...)
	n = 0
	for n < len(p.blocks) && p.blocks[n].last <= p.closed && !(p.logging && n == len(p.blocks)-1) {
		n++
	}
	p.blocks = append(p.blocks[:0], p.blocks[n:]...)
}
