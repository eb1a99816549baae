package devices

import "nbdbench/sim"

// RAM is a device that takes no time and has no cache: a reply means durable.
// It completes on the loop, at the instant of the request.
type RAM struct {
	loop  *sim.Loop
	info  Info
	media Media
	stats Stats
}

// NewRAM returns a RAM device over media with the given description.
func NewRAM(loop *sim.Loop, info Info, media Media) *RAM {
	return &RAM{loop: loop, info: info, media: media}
}

// Info describes the device.
func (m *RAM) Info() Info { return m.info }

// Stats returns the device's counters.
func (m *RAM) Stats() Stats { return m.stats }

// Cut returns what a power cut would leave: all that was acknowledged.
func (m *RAM) Cut(sim.Seed) *Cut { return NewCut(m.media) }

// Submit takes a request.
func (m *RAM) Submit(r *Request) {
	r.Timer.Owner = r
	m.loop.At(&r.Timer, m.loop.Now(), m)
}

// Fire serves and completes a request.
func (m *RAM) Fire(t *sim.Timer) {
	r := t.Owner.(*Request)
	e := OK
	switch {
	case r.Op == OpFlush:
		m.stats.Flushes++
	case r.Offset > m.info.Size || r.Length > m.info.Size-r.Offset:
		e = EINVAL
	case r.Op == OpRead:
		m.media.Read(r.Offset, r.Length, &r.Payload)
	case r.Op == OpBlockStatus && r.Status != nil:
		MediaStatus(m.media, r.Offset, r.Length, r.Status)
	case r.Op.Modifies():
		m.write(r)
	}
	r.Charge(MediaStage, m.loop.Now())
	r.Finish(e)
}

func (m *RAM) write(r *Request) {
	m.media.Write(r.Offset, r.Length, ContentOf(r))
	m.stats.HostWrittenBytes += r.Length
	m.stats.MediaWrittenBytes += r.Length
}
