package fua

import (
	"fmt"
	"slices"
	"strings"

	"nbdbench/devices"
)

// Answer is what a backend's can_* callback returns, or that there is none.
type Answer uint8

// The answers. For can_fua and can_zero, No, Yes and Native are NBDKIT_FUA_NONE,
// _EMULATE and _NATIVE, and Other is any number beyond.
const (
	Absent Answer = iota // there is no such callback
	No
	Yes
	Native
	Other
	Failed // -1
)

// Emulate is what Yes means for can_fua and can_zero.
const Emulate = Yes

// Backend is what an nbdkit plugin declares: the input of the decision which
// durability its clients are promised.
type Backend struct {
	API      int    // 1 or 2
	Flush    bool   // .flush exists
	Trim     bool   // .trim exists
	Zero     bool   // .zero exists
	CanFlush Answer // absent: whether .flush exists
	CanFUA   Answer // absent: emulate if .flush exists, else none
	CanWrite Answer // absent: it can
	CanTrim  Answer // absent: whether .trim exists
	CanZero  Answer // absent: native if .zero exists, else emulate

	Cache        bool   // .cache exists
	CanFastZero  Answer // absent: whether there is no .zero, so that it fails fast
	CanCache     Answer // absent: whether .cache exists
	CanMultiConn Answer // absent: no
	OneConn      bool   // the thread model serializes connections: no MULTI_CONN
	// ZeroCertain is whether .zero never answers ENOTSUP except to FAST_ZERO, so that
	// nobody has to look at its answers.
	ZeroCertain bool
}

// Mode is the mode of nbdkit's fua filter.
type Mode uint8

// The modes. ModeAbsent is no filter.
const (
	ModeAbsent Mode = iota
	ModeNone
	ModeEmulate
	ModeNative
	ModeForce
	ModePass
	ModeDiscard
)

// modes are the modes' names.
var modes = [...]string{
	ModeNone: "none", ModeEmulate: "emulate", ModeNative: "native", ModeForce: "force", ModePass: "pass", ModeDiscard: "discard",
}

// ParseMode reads a mode's name. nbdkit refuses an explicit "none" for want
// of an else (filters/fua/fua.c), though its manual lists it; here it is taken.
func ParseMode(s string) (Mode, error) {
	if m := slices.Index(modes[:], s); m > int(ModeAbsent) {
		return Mode(m), nil
	}
	return ModeAbsent, fmt.Errorf("unknown fuamode %q", s)
}

func (m Mode) String() string {
	switch {
	case m == ModeAbsent:
		return "absent"
	case int(m) < len(modes):
		return modes[m]
	default:
		return fmt.Sprintf("fuamode(%d)", uint8(m))
	}
}

// Call is one call of a backend.
type Call uint8

// The calls.
const (
	CallWrite Call = iota
	CallWriteFUA
	CallTrim
	CallTrimFUA
	CallZero
	CallZeroFUA
	CallFlush
)

// calls are the calls' names, those of nbdkit's callbacks.
var calls = [...]string{
	CallWrite: "pwrite", CallWriteFUA: "pwrite(fua)", CallTrim: "trim", CallTrimFUA: "trim(fua)",
	CallZero: "zero", CallZeroFUA: "zero(fua)", CallFlush: "flush",
}

func (c Call) String() string {
	if int(c) < len(calls) {
		return calls[c]
	}
	return fmt.Sprintf("call(%d)", uint8(c))
}

// fua is the same call with FUA.
func (c Call) fua() Call { return c + 1 }

// Action is what becomes of a client's request: calls, one after another for as
// long as they succeed, and then the errno. Without calls nothing is done and
// the errno is the answer.
type Action struct {
	Calls []Call
	Errno devices.Errno
}

// String prints the calls and the errno in order, "pwrite;flush"; "nop" is neither.
func (a Action) String() string {
	var words []string
	for _, c := range a.Calls {
		words = append(words, c.String())
	}
	if a.Errno != devices.OK {
		words = append(words, a.Errno.String())
	}
	if len(words) == 0 {
		return "nop"
	}
	return strings.Join(words, ";")
}

// Refused is the error of a connection that cannot be served.
type Refused struct {
	Reason string
	Rule   string // nbdkit's that refuses it, with the manual page and section
}

func (r *Refused) Error() string { return r.Reason }

// refuse is the error of a callback that failed.
func refuse(reason, callback string) error {
	return &Refused{reason, fmt.Sprintf("%s: an error refuses the connection", section(callback))}
}

// Resolution is what one connection is promised and what becomes of its
// requests.
type Resolution struct {
	ReadOnly, Flush, FUA, Trim, Zero bool // as advertised
	FastZero, Cache, MultiConn       bool

	Write, WriteFUA Action
	TrimFUA         Action
	FlushAction     Action

	trim              Action // TRIM without FUA
	zeroes, zeroesFUA Action // WRITE_ZEROES whose .zero succeeds

	fua      devices.FUASupport // what writes and trims get below the filter
	force    bool
	discard  bool
	flush    bool // .flush exists
	flagless bool // API version 1: .zero does not know FAST_ZERO
	certain  bool // .zero never asks for the zeroes to be written
	zero     Answer
}

// Level is how a command with FUA is served: FUANone where FUA is not advertised,
// FUAEmulate where a flush follows, FUANative where the call has the flag. It is
// also FUANative under ModeDiscard, which says so and drops the flag.
func (r *Resolution) Level() devices.FUASupport {
	switch {
	case !r.FUA:
		return devices.FUANone
	case r.discard:
		return devices.FUANative
	default:
		return max(r.fua, devices.FUAEmulate)
	}
}

// Resolve decides. It is a pure function: the decision that nbdkit makes in
// server/plugins.c, server/backend.c and filters/fua/fua.c when a connection is
// opened. An error refuses the connection.
func Resolve(b Backend, mode Mode, readOnly bool) (Resolution, error) {
	if !mode.AsksFlush() {
		b.CanFlush = Absent
	}
	if !mode.AsksFUA() {
		b.CanFUA = Absent
	}
	canFlush, err := b.canFlush()
	if err != nil {
		return Resolution{}, err
	}
	writable, err := b.writable(readOnly)
	if err != nil {
		return Resolution{}, err
	}
	fua := devices.FUANone
	if writable { // can_fua is not even asked otherwise
		if fua, err = b.canFUA(); err != nil {
			return Resolution{}, err
		}
		if err := mode.prepare(canFlush, fua); err != nil {
			return Resolution{}, err
		}
	}
	r := Resolution{ReadOnly: !writable, Flush: canFlush || mode.fakesFlush(), flush: b.Flush, flagless: b.API == 1, certain: b.ZeroCertain}
	if err := r.trimAndZero(b, writable); err != nil {
		return Resolution{}, err
	}
	if err := r.others(b); err != nil {
		return Resolution{}, err
	}
	r.FUA = writable && mode.advertisesFUA(fua)
	r.fua, r.force, r.discard = mode.served(fua), mode == ModeForce, mode == ModeDiscard
	r.actions(b, mode, canFlush)
	return r, nil
}

func (b Backend) canFlush() (bool, error) {
	switch b.CanFlush {
	case Absent:
		return b.Flush, nil
	case Failed:
		return false, refuse("can_flush failed", ".can_flush")
	default:
		return b.CanFlush != No, nil
	}
}

func (b Backend) writable(readOnly bool) (bool, error) {
	switch {
	case readOnly:
		return false, nil
	case b.CanWrite == Failed:
		return false, refuse("can_write failed", ".can_write")
	default:
		return b.CanWrite != No, nil
	}
}

// canFUA: server/plugins.c, plugin_can_fua. Native is clamped for API version
// 1, whose callbacks have no flags; a number that is none of the three is
// treated as emulate.
func (b Backend) canFUA() (devices.FUASupport, error) {
	switch {
	case b.CanFUA == Failed:
		return 0, refuse("can_fua failed", ".can_fua")
	case b.CanFUA == No, b.CanFUA == Absent && !b.Flush:
		return devices.FUANone, nil
	case b.CanFUA == Native && b.API != 1:
		return devices.FUANative, nil
	default:
		return devices.FUAEmulate, nil
	}
}

// prepare is what the filter insists on.
func (m Mode) prepare(canFlush bool, fua devices.FUASupport) error {
	needs := ""
	switch {
	case m == ModeEmulate && !canFlush:
		needs = "can flush"
	case (m == ModeNative || m == ModeForce) && fua == devices.FUANone:
		needs = "can do FUA"
	default:
		return nil
	}
	return &Refused{
		Reason: fmt.Sprintf("fuamode %v requires a backend that %s", m, needs),
		Rule:   fmt.Sprintf(`%s: it refuses a backend that does not say that it %s`, m.section(), needs),
	}
}

// AsksFlush reports whether a backend is asked can_flush; else its answer, even an
// error, changes nothing.
func (m Mode) AsksFlush() bool { return !m.fakesFlush() }

// AsksFUA reports whether a backend that is written to is asked can_fua.
func (m Mode) AsksFUA() bool { return m != ModeNone && m != ModeEmulate && m != ModeDiscard }

// fakesFlush: the modes in which FLUSH is advertised and does nothing.
func (m Mode) fakesFlush() bool { return m == ModeForce || m == ModeDiscard }

func (m Mode) advertisesFUA(backend devices.FUASupport) bool {
	switch m {
	case ModeNone:
		return false
	case ModeAbsent, ModePass:
		return backend != devices.FUANone
	default:
		return true
	}
}

// served is how FUA is served under the filter.
func (m Mode) served(fua devices.FUASupport) devices.FUASupport {
	if m == ModeEmulate {
		return devices.FUAEmulate
	}
	return fua
}

// trimAndZero resolves both; a read-only connection never has them.
func (r *Resolution) trimAndZero(b Backend, writable bool) error {
	r.zero = b.CanZero
	if r.zero == Absent {
		r.zero = Emulate
		if b.Zero {
			r.zero = Native
		}
	}
	if r.zero == Native && !b.Zero {
		r.zero = Emulate // there is nothing to try
	}
	if !writable {
		return nil
	}
	switch {
	case b.CanTrim == Failed:
		return refuse("can_trim failed", ".can_trim")
	case r.zero == Failed:
		return refuse("can_zero failed", ".can_zero")
	}
	r.Zero = r.zero != No
	r.Trim = b.CanTrim != No && (b.CanTrim != Absent || b.Trim)
	return nil
}

// others resolves what durability has no part in. nbdkit asks can_multi_conn of a
// plugin that serializes connections too, and does not advertise it. Without
// can_fast_zero FAST_ZERO is advertised where zeroes are always written, because it
// then fails fast.
func (r *Resolution) others(b Backend) error {
	switch Failed {
	case b.CanFastZero:
		return refuse("can_fast_zero failed", ".can_fast_zero")
	case b.CanCache:
		return refuse("can_cache failed", ".can_cache")
	case b.CanMultiConn:
		return refuse("can_multi_conn failed", ".can_multi_conn")
	}
	r.FastZero = r.Zero && (b.CanFastZero == Absent && (!b.Zero || b.API == 1) || b.CanFastZero > No)
	r.Cache = b.CanCache == Absent && b.Cache || b.CanCache > No
	r.MultiConn = b.CanMultiConn > No && !b.OneConn
	return nil
}

func (r *Resolution) actions(b Backend, mode Mode, canFlush bool) {
	r.Write, r.WriteFUA = r.modifying(CallWrite, true)
	r.trim, r.TrimFUA = r.modifying(CallTrim, r.Trim && b.Trim)
	r.zeroes, r.zeroesFUA = r.modifying(CallZero, r.Zero)
	switch {
	case mode.fakesFlush():
		r.FlushAction = Action{}
	case canFlush && r.flush:
		r.FlushAction = Action{Calls: []Call{CallFlush}}
	default:
		r.FlushAction = Action{Errno: devices.EINVAL}
	}
}

// modifying is what becomes of a write command without FUA and with it; there is
// whether it is advertised and the backend has it. That a connection is read-only
// is the first thing to be checked.
func (r *Resolution) modifying(c Call, there bool) (plain, durable Action) {
	plain, durable = Action{Calls: []Call{c}}, r.durable(c)
	switch {
	case r.ReadOnly:
		plain = Action{Errno: devices.EPERM}
		durable = plain
	case !there:
		plain = Action{Errno: devices.EINVAL}
		durable = plain
	case r.force:
		plain = durable
	}
	return plain, durable
}

// durable is what becomes of a write command with FUA: one call with FUA, or
// one without and a flush. Without .flush the flush fails once the data has
// been written.
func (r *Resolution) durable(c Call) Action {
	switch {
	case !r.FUA:
		return Action{Errno: devices.EINVAL}
	case r.discard:
		return Action{Calls: []Call{c}}
	case r.fua == devices.FUANative:
		return Action{Calls: []Call{c.fua()}}
	case !r.flush:
		return Action{Calls: []Call{c}, Errno: devices.EINVAL}
	default:
		return Action{Calls: []Call{c, CallFlush}}
	}
}

// ZeroChunk is the most that a fallback of WRITE_ZEROES writes in one call.
const ZeroChunk = 64 << 20

// WriteZeroesFUA is what becomes of a WRITE_ZEROES with FUA of length bytes,
// where .zero answers result; fast is FAST_ZERO. The fallback writes chunk after
// chunk: with native FUA each is durable by itself, otherwise one flush follows
// the last. (nbdkit's own loop in server/plugins.c forgets to advance.)
func (r *Resolution) WriteZeroesFUA(length uint64, result devices.Errno, fast bool) Action {
	if r.ReadOnly {
		return Action{Errno: devices.EPERM}
	}
	if !r.FUA || !r.Zero {
		return Action{Errno: devices.EINVAL}
	}
	tried := r.zero == Native && !(fast && r.flagless)
	if tried && result != devices.ENOTSUP {
		a := r.durable(CallZero)
		if result != devices.OK {
			a = Action{Calls: a.Calls[:1], Errno: result}
		}
		return a
	}
	if fast {
		return Action{Errno: devices.ENOTSUP}
	}
	return r.zeroByWriting(int((length + ZeroChunk - 1) / ZeroChunk))
}

func (r *Resolution) zeroByWriting(chunks int) Action {
	last := r.durable(CallWrite)
	first := last.Calls[0]
	var a Action
	for range chunks - 1 {
		a.Calls = append(a.Calls, first)
	}
	a.Calls, a.Errno = append(a.Calls, last.Calls...), last.Errno
	return a
}
