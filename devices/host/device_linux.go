package host

import (
	"errors"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/aio"
	"nbdbench/sim"
)

// drain bounds how long Close waits for requests in flight.
const drain = 2 * time.Minute

// engine serves requests on an open file.
type engine interface {
	Submit(r *devices.Request)
	Close() error
}

// Device is a Storage as a devices.Device on one loop.
type Device struct {
	info   devices.Info
	real   *sim.Real
	engine engine
	stats  devices.Stats
	fua    uint64 // writes with FUA
}

// Device opens the storage for requests on real's loop. One may be open at a time.
func (s *Storage) Device(real *sim.Real) (*Device, error) {
	d := &Device{info: s.info, real: real}
	if !s.config.Direct {
		d.engine = newWorkers(s.config.Depth, real, s.blocking)
		return d, nil
	}
	e, err := aio.New(s.file, real, aio.Config{Depth: s.config.Depth, MaxPayload: DirectPayload, Slow: s.slow, Drain: drain})
	if err != nil {
		return nil, &Missing{"asynchronous I/O", err}
	}
	d.engine = e
	return d, nil
}

// Info describes the device.
func (d *Device) Info() devices.Info { return d.info }

// Stats counts what was asked of the device. What it wrote to its medium is not known.
func (d *Device) Stats() devices.Stats { return d.stats }

// Asked counts what the device was asked for to make durable.
func (d *Device) Asked() Asked { return Asked{d.stats.Flushes, d.fua} }

// Submit takes a request. Only for the loop's owner.
func (d *Device) Submit(r *devices.Request) {
	if e := d.refused(r); e != devices.OK {
		r.Timer.Owner = r
		d.real.Loop().After(&r.Timer, 0, refusal(e))
		return
	}
	switch r.Op {
	case devices.OpFlush:
		d.stats.Flushes++
	case devices.OpWrite:
		d.stats.HostWrittenBytes += r.Length
		if r.Flags&devices.FUA != 0 {
			d.fua++
		}
	}
	d.engine.Submit(r)
}

// refused is the error of a request that must not reach the file: one past the end
// would make it longer.
func (d *Device) refused(r *devices.Request) devices.Errno {
	switch {
	case r.Op == devices.OpFlush:
		return devices.OK
	case r.Op.Modifies() && d.info.ReadOnly:
		return devices.EPERM
	case r.Offset > d.info.Size || r.Length > d.info.Size-r.Offset:
		if r.Op == devices.OpWrite {
			return devices.ENOSPC
		}
		return devices.EINVAL
	}
	return devices.OK
}

// refusal is the error of a request that does not reach the device.
type refusal devices.Errno

// Fire ends the request.
func (e refusal) Fire(t *sim.Timer) { t.Owner.(*devices.Request).Finish(devices.Errno(e)) }

// Close waits for what is in flight. Not for the loop's owner.
func (d *Device) Close() error {
	if d.engine == nil {
		return errors.New("host: the device is closed")
	}
	err := d.engine.Close()
	d.engine = nil
	return err
}
