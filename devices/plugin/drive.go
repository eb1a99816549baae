package plugin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/fault"
	"nbdbench/devices/fua"
	"nbdbench/sim"
)

// Drive is a plugin as a simulated device, in virtual time: its calls are made on the
// loop, one at a time, and take none of it. Requests carry versions; the plugin gets
// bytes that have them. One Conn serves all connections. It has no TRIM and no
// WRITE_ZEROES: zeroes have no version.
type Drive struct {
	device  string
	loop    *sim.Loop
	handle  *Handle
	info    devices.Info
	free    *versioned
	forgets bool
	past    []pastCall
}

// pastCall is a call that has ended: what makes another instance of the plugin the
// same.
type pastCall struct {
	op             devices.Op
	flags          devices.Flags
	offset, length uint64
	stamp          devices.Stamp
}

// OpenDrive opens the plugin of a device name on a loop.
func OpenDrive(loop *sim.Loop, device string) (*Drive, error) {
	d := &Drive{device: device, loop: loop}
	var err error
	if d.handle, err = d.instance(loop); err != nil {
		return nil, err
	}
	d.info = d.handle.Info()
	d.info.CanTrim, d.info.CanZero, d.info.CanFastZero, d.info.CanCache = false, false, false, false
	d.info.Cache = devices.CacheVolatile
	return d, nil
}

// CanCut reports whether the drive's power can be cut.
func (d *Drive) CanCut() bool { return d.handle.conn.PowerCut != nil && !d.forgets }

// Forget has the drive remember no calls, so that its power cannot be cut.
func (d *Drive) Forget() { d.forgets, d.past = true, nil }

// Resolution is what nbdkit's rules make of the plugin's declarations.
func (d *Drive) Resolution() fua.Resolution { return d.handle.Resolution() }

// Calls is how many data calls of each kind were begun.
func (d *Drive) Calls() [fua.CallFlush + 1]uint64 { return d.handle.host.Calls() }

// instance opens another instance of the plugin.
func (d *Drive) instance(loop *sim.Loop) (*Handle, error) {
	p, err := Lookup(d.device)
	if err != nil {
		return nil, err
	}
	h, err := NewHost(p, Options{Loop: loop}).Open(context.Background(), ConnInfo{}, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.device, err)
	}
	return h, nil
}

// Info is the plugin's, but for what has no version.
func (d *Drive) Info() devices.Info { return d.info }

// Stats counts the FLUSHes; the rest of a plugin is not known.
func (d *Drive) Stats() devices.Stats {
	return devices.Stats{Flushes: d.Calls()[fua.CallFlush]}
}

// Gauges are none: a plugin has no state that can be seen.
func (d *Drive) Gauges(into []drive.Gauge) []drive.Gauge { return into }

// Close closes the plugin. No request may be in flight.
func (d *Drive) Close() { d.handle.Close() }

// versioned is a request with bytes on behalf of one with versions.
type versioned struct {
	devices.Request
	d      *Drive
	parent *devices.Request
	buffer []byte
	next   *versioned // of those that are free
}

// Submit has the plugin called with bytes for r's versions.
func (d *Drive) Submit(r *devices.Request) {
	v := d.free
	if v == nil {
		v = &versioned{d: d}
	} else {
		d.free = v.next
		v.Reset()
	}
	v.parent = r
	v.Op, v.Flags, v.Offset, v.Length, v.Conn = r.Op, r.Flags, r.Offset, r.Length, r.Conn
	v.Completer, v.Status = v, r.Status
	switch r.Op {
	case devices.OpWrite:
		v.buffer = encode(v.buffer[:0], r.Stamp, r.Offset, r.Length)
		v.Bytes = v.buffer
	case devices.OpRead:
		v.buffer = slices.Grow(v.buffer[:0], int(r.Length))[:r.Length]
		v.Bytes = v.buffer
	}
	v.Begin(d.loop.Now())
	d.handle.Submit(&v.Request)
}

// Done hands the answer to the request with versions.
func (v *versioned) Done(c *devices.Request) {
	d, r := v.d, v.parent
	r.Absorb(devices.DeviceQueue, d.loop.Now(), c)
	if !d.forgets && (c.Op == devices.OpWrite || c.Op == devices.OpFlush) {
		d.past = append(d.past, pastCall{c.Op, c.Flags, c.Offset, c.Length, r.Stamp})
	}
	if c.Op == devices.OpRead && c.Errno == devices.OK {
		for i := range int(c.Length / devices.Sector) {
			s := decode(c.Bytes[i*devices.Sector:][:devices.Sector], c.Offset/devices.Sector+uint64(i))
			r.Stamp = drive.FoldStamps(r.Stamp, s, i == 0)
			if i < len(r.Versions) {
				r.Versions[i] = s
			}
		}
	}
	e := c.Errno
	v.parent, v.next, d.free = nil, d.free, v
	r.Finish(e)
}

// Cut is what a power cut would leave: that of another instance, which gets the same
// calls and whose power is cut. For every other seed nothing survives that is not
// durable, else each unit by chance. The plugin has to do the same for the same calls.
// The cut shows nothing as exposed: what was written may be lost, as far as is known.
func (d *Drive) Cut(seed sim.Seed) *drive.Cut {
	draw := seed.Stream("plugin cut")
	if draw.Uint64(0, 0)&1 == 0 {
		return d.WorstCut()
	}
	return d.cut(func(unit int) bool { return draw.Uint64(1, uint64(unit))&1 == 0 })
}

// WorstCut is Cut where nothing survives that is not durable.
func (d *Drive) WorstCut() *drive.Cut { return d.cut(func(int) bool { return false }) }

func (d *Drive) cut(keep func(unit int) bool) *drive.Cut {
	media, err := d.left(keep)
	if err != nil { // such an instance was opened before
		panic(fmt.Sprintf("plugin: %s cannot be cut: %v", d.device, err))
	}
	return drive.NewCut(media)
}

func (d *Drive) left(keep func(unit int) bool) (drive.Media, error) {
	loop := sim.NewLoop()
	n, err := d.instance(loop)
	if err != nil {
		return nil, err
	}
	written, b := map[uint64]bool{}, []byte(nil)
	for i := range d.past {
		p := &d.past[i]
		r := &devices.Request{Op: p.op, Flags: p.flags, Offset: p.offset, Length: p.length, Completer: ignored{}}
		if p.op == devices.OpWrite {
			b = encode(b[:0], p.stamp, p.offset, p.length)
			r.Bytes = b
			for s := p.offset / devices.Sector; s*devices.Sector < r.End(); s++ {
				written[s] = true
			}
		}
		n.Submit(r)
		loop.Run(sim.Never)
	}
	err = n.conn.PowerCut(keep)
	media := drive.NewMedia(drive.Versions)
	b = make([]byte, devices.Sector)
	for _, s := range Units(written) {
		err = errors.Join(err, n.conn.PRead(context.Background(), b, s*devices.Sector))
		if stamp := decode(b, s); stamp != 0 {
			media.Write(s*devices.Sector, devices.Sector, drive.Content{Stamp: stamp})
		}
	}
	n.Close()
	return media, err
}

// Newest is the version of a sector that was written last, of those that still have
// one: that of the last write to it that has ended.
func (d *Drive) Newest() map[uint64]devices.Stamp {
	newest := map[uint64]devices.Stamp{}
	for i := range d.past {
		if p := &d.past[i]; p.op == devices.OpWrite {
			for s := p.offset / devices.Sector; s*devices.Sector < p.offset+p.length; s++ {
				newest[s] = p.stamp
			}
		}
	}
	return newest
}

// ignored is the completer of a call that is made again.
type ignored struct{}

func (ignored) Done(*devices.Request) {}

// encode appends the bytes of a range with one version: version and number of each
// sector, again and again.
func encode(b []byte, stamp devices.Stamp, offset, length uint64) []byte {
	b = slices.Grow(b, int(length))
	for at := offset; at < offset+length; at += 16 {
		b = binary.BigEndian.AppendUint64(b, uint64(stamp))
		b = binary.BigEndian.AppendUint64(b, at/devices.Sector)
	}
	return b
}

// decode is the version of a sector: 0 if it is zeroes, fault.Garbage if it is not what
// was written there.
func decode(b []byte, sector uint64) devices.Stamp {
	stamp := binary.BigEndian.Uint64(b)
	if stamp == 0 {
		for _, x := range b {
			if x != 0 {
				return fault.Garbage
			}
		}
		return 0
	}
	for at := 0; at < len(b); at += 16 {
		if binary.BigEndian.Uint64(b[at:]) != stamp || binary.BigEndian.Uint64(b[at+8:]) != sector {
			return fault.Garbage
		}
	}
	return devices.Stamp(stamp)
}
