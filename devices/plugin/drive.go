package plugin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/fault"
	"nbdbench/sim"
)

// Drive is a plugin as a simulated device whose power can be cut, in virtual time. Its
// requests carry versions; the plugin gets bytes that have them. One Conn serves all
// connections. It has no TRIM and no WRITE_ZEROES: zeroes have no version.
type Drive struct {
	device string
	o      Options
	host   *Host
	handle *Handle
	info   devices.Info
	past   []pastCall
}

// pastCall is a call that has ended: what makes another instance of the plugin the
// same.
type pastCall struct {
	op             devices.Op
	flags          devices.Flags
	offset, length uint64
	stamp          devices.Stamp
}

// OpenDrive opens the plugin of a device name on a loop. It is an error if its power
// cannot be cut.
func OpenDrive(loop *sim.Loop, device string) (*Drive, error) {
	d := &Drive{device: device, o: Options{Loop: loop}}
	var err error
	if d.host, d.handle, err = d.instance(loop); err != nil {
		return nil, err
	}
	d.info = d.handle.Info()
	d.info.CanTrim, d.info.CanZero, d.info.CanFastZero, d.info.CanCache = false, false, false, false
	d.info.Cache = devices.CacheVolatile
	return d, nil
}

// instance opens another instance of the plugin.
func (d *Drive) instance(loop *sim.Loop) (*Host, *Handle, error) {
	p, err := Lookup(d.device)
	if err != nil {
		return nil, nil, err
	}
	h := NewHost(p, Options{Loop: loop})
	n, err := h.Open(context.Background(), ConnInfo{}, nil)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", d.device, err)
	case n.conn.PowerCut == nil:
		return nil, nil, fmt.Errorf("%s: the power of this plugin cannot be cut: it has no PowerCut", d.device)
	}
	return h, n, nil
}

// Info is the plugin's, but for what has no version.
func (d *Drive) Info() devices.Info { return d.info }

// Stats counts the FLUSHes; the rest of a plugin is not known.
func (d *Drive) Stats() devices.Stats {
	calls := d.host.Calls()
	return devices.Stats{Flushes: calls[len(calls)-1]}
}

// versioned is a request with bytes on behalf of one with versions.
type versioned struct {
	devices.Request
	d      *Drive
	parent *devices.Request
}

// Submit has the plugin called with bytes for r's versions.
func (d *Drive) Submit(r *devices.Request) {
	v := &versioned{d: d, parent: r}
	v.Op, v.Flags, v.Offset, v.Length, v.Conn = r.Op, r.Flags, r.Offset, r.Length, r.Conn
	v.Completer, v.Status = v, r.Status
	switch r.Op {
	case devices.OpWrite:
		v.Bytes = encode(r.Stamp, r.Offset, r.Length)
	case devices.OpRead:
		v.Bytes = make([]byte, r.Length)
	}
	v.Begin(d.o.Loop.Now())
	d.handle.Submit(&v.Request)
}

// Done hands the answer to the request with versions.
func (v *versioned) Done(c *devices.Request) {
	d, r := v.d, v.parent
	r.Absorb(devices.DeviceQueue, d.o.Loop.Now(), c)
	if c.Op == devices.OpWrite || c.Op == devices.OpFlush {
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
	r.Finish(c.Errno)
}

// Cut is what a power cut would leave: that of another instance, which gets the same
// calls and whose power is cut. For every other seed nothing survives that is not
// durable, else each unit by chance. The plugin has to do the same for the same calls.
func (d *Drive) Cut(seed sim.Seed) *drive.Cut {
	media, err := d.left(seed)
	if err != nil { // such an instance was opened before
		panic(fmt.Sprintf("plugin: %s cannot be cut: %v", d.device, err))
	}
	return drive.NewCut(media)
}

func (d *Drive) left(seed sim.Seed) (drive.Media, error) {
	loop := sim.NewLoop()
	_, n, err := d.instance(loop)
	if err != nil {
		return nil, err
	}
	written := map[uint64]bool{}
	for i := range d.past {
		p := &d.past[i]
		r := &devices.Request{Op: p.op, Flags: p.flags, Offset: p.offset, Length: p.length, Completer: ignored{}}
		if p.op == devices.OpWrite {
			r.Bytes = encode(p.stamp, p.offset, p.length)
			for s := p.offset / devices.Sector; s*devices.Sector < r.End(); s++ {
				written[s] = true
			}
		}
		n.Submit(r)
		loop.Run(sim.Never)
	}
	draw := seed.Stream("plugin cut")
	none := draw.Uint64(0, 0)&1 == 0
	err = n.conn.PowerCut(func(unit int) bool { return !none && draw.Uint64(1, uint64(unit))&1 == 0 })
	media := drive.NewMedia(drive.Versions)
	b := make([]byte, devices.Sector)
	for _, s := range Units(written) {
		err = errors.Join(err, n.conn.PRead(context.Background(), b, s*devices.Sector))
		if stamp := decode(b, s); stamp != 0 {
			media.Write(s*devices.Sector, devices.Sector, drive.Content{Stamp: stamp})
		}
	}
	n.Close()
	return media, err
}

// ignored is the completer of a call that is made again.
type ignored struct{}

func (ignored) Done(*devices.Request) {}

// encode is the bytes of a range with one version: version and number of each sector,
// again and again.
func encode(stamp devices.Stamp, offset, length uint64) []byte {
	b := make([]byte, 0, length)
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
