package honesty

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/host"
	"nbdbench/internal/text"
	"nbdbench/sim"
)

// MaxDepth is how many units are in flight at most.
const MaxDepth = host.DefaultDepth

// phaseRounds is for how many rounds on average a method is used before another: a FLUSH
// would make durable what earlier FUA writes did not, and so hide that they did not.
const phaseRounds = 50

// WriteConfig is how a writer works.
type WriteConfig struct {
	Server, Token string
	Device        string        // how the record names it
	Methods       []Method      // which are used, in phases
	Depth         int           // units in flight
	Seed          uint64        // of which units are written
	Duration      time.Duration // 0 is until ctx ends
	Report        func(line string)
}

// Written is what a writer did.
type Written struct {
	Session  Session
	Units    uint64
	Promises [methods]uint64
	Elapsed  time.Duration // without the fill
}

// Counts says how many promises were made by each method.
func (w *Written) Counts() (out []string) {
	for m := range methods {
		out = append(out, fmt.Sprintf("%d promises by %s", w.Promises[m], m))
	}
	return out
}

// writer is Write at work.
type writer struct {
	config  WriteConfig
	conn    *conn
	drive   *drive
	session Session
	random  *mathrand.Rand
	version []uint64
	syncs   uint64
	line    []byte
	done    Written
}

// Write writes to all of s, which is direct and not read-only, until ctx or the duration
// ends, the connection is lost or a request fails. It overwrites what s has.
func Write(ctx context.Context, s *host.Storage, c WriteConfig) (done Written, err error) {
	units := s.Size() / UnitSize
	if units == 0 || units > MaxUnits || uint64(c.Depth) > units {
		return done, fmt.Errorf("%s: expected %d to %d bytes, got %d", text.Line(s.Path()), UnitSize*max(1, c.Depth), uint64(UnitSize*MaxUnits), s.Size())
	}
	w := &writer{config: c, random: mathrand.New(mathrand.NewPCG(c.Seed, 0)), version: make([]uint64, units)}
	var id [8]byte
	_, _ = rand.Read(id[:]) // it does not fail, as its documentation says
	w.session = Session(binary.BigEndian.Uint64(id[:]))
	w.done = Written{Session: w.session, Units: units}
	if w.conn, err = dial(ctx, c.Server, c.Token, modeWrite); err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, w.conn.Close()) }()
	if w.drive, err = openDrive(s, c.Depth); err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, w.drive.close()) }()
	if err := w.fill(); err != nil {
		return done, err
	}
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	from := time.Now()
	err = w.rounds(ctx)
	w.done.Elapsed = time.Since(from)
	if err == nil {
		err = w.stop()
	}
	return w.done, err
}

// fill writes the first version of all units and begins the session.
func (w *writer) fill() error {
	units := uint64(len(w.version))
	w.config.Report(fmt.Sprintf("filling %d units of %d bytes", units, UnitSize))
	batch := make([]write, 0, w.config.Depth)
	for u := range units {
		batch = append(batch, write{u, 0})
		if len(batch) == cap(batch) || u == units-1 {
			if err := w.drive.write(w.session, batch, false, nil); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := w.drive.flush(); err != nil {
		return err
	}
	w.put(event{kind: kindStart, start: start{w.session, units, w.config.Device}})
	return w.sync()
}

// rounds writes until ctx ends.
func (w *writer) rounds(ctx context.Context) error {
	batch := make([]write, 0, w.config.Depth)
	m := w.method()
	for ctx.Err() == nil {
		if w.random.IntN(phaseRounds) == 0 {
			m = w.method()
		}
		batch = w.choose(batch[:0])
		if err := w.round(batch, m); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) method() Method { return w.config.Methods[w.random.IntN(len(w.config.Methods))] }

// choose chooses different units.
func (w *writer) choose(batch []write) []write {
	for len(batch) < cap(batch) {
		u := w.random.Uint64N(uint64(len(w.version)))
		if !slices.ContainsFunc(batch, func(x write) bool { return x.unit == u }) {
			w.version[u]++
			batch = append(batch, write{u, w.version[u]})
		}
	}
	return batch
}

// round intends, writes and promises a batch.
func (w *writer) round(batch []write, m Method) error {
	for _, x := range batch {
		w.put(event{kind: kindIntent, unit: x.unit, number: x.version})
	}
	if err := w.sync(); err != nil {
		return err
	}
	promise := func(x write) {
		w.put(event{kind: kindPromise, unit: x.unit, number: x.version, method: m})
		w.done.Promises[m]++
	}
	if m == FUA {
		var lost error
		err := w.drive.write(w.session, batch, true, func(x write) {
			promise(x)
			lost = w.conn.flush() // at once: what is not stored when the power goes does not count
		})
		return errors.Join(err, lost)
	}
	if err := w.drive.write(w.session, batch, false, nil); err != nil {
		return err
	}
	if err := w.drive.flush(); err != nil {
		return err
	}
	for _, x := range batch {
		promise(x)
	}
	return w.conn.flush()
}

// put adds a line to what is sent next.
func (w *writer) put(e event) {
	w.line = append(e.append(w.line[:0]), '\n')
	_, _ = w.conn.out.Write(w.line) // a failure stays, and the next flush returns it
}

// sync waits until the listener has stored what was put.
func (w *writer) sync() error {
	w.syncs++
	n := strconv.FormatUint(w.syncs, 10)
	if err := w.conn.send(wordSync + " " + n); err != nil {
		return fmt.Errorf("the listener: %w", err)
	}
	line, err := w.conn.line(lineTimeout)
	switch {
	case err != nil:
		return fmt.Errorf("the listener: %w", err)
	case line != wordStore+" "+n:
		return fmt.Errorf("the listener: expected %q, got %q", wordStore+" "+n, text.Line(line))
	}
	return nil
}

// stop ends the session.
func (w *writer) stop() error {
	w.put(event{kind: kindStop})
	return w.sync()
}

// write is a version of a unit.
type write struct{ unit, version uint64 }

// drive is storage as a device, and requests that are waited for.
type drive struct {
	real    *sim.Real
	device  *host.Device
	buffers [][]byte
	batch   batch
}

// batch is requests in flight. Its fields but the channel are the loop's.
type batch struct {
	requests []devices.Request
	left     int
	failed   error
	acked    chan int // an index into writes as it ends; -1 after the last
}

// Done is a request that has ended.
func (b *batch) Done(r *devices.Request) {
	if r.Errno != devices.OK && b.failed == nil {
		b.failed = fmt.Errorf("%v at byte %d: %v", r.Op, r.Offset, r.Errno)
	} else if r.Errno == devices.OK {
		b.acked <- int(r.Slot)
	}
	if b.left--; b.left == 0 {
		b.acked <- -1
	}
}

func openDrive(s *host.Storage, depth int) (*drive, error) {
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		return nil, err
	}
	d := &drive{real: real}
	if d.device, err = s.Device(real); err != nil {
		return nil, errors.Join(err, real.Close())
	}
	d.batch.requests = make([]devices.Request, depth)
	d.batch.acked = make(chan int, depth+1)
	for range depth {
		d.buffers = append(d.buffers, make([]byte, UnitSize))
	}
	return d, nil
}

func (d *drive) close() error { return errors.Join(d.device.Close(), d.real.Close()) }

// write writes a batch, of at most the drive's depth, and waits for all of it. acked, if
// any, is called for each write as soon as the device has acknowledged it.
func (d *drive) write(s Session, batch []write, fua bool, acked func(write)) error {
	var flags devices.Flags
	if fua {
		flags = devices.FUA
	}
	for i, x := range batch {
		encode(d.buffers[i], s, x.unit, x.version)
		d.batch.requests[i] = devices.Request{
			Op: devices.OpWrite, Flags: flags, Offset: x.unit * UnitSize, Length: UnitSize,
			Payload: devices.Payload{Bytes: d.buffers[i]}, Slot: uint32(i), Completer: &d.batch,
		}
	}
	return d.do(len(batch), func(i int) {
		if acked != nil {
			acked(batch[i])
		}
	})
}

func (d *drive) flush() error {
	d.batch.requests[0] = devices.Request{Op: devices.OpFlush, Completer: &d.batch}
	return d.do(1, func(int) {})
}

// do submits the first n requests and waits for them.
func (d *drive) do(n int, acked func(i int)) error {
	b := &d.batch
	d.real.Do(func() {
		b.left, b.failed = n, nil
		for i := range n {
			d.device.Submit(&b.requests[i])
		}
	})
	var err error
	for i := range b.acked {
		if i < 0 {
			break
		}
		acked(i)
	}
	d.real.Do(func() { err = b.failed })
	return err
}
