package drive

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// RAM is a device that takes no time and has no cache: a reply means durable.
// It completes on the loop, at the instant of the request.
type RAM struct {
	loop  *sim.Loop
	info  devices.Info
	media Media
	stats devices.Stats
}

// NewRAM returns a RAM device over media with the given description.
func NewRAM(loop *sim.Loop, info devices.Info, media Media) *RAM {
	return &RAM{loop: loop, info: info, media: media}
}

// Info describes the device.
func (m *RAM) Info() devices.Info { return m.info }

// Stats returns the device's counters.
func (m *RAM) Stats() devices.Stats { return m.stats }

// Cut returns what a power cut would leave: all that was acknowledged.
func (m *RAM) Cut(sim.Seed) *Cut { return NewCut(m.media) }

// Submit takes a request.
func (m *RAM) Submit(r *devices.Request) {
	r.Timer.Owner = r
	m.loop.At(&r.Timer, m.loop.Now(), m)
}

// Fire serves and completes a request.
func (m *RAM) Fire(t *sim.Timer) {
	r := t.Owner.(*devices.Request)
	e := devices.OK
	switch {
	case r.Op == devices.OpFlush:
		m.stats.Flushes++
	case r.Offset > m.info.Size || r.Length > m.info.Size-r.Offset:
		e = devices.EINVAL
	case r.Op == devices.OpRead:
		m.media.Read(r.Offset, r.Length, &r.Payload)
	case r.Op == devices.OpBlockStatus && r.Status != nil:
		MediaStatus(m.media, r.Offset, r.Length, r.Status)
	case r.Op.Modifies():
		m.write(r)
	}
	r.Charge(devices.MediaStage, m.loop.Now())
	r.Finish(e)
}

func (m *RAM) write(r *devices.Request) {
	m.media.Write(r.Offset, r.Length, ContentOf(r))
	m.stats.HostWrittenBytes += r.Length
	m.stats.MediaWrittenBytes += r.Length
}
