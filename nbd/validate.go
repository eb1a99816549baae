package nbd

import "nbdbench/devices"

// Validate says what is wrong with a request: one errno for each rule, the
// rules in the order of nbdkit's validate_request (server/protocol.c). It looks
// at nothing but the request and what was advertised, so anybody may call it.
// The sections named are those of the NBD protocol document.
func (x *ExportInfo) Validate(h *Header) devices.Errno {
	if e := x.checkRange(h); e != devices.OK {
		return e
	}
	if e := x.checkFlags(h); e != devices.OK {
		return e
	}
	if e := x.checkBlock(h); e != devices.OK {
		return e
	}
	return x.checkAdvertised(h.Op)
}

func (x *ExportInfo) checkRange(h *Header) devices.Errno {
	switch {
	case h.Op.Modifies() && x.Flags&ReadOnly != 0:
		return devices.EPERM // "Transmission flags", READ_ONLY: MUST error
	case h.Op == devices.OpFlush:
		if h.Offset != 0 || h.Length != 0 {
			return devices.EINVAL // "Request types", FLUSH: length and offset MUST be 0
		}
	case h.Op > devices.OpBlockStatus || h.Op == CmdDisc:
		return devices.EINVAL // "Error values": unknown command
	case h.Offset > x.Size || h.Length > x.Size-h.Offset:
		return outOfRange(h.Op)
	case h.Length == 0:
		return devices.EINVAL // "Request types": unspecified, and SHOULD NOT disconnect
	}
	return devices.OK
}

// outOfRange: "Error values": ENOSPC SHOULD answer what would write past the
// end, EINVAL the rest.
func outOfRange(op devices.Op) devices.Errno {
	if op == devices.OpWrite || op == devices.OpWriteZeroes {
		return devices.ENOSPC
	}
	return devices.EINVAL
}

// checkFlags: "Error values": EINVAL SHOULD answer an unknown flag and one that
// does not fit the command. FUA fits every command once it was advertised, even
// where it means nothing ("Command flags").
func (x *ExportInfo) checkFlags(h *Header) devices.Errno {
	f := h.Flags
	if x.Extended && h.Op == devices.OpWrite {
		f &^= devices.PayloadLen // see LacksPayloadLen
	}
	switch {
	case f == 0:
		return devices.OK
	case f&^knownFlags != 0:
		return devices.EINVAL // with PAYLOAD_LEN: no other command here sends a payload
	case f&(devices.NoHole|devices.FastZero) != 0 && h.Op != devices.OpWriteZeroes:
		return devices.EINVAL
	case f&devices.DF != 0 && (h.Op != devices.OpRead || x.Flags&SendDF == 0):
		return devices.EINVAL // DF needs structured replies
	case f&devices.ReqOne != 0 && h.Op != devices.OpBlockStatus:
		return devices.EINVAL
	case f&devices.FUA != 0 && x.Flags&SendFUA == 0:
		return devices.EINVAL // FUA only if SEND_FUA
	case f&devices.FastZero != 0 && x.Flags&SendFastZero == 0:
		return devices.EINVAL
	}
	return devices.OK
}

// LacksPayloadLen reports whether h is a WRITE of which the client forgot
// PAYLOAD_LEN. "Extended request message": WRITE MUST have it. QEMU sends none,
// and its server accepts that; what the length says is certain either way.
func (x *ExportInfo) LacksPayloadLen(h *Header) bool {
	return x.Extended && h.Op == devices.OpWrite && h.Flags&devices.PayloadLen == 0
}

// CheckSkip refuses to skip the payload of a refused WRITE that is longer than any
// that makes sense, of n bytes. The error ends the connection.
func CheckSkip(n uint64) error {
	if n > maxSkip {
		return violation("a payload is of reasonable length", "%d bytes", n)
	}
	return nil
}

// checkBlock: "Block size constraints": EINVAL SHOULD answer what goes against
// them. nbdkit answers a payload beyond its 64 MiB with ENOMEM, an error that
// the protocol says SHOULD NOT be sent.
func (x *ExportInfo) checkBlock(h *Header) devices.Errno {
	carries := h.Op == devices.OpRead || h.Op == devices.OpWrite
	if carries && h.Length > uint64(x.MaxPayload) {
		return devices.EINVAL
	}
	if (h.Offset|h.Length)&uint64(x.MinBlock-1) != 0 {
		return devices.EINVAL
	}
	return devices.OK
}

// checkAdvertised: "Transmission flags": a client MUST NOT use what was not
// advertised. "Request types", BLOCK_STATUS: nor that without a metadata context.
func (x *ExportInfo) checkAdvertised(op devices.Op) devices.Errno {
	if need := needs[op&7]; x.Flags&need != need {
		return devices.EINVAL
	}
	if op == devices.OpBlockStatus && !x.Allocation {
		return devices.EINVAL
	}
	return devices.OK
}

// needs is the flag without which a command is not to be sent.
var needs = [8]TransmissionFlags{
	devices.OpFlush: SendFlush, devices.OpTrim: SendTrim, devices.OpCache: SendCache, devices.OpWriteZeroes: SendWriteZeroes,
}
