package plugin

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"nbdbench/devices"
	"nbdbench/devices/fua"
)

// answers are what a plugin answered when it was opened.
type answers struct {
	conn *Conn // may be there with an error: it is to be closed
	size uint64
	res  fua.Resolution
	text string // its description
	err  error
}

// questions asks one function after another, until one fails.
type questions struct {
	ctx  context.Context
	mode fua.Mode
	step func() // before each call
	at   string // the function that is being asked
	err  error
}

// negotiate opens the plugin and asks it. step is called before each call. A panic is
// an error.
func (h *Host) negotiate(ctx context.Context, c ConnInfo, step func()) (a *answers) {
	q := &questions{ctx: ctx, mode: h.o.Mode, step: step, at: "open"}
	a = &answers{}
	defer func() {
		if v := recover(); v != nil {
			a.err = fmt.Errorf("the plugin panicked in %s: %v", q.at, v)
		}
	}()
	step()
	a.conn, a.err = h.plugin.Open(ctx, c)
	switch {
	case a.err != nil:
		return a
	case a.conn == nil:
		a.err = errors.New("the plugin opened nothing")
		return a
	case a.conn.Size == nil || a.conn.PRead == nil:
		a.err = errors.New("the plugin lacks Size or PRead")
		return a
	}
	b := q.backend(a.conn, c, &a.size)
	b.OneConn = h.plugin.Thread == SerializeConnections
	if a.err = q.err; a.err == nil {
		a.res, a.err = fua.Resolve(b, h.o.Mode, c.ReadOnly)
	}
	if a.err == nil && a.conn.Description != nil {
		q.begin("export_description")
		a.text = described(a.conn.Description(ctx))
	}
	return a
}

// maxDescription is how long a description may be, in bytes: NBD_MAX_STRING.
const maxDescription = 4096

// described is a description that can be sent.
func described(s string, err error) string {
	if err != nil || len(s) > maxDescription || !utf8.ValidString(s) {
		return ""
	}
	return s
}

// backend asks in nbdkit's order. What only a connection that writes has is not asked
// of one that does not.
func (q *questions) backend(n *Conn, c ConnInfo, size *uint64) fua.Backend {
	q.size(n, size)
	b := fua.Backend{API: n.API, Flush: n.Flush != nil, Trim: n.PTrim != nil, Zero: n.PZero != nil, Cache: n.Cache != nil}
	if b.API == 0 {
		b.API = 2
	}
	if !c.ReadOnly {
		if b.CanWrite = q.bool("can_write", n.CanWrite); n.CanWrite == nil && n.PWrite == nil {
			b.CanWrite = fua.No
		}
		if b.CanWrite != fua.No {
			q.writable(n, &b)
		}
	}
	if q.mode.AsksFlush() {
		b.CanFlush = q.bool("can_flush", n.CanFlush)
	}
	b.CanMultiConn = q.bool("can_multi_conn", n.CanMultiConn)
	b.CanCache = q.bool("can_cache", n.CanCache)
	return b
}

func (q *questions) writable(n *Conn, b *fua.Backend) {
	if b.CanZero = q.bool("can_zero", n.CanZero); b.CanZero != fua.Absent {
		// can_zero is whether zero is called: else zeroes are written, and advertised.
		b.CanZero++
	}
	b.CanFastZero = q.bool("can_fast_zero", n.CanFastZero)
	b.CanTrim = q.bool("can_trim", n.CanTrim)
	if n.CanFUA == nil || q.err != nil || !q.mode.AsksFUA() {
		return
	}
	q.begin("can_fua")
	switch b.CanFUA, q.err = n.CanFUA(q.ctx); {
	case q.err != nil:
		q.fail()
	case b.CanFUA == fua.Absent || b.CanFUA == fua.Failed:
		q.err = fmt.Errorf("can_fua: expected fua.No, fua.Emulate or fua.Native, got %d", b.CanFUA)
	}
}

// size asks for the size, which nbdkit has as a signed number.
func (q *questions) size(n *Conn, size *uint64) {
	q.begin("get_size")
	if *size, q.err = n.Size(q.ctx); q.err != nil {
		q.fail()
	} else if int64(*size) < 0 {
		q.err = fmt.Errorf("get_size: expected at most 2^63-1 bytes, got %d", *size)
	}
}

func (q *questions) begin(name string) {
	q.at = name
	q.step()
}

// fail says which function failed.
func (q *questions) fail() { q.err = fmt.Errorf("%s: %w", q.at, q.err) }

// bool asks a function of two answers.
func (q *questions) bool(name string, f func(context.Context) (bool, error)) fua.Answer {
	if f == nil || q.err != nil {
		return fua.Absent
	}
	q.begin(name)
	yes, err := f(q.ctx)
	if q.err = err; err != nil {
		q.fail()
	}
	if yes {
		return fua.Yes
	}
	return fua.No
}

// info is what the device of such answers says of itself.
func (a *answers) info() devices.Info {
	r := &a.res
	info := devices.Info{
		Size: a.size, LogicalBlock: devices.Sector, AtomicUnit: devices.Sector,
		ReadOnly: r.ReadOnly, CanFlush: r.Flush, CanTrim: r.Trim, CanZero: r.Zero,
		CanFastZero: r.FastZero, CanCache: r.Cache, MultiConn: r.MultiConn, FUA: r.Level(),
	}
	if r.Flush {
		info.Cache = devices.CacheVolatile
	}
	return info
}
