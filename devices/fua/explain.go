package fua

import (
	"fmt"

	"nbdbench/devices"
)

// Explanation says in words what a backend's declarations come to.
type Explanation struct {
	Rule     string   // which of nbdkit's rules decided, with the manual page and section
	Client   string   // what a client sends to make a write durable
	Warnings []string // what is likely to be a mistake of the backend's
}

// Explain explains r, which Resolve returned for the same arguments.
func Explain(r *Resolution, b Backend, mode Mode, readOnly bool) Explanation {
	return Explanation{Rule: ruleOf(b, mode, readOnly), Client: r.client(), Warnings: r.warnings(b, mode)}
}

// section names a callback's section of the manual.
func section(callback string) string { return fmt.Sprintf("nbdkit-plugin(3) %q", callback) }

// section names the mode's section of the manual.
func (m Mode) section() string { return fmt.Sprintf("nbdkit-fua-filter(1) %q", "fuamode="+m.String()) }

// ruleOf is the rule that decided how FUA is served. The filter's comes first,
// and the backend's where the filter leaves it to the backend.
func ruleOf(b Backend, mode Mode, readOnly bool) string {
	const unasked = "a connection that cannot write has no FUA, and .can_fua is not asked"
	own := section(".can_fua") + ": " + b.rule()
	switch {
	case readOnly:
		own = `nbdkit(1) "-r": ` + unasked
	case b.CanWrite == No:
		own = section(".can_write") + ": " + unasked
	}
	at := mode.section() + ": "
	switch mode {
	case ModeNone:
		return at + "FUA is not advertised"
	case ModeEmulate:
		at += ".flush follows each call, whatever .can_fua says"
	case ModeNative:
		at += "FUA is advertised; how it is served is the backend's, which may emulate it"
	case ModeForce:
		at += "every write has FUA, and FLUSH does nothing"
	case ModePass:
		at += "as without the filter"
	case ModeDiscard:
		at += "FUA and FLUSH are advertised and do nothing"
	default:
		return own
	}
	if !readOnly && b.CanWrite != No && (mode == ModeEmulate || mode == ModeDiscard) {
		return at
	}
	return at + "; " + own
}

// rule is how can_fua is understood: server/plugins.c, plugin_can_fua.
func (b Backend) rule() string {
	switch {
	case b.CanFUA == Absent && b.Flush:
		return "absent, and .flush exists: EMULATE, whatever .can_flush says"
	case b.CanFUA == Absent:
		return "absent, and there is no .flush: NONE"
	case b.CanFUA == No:
		return "NONE: FUA is not advertised"
	case b.CanFUA == Native && b.API == 1:
		return "NATIVE counts as EMULATE in API version 1, whose calls have no flags"
	case b.CanFUA == Native:
		return "NATIVE: the calls get the flag"
	case b.CanFUA == Other:
		return "a number that is none of the three counts as EMULATE: .flush follows each call"
	default:
		return "EMULATE: .flush follows each call, even if .can_flush is false"
	}
}

// client is what a client sends to make a write durable.
func (r *Resolution) client() string {
	switch {
	case r.ReadOnly:
		return ClientSends(true, false, false, false)
	case r.discard:
		return "nothing makes it durable: FUA and FLUSH are accepted and dropped"
	case r.FUA && r.WriteFUA.Errno != devices.OK:
		return "nothing makes it durable: a WRITE with FUA is written and then fails, as there is no .flush"
	case r.force:
		return "a WRITE, with FUA or without: it is durable when its reply comes"
	default:
		return ClientSends(false, r.Flush && r.FlushAction.Errno == devices.OK, r.FUA, false)
	}
}

// ClientSends is what a client must send to make a write durable on an export that
// advertises FLUSH and FUA or not. With multi, CAN_MULTI_CONN is advertised.
func ClientSends(readOnly, flush, fua, multi bool) string {
	where := " on the same connection"
	if multi {
		where = " on any connection"
	}
	switch {
	case readOnly:
		return "nothing: the export is read-only"
	case fua && flush:
		return "a WRITE with FUA, or a WRITE and, after its reply, a FLUSH" + where
	case fua:
		return "a WRITE with FUA: there is no FLUSH for writes without it"
	case flush:
		return "a WRITE and, after its reply, a FLUSH" + where
	default:
		return "nothing makes it durable: neither FUA nor FLUSH works"
	}
}

// WithoutFlush is the warning about an export that advertises FUA alone.
const WithoutFlush = "FUA without FLUSH: Linux's nbd client then sends neither"

func (r *Resolution) warnings(b Backend, mode Mode) (w []string) {
	if r.FUA && !r.discard && r.Level() == devices.FUAEmulate && !b.Flush {
		w = append(w, "EMULATE needs .flush, and there is none: a write with FUA is applied and then fails with EINVAL")
	}
	if r.Flush && r.FlushAction.Errno != devices.OK {
		w = append(w, "can_flush says yes, and there is no .flush: FLUSH is advertised and fails with EINVAL")
	}
	if b.CanTrim != Absent && r.Trim && !b.Trim {
		w = append(w, "can_trim says yes, and there is no .trim: TRIM is advertised and fails with EINVAL")
	}
	if mode == ModeNative && r.FUA && r.Level() == devices.FUAEmulate {
		w = append(w, "fuamode native over a backend that does not have it: FUA is emulated silently")
	}
	if r.FUA && !r.Flush {
		w = append(w, WithoutFlush)
	}
	return w
}
