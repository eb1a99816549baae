package nbd

import (
	"encoding/binary"
	"fmt"

	"nbdbench/devices"
)

// A ProtocolError is something a peer must not send. It ends the connection.
type ProtocolError struct {
	Rule    string // what the protocol asks for
	Section string // of its specification, for what a server sends; else empty
	Got     string // what came
}

func (e *ProtocolError) Error() string {
	s := fmt.Sprintf("nbd: %s: got %s", e.Rule, e.Got)
	if e.Section != "" {
		s += fmt.Sprintf(" (NBD specification, %q)", e.Section)
	}
	return s
}

func violation(rule, format string, args ...any) *ProtocolError {
	return &ProtocolError{Rule: rule, Section: sections[rule], Got: fmt.Sprintf(format, args...)}
}

// Header is a request's header ("Request message" in the protocol).
type Header struct {
	Flags  devices.Flags
	Op     devices.Op // all 16 bits of the wire matter: see DecodeHeader
	Cookie uint64
	Offset uint64
	Length uint64 // of which a compact header has the lower 32 bits
}

// opUnknown stands for all commands that do not fit an Op.
const opUnknown devices.Op = 0xff

// EncodeHeader writes h to b.
func EncodeHeader(b *[RequestSize]byte, h *Header) {
	binary.BigEndian.PutUint32(b[0:], magicRequest)
	binary.BigEndian.PutUint16(b[4:], uint16(h.Flags))
	binary.BigEndian.PutUint16(b[6:], uint16(h.Op))
	binary.BigEndian.PutUint64(b[8:], h.Cookie)
	binary.BigEndian.PutUint64(b[16:], h.Offset)
	binary.BigEndian.PutUint32(b[24:], uint32(h.Length))
}

// DecodeHeader reads h from b. Commands beyond 255 become one unknown command.
// The only error is a *ProtocolError: not a request's magic.
func DecodeHeader(b *[RequestSize]byte, h *Header) error {
	if m := binary.BigEndian.Uint32(b[0:]); m != magicRequest {
		return violation("a request begins with its magic", "%#x", m)
	}
	op := binary.BigEndian.Uint16(b[6:])
	h.Flags = devices.Flags(binary.BigEndian.Uint16(b[4:]))
	h.Op = devices.Op(min(op, uint16(opUnknown)))
	h.Cookie = binary.BigEndian.Uint64(b[8:])
	h.Offset = binary.BigEndian.Uint64(b[16:])
	h.Length = uint64(binary.BigEndian.Uint32(b[24:]))
	return nil
}

// EncodeReply writes a simple reply's header to the first ReplySize bytes of b.
func EncodeReply(b *[RequestSize]byte, e devices.Errno, cookie uint64) {
	binary.BigEndian.PutUint32(b[0:], magicReply)
	binary.BigEndian.PutUint32(b[4:], uint32(e))
	binary.BigEndian.PutUint64(b[8:], cookie)
}

// DecodeReply reads a simple reply's header from the first ReplySize bytes of
// b. An error value that the protocol does not have becomes EINVAL ("Error
// values"). The only error is a *ProtocolError: not a simple reply's magic.
func DecodeReply(b *[RequestSize]byte) (e devices.Errno, cookie uint64, err error) {
	if m := binary.BigEndian.Uint32(b[0:]); m != magicReply {
		return 0, 0, wrongMagic(m)
	}
	return knownErrno(devices.Errno(binary.BigEndian.Uint32(b[4:]))), binary.BigEndian.Uint64(b[8:]), nil
}

// wrongMagic is the violation of a reply that begins with m.
func wrongMagic(m uint32) error {
	if m == magicChunk || m == magicExtReply {
		return violation("a reply comes in chunks only where that was negotiated", "%#x", m)
	}
	return violation("a reply begins with its magic", "%#x", m)
}

func knownErrno(e devices.Errno) devices.Errno {
	switch e {
	case devices.OK, devices.EPERM, devices.EIO, devices.ENOMEM, devices.EINVAL, devices.ENOSPC,
		devices.EOVERFLOW, devices.ENOTSUP, devices.ESHUTDOWN:
		return e
	default:
		return devices.EINVAL
	}
}

// replyErrno is the error that may go on the wire for a request with these
// flags that ended with e ("Error values"): as nbdkit maps them, ENOTSUP only
// answers FAST_ZERO and EOVERFLOW only DF.
func replyErrno(e devices.Errno, flags devices.Flags) devices.Errno {
	switch {
	case e == devices.OK:
		return e
	case e == devices.ENOTSUP && flags&devices.FastZero == 0:
		return devices.EINVAL
	case e == devices.EOVERFLOW && flags&devices.DF == 0:
		return devices.EINVAL
	default:
		return knownErrno(e)
	}
}
