package nbd

import (
	"encoding/binary"

	"nbdbench/devices"
)

// Dialect is how messages look after the handshake. The zero value is the plain
// protocol: compact requests and simple replies.
type Dialect struct {
	// Structured: READ and BLOCK_STATUS are answered in chunks, everything else
	// may be ("Structured reply message").
	Structured bool
	// Extended: requests and replies have headers of 32 bytes and lengths of 64
	// bits; it goes with Structured ("Extended request message").
	Extended bool
	// Allocation: the metadata context base:allocation was negotiated, by this id.
	Allocation   bool
	AllocationID uint32
}

// Magic numbers of the transmission phase beyond the plain ones.
const (
	magicChunk      uint32 = 0x668e33ef
	magicExtRequest uint32 = 0x21e41c71
	magicExtReply   uint32 = 0x6e8a278c
)

// Sizes of headers, in bytes.
const (
	ExtRequestSize = 32 // an extended request's header

	chunkSize     = 20                         // a structured reply chunk's
	ExtReplySize  = 32                         // an extended reply chunk's
	OffsetSize    = 8                          // of OFFSET_DATA, before the data
	holeSize      = 12                         // of OFFSET_HOLE, all of it
	errorSize     = 6                          // of an error chunk, before the message
	MaxHeaderSize = ExtReplySize + OffsetSize  // the longest header there is
	maxMessage    = MaxString                  // of an error chunk's message
	maxStatusBody = 8 + 16*(1<<20)             // of a BLOCK_STATUS chunk: the protocol's 2^20 descriptors
	maxErrorBody  = errorSize + maxMessage + 8 // of an error chunk, with ERROR_OFFSET's offset
)

// ChunkType is a reply chunk's type: NBD_REPLY_TYPE_*.
type ChunkType uint16

// The types of chunks. Those with the highest bit set are errors.
const (
	ChunkNone           ChunkType = 0
	ChunkOffsetData     ChunkType = 1
	ChunkOffsetHole     ChunkType = 2
	ChunkBlockStatus    ChunkType = 5
	ChunkBlockStatusExt ChunkType = 6
	ChunkError          ChunkType = 1<<15 + 1
	ChunkErrorOffset    ChunkType = 1<<15 + 2
)

func (t ChunkType) isError() bool { return t>>15 != 0 }

// chunkDone is NBD_REPLY_FLAG_DONE: no more chunks answer the request.
const chunkDone = 1 << 0

// HeaderSize is the length of a request's header.
func (d *Dialect) HeaderSize() int {
	if d.Extended {
		return ExtRequestSize
	}
	return RequestSize
}

// EncodeRequest writes h to b and returns how many bytes that took. "Extended
// request message": PAYLOAD_LEN says that the length is that of a payload.
func (d *Dialect) EncodeRequest(b *[MaxHeaderSize]byte, h *Header) int {
	if !d.Extended {
		EncodeHeader((*[RequestSize]byte)(b[:]), h)
		return RequestSize
	}
	EncodeExtHeader((*[ExtRequestSize]byte)(b[:]), h)
	if h.Op == devices.OpWrite {
		b[5] |= byte(devices.PayloadLen)
	}
	return ExtRequestSize
}

// DecodeRequest reads h from b, which has HeaderSize bytes.
func (d *Dialect) DecodeRequest(b []byte, h *Header) error {
	if d.Extended {
		return DecodeExtHeader((*[ExtRequestSize]byte)(b), h)
	}
	return DecodeHeader((*[RequestSize]byte)(b), h)
}

// PayloadSize is how many bytes of data follow h on the wire.
func (d *Dialect) PayloadSize(h *Header) uint64 {
	if h.Op == devices.OpWrite || d.Extended && h.Flags&devices.PayloadLen != 0 {
		return h.Length
	}
	return 0
}

// EncodeExtHeader writes h to b in the form of the extended headers.
func EncodeExtHeader(b *[ExtRequestSize]byte, h *Header) {
	be := binary.BigEndian
	be.PutUint32(b[0:], magicExtRequest)
	be.PutUint16(b[4:], uint16(h.Flags))
	be.PutUint16(b[6:], uint16(h.Op))
	be.PutUint64(b[8:], h.Cookie)
	be.PutUint64(b[16:], h.Offset)
	be.PutUint64(b[24:], h.Length)
}

// DecodeExtHeader reads h from b. The only error is a *ProtocolError: not the
// magic of an extended request.
func DecodeExtHeader(b *[ExtRequestSize]byte, h *Header) error {
	be := binary.BigEndian
	if m := be.Uint32(b[0:]); m != magicExtRequest {
		return violation("an extended request begins with its magic", "%#x", m)
	}
	h.Flags = devices.Flags(be.Uint16(b[4:]))
	h.Op = devices.Op(min(be.Uint16(b[6:]), uint16(opUnknown)))
	h.Cookie = be.Uint64(b[8:])
	h.Offset = be.Uint64(b[16:])
	h.Length = be.Uint64(b[24:])
	return nil
}

// EncodeReply writes all of r but its data to b, and returns how many bytes that
// took. A reply is one chunk: a READ's data in one piece, which DF is content
// with whatever its length, and one BLOCK_STATUS for the one context there is.
// What may be simple is, as in nbdkit: it is shorter.
func (d *Dialect) EncodeReply(b *[MaxHeaderSize]byte, r *Reply) int {
	chunked := r.Op == devices.OpRead || r.Op == devices.OpBlockStatus
	switch {
	case !d.Structured || !chunked && !d.Extended:
		EncodeReply((*[RequestSize]byte)(b[:]), r.Errno, r.Cookie)
		return ReplySize
	case r.Errno != devices.OK:
		n := d.encodeChunk(b, r, ChunkError, errorSize)
		binary.BigEndian.PutUint32(b[n:], uint32(r.Errno))
		binary.BigEndian.PutUint16(b[n+4:], 0) // without a message
		return n + errorSize
	case r.Op == devices.OpRead:
		n := d.encodeChunk(b, r, ChunkOffsetData, OffsetSize+uint64(r.Data))
		binary.BigEndian.PutUint64(b[n:], r.Offset)
		return n + OffsetSize
	case r.Op == devices.OpBlockStatus:
		return d.encodeStatusHeader(b, r)
	default:
		return d.encodeChunk(b, r, ChunkNone, 0)
	}
}

func (d *Dialect) encodeStatusHeader(b *[MaxHeaderSize]byte, r *Reply) int {
	if !d.Extended {
		n := d.encodeChunk(b, r, ChunkBlockStatus, 4+uint64(r.Data))
		binary.BigEndian.PutUint32(b[n:], d.AllocationID)
		return n + 4
	}
	n := d.encodeChunk(b, r, ChunkBlockStatusExt, 8+uint64(r.Data))
	binary.BigEndian.PutUint32(b[n:], d.AllocationID)
	binary.BigEndian.PutUint32(b[n+4:], uint32(len(r.Status.Extents)))
	return n + 8
}

// encodeChunk writes the header of a request's last chunk, whose payload has n
// bytes. "Extended reply message": offset is the request's.
func (d *Dialect) encodeChunk(b *[MaxHeaderSize]byte, r *Reply, t ChunkType, n uint64) int {
	be := binary.BigEndian
	be.PutUint16(b[4:], chunkDone)
	be.PutUint16(b[6:], uint16(t))
	be.PutUint64(b[8:], r.Cookie)
	if !d.Extended {
		be.PutUint32(b[0:], magicChunk)
		be.PutUint32(b[16:], uint32(n))
		return chunkSize
	}
	be.PutUint32(b[0:], magicExtReply)
	be.PutUint64(b[16:], r.Offset)
	be.PutUint64(b[24:], n)
	return ExtReplySize
}

// descriptorSize is the length of an extent in a BLOCK_STATUS chunk.
func (d *Dialect) descriptorSize() int {
	if d.Extended {
		return 16
	}
	return 8
}

// PutStatus writes b's extents to p, as BLOCK_STATUS has them.
func (d *Dialect) PutStatus(p []byte, b *devices.BlockStatus) {
	for _, e := range b.Extents {
		if d.Extended {
			binary.BigEndian.PutUint64(p, e.Length)
			binary.BigEndian.PutUint64(p[8:], uint64(e.Flags))
		} else {
			binary.BigEndian.PutUint32(p, uint32(e.Length))
			binary.BigEndian.PutUint32(p[4:], uint32(e.Flags))
		}
		p = p[d.descriptorSize():]
	}
}

// Chunk is the header of a reply as a client sees it.
type Chunk struct {
	Simple bool          // a simple reply: Errno, and a READ's data follows unasked
	Errno  devices.Errno // of a simple reply
	Type   ChunkType
	Last   bool // no more chunks answer this request
	Cookie uint64
	Offset uint64 // of an extended reply: the request's
	Length uint64 // bytes of payload; of a simple reply 0
}

// DecodeReply reads a reply's header from b, of which size bytes make it up. If
// b is shorter, size says so and c means nothing.
func (d *Dialect) DecodeReply(b []byte, c *Chunk) (size int, err error) {
	be := binary.BigEndian
	if len(b) < ReplySize {
		return ReplySize, nil
	}
	switch m := be.Uint32(b); {
	case m == magicReply && !d.Extended:
		*c = Chunk{Simple: true, Last: true, Errno: knownErrno(devices.Errno(be.Uint32(b[4:]))), Cookie: be.Uint64(b[8:])}
		return ReplySize, nil
	case m == magicChunk && d.Structured && !d.Extended:
		size = chunkSize
	case m == magicExtReply && d.Extended:
		size = ExtReplySize
	default:
		return 0, wrongMagic(m)
	}
	if len(b) < size {
		return size, nil
	}
	*c = Chunk{Type: ChunkType(be.Uint16(b[6:])), Last: be.Uint16(b[4:])&chunkDone != 0, Cookie: be.Uint64(b[8:])}
	if size == chunkSize {
		c.Length = uint64(be.Uint32(b[16:]))
	} else {
		c.Offset, c.Length = be.Uint64(b[16:]), be.Uint64(b[24:])
	}
	return size, c.check()
}

// check refuses chunks that are malformed or beyond all bounds. "Structured
// reply types": a chunk without DONE has a payload, and a type that is neither
// known nor an error MUST end the connection.
func (c *Chunk) check() error {
	low, high := uint64(0), uint64(0)
	switch {
	case c.Type.isError():
		low, high = errorSize, maxErrorBody
	case c.Type == ChunkNone && !c.Last:
		return violation("a chunk of type NONE is the last", "one that is not")
	case c.Type == ChunkNone:
	case c.Type == ChunkOffsetData:
		low, high = OffsetSize+1, OffsetSize+maxSkip
	case c.Type == ChunkOffsetHole:
		low, high = holeSize, holeSize
	case c.Type == ChunkBlockStatus:
		low, high = 4+8, maxStatusBody
	case c.Type == ChunkBlockStatusExt:
		low, high = 8+16, maxStatusBody
	default:
		return violation("a chunk is of a known type", "%d", c.Type)
	}
	if c.Length < low || c.Length > high {
		return violation("a chunk's length fits its type", "%d bytes of type %d", c.Length, c.Type)
	}
	return nil
}

// getStatus reads the extents of a BLOCK_STATUS chunk's payload into to, as
// many as it has room for. "Structured reply types", BLOCK_STATUS: no extent is
// empty, and only the last may go beyond the request.
func (d *Dialect) getStatus(c *Chunk, p []byte, length uint64, to *devices.BlockStatus) error {
	be := binary.BigEndian
	id, head := be.Uint32(p), 4
	if c.Type == ChunkBlockStatusExt {
		head = 8
	}
	size := d.descriptorSize()
	body := p[head:]
	n := len(body) / size
	switch {
	case (c.Type == ChunkBlockStatusExt) != d.Extended:
		return violation("BLOCK_STATUS is as long as the headers", "type %d", c.Type)
	case !d.Allocation || id != d.AllocationID:
		return violation("a context was negotiated", "id %d", id)
	case n*size != len(body) || d.Extended && be.Uint32(p[4:]) != uint32(n):
		return violation("BLOCK_STATUS has whole extents", "%d bytes", len(body))
	}
	sum := uint64(0)
	for ; len(body) > 0; body = body[size:] {
		e := devices.StatusExtent{Length: uint64(be.Uint32(body)), Flags: devices.StatusFlags(be.Uint32(body[4:]))}
		if d.Extended {
			e = devices.StatusExtent{Length: be.Uint64(body), Flags: devices.StatusFlags(be.Uint64(body[8:]))}
		}
		if e.Length == 0 || sum >= length {
			return violation("extents have a length and begin within the request", "%d bytes after %d of %d", e.Length, sum, length)
		}
		e.Length = min(e.Length, length-sum)
		sum += e.Length
		if to != nil && !to.Add(e.Length, e.Flags) {
			to = nil
		}
	}
	return nil
}
