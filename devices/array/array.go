package array

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/internal/sparse"
	"nbdbench/sim"
)

// Member is a simulated device that an array can be made of.
type Member interface {
	devices.Device
	drive.Gauged
	Stats() devices.Stats
	Cut(seed sim.Seed) *drive.Cut
}

// Config is what an array is made of. Kind, Size and, of a stripe or RAID 5, Chunk are
// required, in bytes, and Group of a log.
type Config struct {
	Kind  Kind
	Chunk uint64
	Size  uint64
	// FlushWork is what a FLUSH costs the host beside the members: md hands it to a work
	// queue, and again when all members have done it.
	FlushWork sim.Duration
	Group     Group // of a log
	// Open makes member i on a medium. It is called again for a member that had no power.
	Open func(i int, media drive.Media) (Member, error)
}

// Array is a mirror, a stripe or a RAID 5 as a block device.
type Array struct {
	loop    *sim.Loop
	cfg     Config
	layout  layout
	info    devices.Info
	media   drive.Media
	parity  drive.Media  // of RAID 5
	fresh   bool         // the parity of all rows is that of a medium which was empty
	rows    sparse.Table // of which the parity has been computed, where it is not fresh
	members []member

	requests devices.Freelist
	free     *op
	locks    locks
	finisher devices.Finisher
	stats    devices.Stats
	defect   Defect
}

// Defect is a deliberate defect of an array, for the tests that show that a checker
// finds it.
type Defect uint8

// The defects.
const (
	DefectNone              Defect = iota
	DefectFlushOneLeg              // a mirror flushes its last leg alone
	DefectFlushForgets             // FLUSH does not go to the last member
	DefectAckBeforeParity          // a RAID 5 acknowledges once the data is written
	DefectFUADataOnly              // a RAID 5 makes the data of a FUA write durable, and not the parity
	DefectReturnsSilently          // a member without power comes back as if it held all data
	DefectLogEarly                 // a log acknowledges before its write is durable
	DefectLogForgets               // the records of a group are freed before the pool has them
	DefectLogReplaysNothing        // after a power loss nobody reads the log
)

// Break gives the array a defect.
func (a *Array) Break(d Defect) { a.defect = d }

// New returns an array on loop over n members. media is what is durable of it; kept says
// that it may hold data already. The configuration must be valid.
func New(loop *sim.Loop, cfg Config, n int, media drive.Media, kept bool) (*Array, error) {
	a := &Array{
		loop: loop, cfg: cfg, media: media, fresh: !kept, members: make([]member, n),
		layout: layout{kind: cfg.Kind, chunk: cfg.Chunk, n: uint64(n), size: cfg.Size},
	}
	a.finisher = devices.Finisher{Loop: loop, Stage: devices.DeviceQueue}
	a.locks.begin = a.begin
	if cfg.Kind == RAID5 {
		a.parity = drive.NewMedia(media.Mode())
	}
	infos := make([]devices.Info, n)
	for i := range a.members {
		a.members[i].medium = a.mediumOf(i, kept)
		if err := a.open(i); err != nil {
			return nil, err
		}
		infos[i] = a.members[i].dev.Info()
		if need := cfg.MemberSize(i, n); infos[i].Size < need {
			return nil, fmt.Errorf("array: member %d has %d bytes, expected at least %d", i, infos[i].Size, need)
		}
	}
	a.info = cfg.InfoOf(infos)
	return a, nil
}

// mediumOf is the medium of member i, to which windows are opened.
func (a *Array) mediumOf(i int, kept bool) drive.Media {
	switch {
	case a.cfg.Kind != Mirror || i == 0:
		return a.media
	case kept:
		return a.media.Clone()
	}
	return drive.NewMedia(a.media.Mode())
}

// open makes the drive of member i, with an empty cache.
func (a *Array) open(i int) (err error) {
	m := &a.members[i]
	m.window = &window{data: m.medium, member: i, parity: a.parity}
	if a.cfg.Kind != Mirror {
		m.window.layout = &a.layout
	}
	m.dev, err = a.cfg.Open(i, m.window)
	return err
}

// Info describes the array.
func (a *Array) Info() devices.Info { return a.info }

// Stats are the sums of the members' counters; what the host wrote counts once, and so
// does a FLUSH.
func (a *Array) Stats() devices.Stats {
	var s devices.Stats
	for i := range a.members {
		s.Add(a.members[i].dev.Stats())
	}
	s.Flushes, s.HostWrittenBytes = a.stats.Flushes, a.stats.HostWrittenBytes
	return s
}

// Gauges appends those of the members.
func (a *Array) Gauges(dst []drive.Gauge) []drive.Gauge {
	for i := range a.members {
		dst = a.members[i].dev.Gauges(dst)
	}
	return dst
}

// Submit takes a request.
func (a *Array) Submit(r *devices.Request) {
	if e := a.check(r); e != devices.OK {
		a.finisher.Finish(r, e)
		return
	}
	o := a.newOp(r)
	switch {
	case r.Op == devices.OpFlush:
		a.stats.Flushes++
	case r.Op.Modifies():
		a.stats.HostWrittenBytes += r.Length
	}
	switch {
	case r.Op == devices.OpFlush && a.cfg.FlushWork > 0:
		r.Timer.Owner = o
		a.loop.After(&r.Timer, a.cfg.FlushWork, a)
	case a.cfg.Kind == Mirror && r.Op.Modifies() && r.Length > 0:
		a.locks.take(o, r.Offset, r.End())
	case a.cfg.Kind == RAID5 && r.Op == devices.OpWrite && r.Length > 0:
		a.splitRows(o)
	default:
		a.begin(o)
	}
}

// Fire sends a FLUSH to the members.
func (a *Array) Fire(t *sim.Timer) { a.begin(t.Owner.(*op)) }

// check refuses what the server in front should never let through, and everything once
// too many members are gone.
func (a *Array) check(r *devices.Request) devices.Errno {
	switch {
	case a.dead():
		return devices.EIO
	case r.Op == devices.OpFlush:
		return devices.OK
	case r.Offset > a.info.Size || r.Length > a.info.Size-r.Offset:
		if r.Op == devices.OpWrite || r.Op == devices.OpWriteZeroes {
			return devices.ENOSPC
		}
		return devices.EINVAL
	case a.info.ReadOnly && r.Op.Modifies():
		return devices.EPERM
	case r.Flags&devices.FUA != 0 && r.Op.Modifies() && a.info.FUA == devices.FUANone:
		return devices.EINVAL
	case r.Op == devices.OpTrim && !a.info.CanTrim || r.Op == devices.OpWriteZeroes && !a.info.CanZero:
		return devices.ENOTSUP
	}
	return devices.OK
}

// begin carries out o, which has its lock.
func (a *Array) begin(o *op) {
	r := o.parent
	switch {
	case o.copy != nil:
		o.copy.begin(o)
		return
	case o.row:
		a.beginRow(o)
		return
	case r.Op == devices.OpFlush:
		a.flush(o)
	case r.Op == devices.OpRead && a.cfg.Kind == Mirror:
		a.readLeg(o)
	case r.Op == devices.OpRead:
		a.readChunks(o)
	case r.Op.Modifies() && a.cfg.Kind == Mirror:
		for i := range a.members {
			if a.members[i].takesWrites() {
				a.send(o, i, r.Op, r.Flags, r.Offset, r.Length, r.Payload)
			} else {
				a.members[i].note(r.Offset, r.End())
			}
		}
	case r.Op == devices.OpWrite:
		a.chunks(o, func(i int, at, skip, n uint64) {
			a.send(o, i, r.Op, r.Flags, at, n, part(&r.Payload, skip, n))
		})
	case r.Op.Modifies():
		a.spread(o)
	default:
		a.ask(o)
	}
	a.sent(o)
}

// flush sends o to all members at once.
func (a *Array) flush(o *op) {
	last := len(a.members) - 1
	for i := range a.members {
		switch {
		case !a.members[i].takesWrites():
		case a.defect == DefectFlushForgets && i == last:
		case a.defect == DefectFlushOneLeg && i != last:
		case a.members[i].dev.Info().CanFlush:
			a.send(o, i, devices.OpFlush, 0, 0, 0, devices.Payload{})
		}
	}
}

// chunks visits the parts of o's range that each are in one chunk: the member, its byte,
// how far into the range, and the length.
func (a *Array) chunks(o *op, visit func(i int, at, skip, n uint64)) {
	for skip := uint64(0); skip < o.parent.Length; {
		off := o.parent.Offset + skip
		n := a.layout.rest(off, o.parent.Length-skip)
		i, at := a.layout.locate(off)
		visit(i, at, skip, n)
		skip += n
	}
}

// spread sends a TRIM or WRITE_ZEROES to the members of a stripe: of each member the
// range is in one piece, however long it is.
func (a *Array) spread(o *op) {
	r := o.parent
	if r.Length == 0 {
		return
	}
	width := a.layout.chunk * a.layout.n
	for i := range a.members {
		from := a.before(r.Offset, width, uint64(i))
		if end := a.before(r.End(), width, uint64(i)); end > from {
			a.send(o, i, r.Op, r.Flags, from, end-from, devices.Payload{})
		}
	}
}

// before is how many bytes of stripe member i lie before byte off of the array.
func (a *Array) before(off, width, i uint64) uint64 {
	in, chunk := off%width, a.layout.chunk
	return off/width*chunk + min(chunk, in-min(in, i*chunk))
}

// ask sends o, which is advice or a question, to the member that has its first byte.
func (a *Array) ask(o *op) {
	r := o.parent
	i, at, n := a.first(), r.Offset, r.Length
	if a.cfg.Kind != Mirror {
		i, at = a.layout.locate(r.Offset)
		n = a.layout.rest(r.Offset, n)
	}
	if a.members[i].reads() {
		a.send(o, i, r.Op, r.Flags, at, n, r.Payload)
	}
}

// readLeg sends a READ to the leg that has the fewest, as md does. One that meets a write
// in progress goes to the first leg, so that no later READ finds an older version.
func (a *Array) readLeg(o *op) {
	r := o.parent
	best := a.first()
	if !a.locks.busy(r.Offset, r.End()) {
		for i := range a.members {
			if m := &a.members[i]; m.reads() && m.pending < a.members[best].pending {
				best = i
			}
		}
	}
	a.send(o, best, r.Op, r.Flags, r.Offset, r.Length, r.Payload)
}

// readChunks sends a READ to the members that have its chunks. What is on a member that
// is gone is computed.
func (a *Array) readChunks(o *op) {
	r := o.parent
	a.chunks(o, func(i int, at, skip, n uint64) {
		p := part(&r.Payload, skip, n)
		if a.members[i].reads() {
			a.send(o, i, r.Op, r.Flags, at, n, p)
		} else {
			a.rowRequest(o, r.Offset+skip, n, p)
		}
	})
}

// part is n bytes of a payload from skip on.
func part(p *devices.Payload, skip, n uint64) devices.Payload {
	q := devices.Payload{Stamp: p.Stamp}
	if p.Bytes != nil {
		q.Bytes = p.Bytes[skip : skip+n]
	}
	if p.Versions != nil {
		first, end := skip/devices.Sector, (skip+n+devices.Sector-1)/devices.Sector
		q.Versions = p.Versions[first:min(end, uint64(len(p.Versions)))]
	}
	return q
}
