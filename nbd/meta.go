package nbd

import (
	"encoding/binary"

	"nbdbench/internal/text"
)

// "Metadata querying": a client selects contexts by name, "namespace:leaf", and
// the server gives each an id for BLOCK_STATUS. There is one here, which the
// protocol itself defines.

// metaRequest is the data of LIST_META_CONTEXT and SET_META_CONTEXT.
type metaRequest struct {
	export  string
	queries []string
}

// parseMetaRequest takes it apart: the export's name with its length, how many
// queries there are, and each with its length.
func parseMetaRequest(b []byte) (m metaRequest, ok bool) {
	if m.export, b, ok = cutString(b); !ok || len(b) < 4 {
		return m, false
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	for range min(n, maxQueries+1) {
		var q string
		if q, b, ok = cutString(b); !ok {
			return m, false
		}
		m.queries = append(m.queries, q)
	}
	return m, len(b) == 0 && n <= maxQueries
}

// cutString takes a string with its length of 32 bits from the front of b.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 {
		return "", nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-4) {
		return "", nil, false
	}
	s = string(b[4 : 4+n])
	return s, b[4+n:], ValidString(s)
}

// appendMetaRequest is what parseMetaRequest reads.
func appendMetaRequest(b []byte, m metaRequest) []byte {
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(m.export))), m.export...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.queries)))
	for _, q := range m.queries {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(q))), q...)
	}
	return b
}

// wantsAllocation reports whether the queries ask for base:allocation. A
// namespace that is not known is ignored; "base:" is a wildcard only in LIST,
// and so is no query at all.
func (m *metaRequest) wantsAllocation(list bool) bool {
	if list && len(m.queries) == 0 {
		return true
	}
	for _, q := range m.queries {
		if q == contextAllocation || list && q == "base:" {
			return true
		}
	}
	return false
}

// meta: "Option types", LIST_META_CONTEXT and SET_META_CONTEXT. SET needs
// structured replies, and puts an end to what was selected before even if it
// fails. The id in an answer to LIST means nothing.
func (h *ServerHandshake) meta(opt Option, data []byte) {
	if opt == OptSetMetaContext {
		h.dialect.Allocation, h.metaExport = false, ""
		if !h.dialect.Structured {
			h.refuse(opt, RepErrInvalid, "SET_META_CONTEXT comes after STRUCTURED_REPLY")
			return
		}
	}
	m, ok := parseMetaRequest(data)
	if !ok {
		h.refuse(opt, RepErrInvalid, "malformed name or queries")
		return
	}
	if err := h.exists(m.export); err != nil {
		h.refuse(opt, RepErrUnknown, text.Line(err.Error()))
		return
	}
	if m.wantsAllocation(opt == OptListMetaContext) {
		id := uint32(0)
		if opt == OptSetMetaContext {
			id = allocationID
			h.dialect.Allocation, h.dialect.AllocationID, h.metaExport = true, id, m.export
		}
		h.reply(opt, RepMeta, append(binary.BigEndian.AppendUint32(nil, id), contextAllocation...))
	}
	h.reply(opt, RepAck, nil)
}
