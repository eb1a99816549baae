package nbd

import (
	"encoding/binary"

	"nbdbench/devices"
)

// Place takes note of a READ's data at this offset of the device, which a chunk
// brings or calls zeros, and returns the request it answers: the caller puts the
// data where that wants it. "Structured reply types", OFFSET_DATA: chunks lie
// within the request and do not overlap, and a hole MUST have a size.
func (c *Client) Place(k *Chunk, offset, n uint64) (*devices.Request, error) {
	r := c.table.lookup(k.Cookie)
	switch {
	case r == nil:
		return nil, violation("a reply has the cookie of a request in flight", "%#x", k.Cookie)
	case r.Op != devices.OpRead:
		return nil, violation("data answers READ", "%v", r.Op)
	case offset < r.Offset || offset-r.Offset > r.Length || n > r.Length-(offset-r.Offset):
		return nil, violation("data lies within the READ", "%d bytes at %d, of %d at %d", n, offset, r.Length, r.Offset)
	case n == 0:
		return nil, violation("a hole has a size", "0 bytes at %d", offset)
	}
	s := c.table.slot(k.Cookie)
	if err := s.got.add(offset, n); err != nil {
		return nil, err
	}
	s.seen += n
	return r, nil
}

// ReceiveChunk takes a chunk of a reply. body is its payload, for OFFSET_DATA
// nothing, because Place has noted it. The last one completes the
// request. An error ends the connection.
func (c *Client) ReceiveChunk(k *Chunk, body []byte) error {
	err := c.chunk(k, body)
	if err != nil {
		c.Fail(err)
		return err
	}
	if !k.Last {
		return nil
	}
	r, s := c.table.lookup(k.Cookie), c.table.slot(k.Cookie)
	e := s.errno
	switch {
	case e != devices.OK:
	case r.Op == devices.OpRead && s.seen != r.Length:
		err = violation("a READ's chunks have all its data", "%d bytes of %d", s.seen, r.Length)
	case r.Op == devices.OpBlockStatus && s.seen == 0:
		err = violation("BLOCK_STATUS is answered for each context", "nothing")
	}
	if err != nil {
		c.Fail(err)
		return err
	}
	return c.Receive(e, k.Cookie, r.Payload)
}

// chunk notes what one chunk says of its request.
func (c *Client) chunk(k *Chunk, body []byte) error {
	r := c.table.lookup(k.Cookie)
	switch {
	case r == nil:
		return violation("a reply has the cookie of a request in flight", "%#x", k.Cookie)
	case c.info.Extended && k.Offset != r.Offset:
		return violation("an extended reply has its request's offset", "%d for %d", k.Offset, r.Offset)
	}
	s := c.table.slot(k.Cookie)
	switch {
	case k.Type.isError():
		e, err := chunkError(body)
		if s.errno == devices.OK {
			s.errno = e // the first one counts
		}
		return err
	case k.Type == ChunkOffsetHole:
		_, err := c.Place(k, binary.BigEndian.Uint64(body), uint64(binary.BigEndian.Uint32(body[OffsetSize:])))
		return err
	case k.Type == ChunkBlockStatus || k.Type == ChunkBlockStatusExt:
		if r.Op != devices.OpBlockStatus || s.seen > 0 {
			return violation("BLOCK_STATUS is answered once for each context", "%v", r.Op)
		}
		s.seen = 1
		return c.info.getStatus(k, body, r.Length, r.Status)
	}
	return nil
}

// chunkError reads an error chunk's payload. "Structured reply types": of an
// error type that is not known, the command has failed all the same.
func chunkError(body []byte) (devices.Errno, error) {
	if n := int(binary.BigEndian.Uint16(body[4:])); n > len(body)-errorSize {
		return 0, violation("an error's message fits its chunk", "%d bytes of %d", n, len(body)-errorSize)
	}
	e := knownErrno(devices.Errno(binary.BigEndian.Uint32(body)))
	if e == devices.OK {
		e = devices.EINVAL // an error that is none
	}
	return e, nil
}

// ReceiveWhole takes a chunk with all its payload, body, and puts a READ's data where
// the request wants it. A simple reply is taken only if it has no data. An error ends
// the connection.
func (c *Client) ReceiveWhole(k *Chunk, body []byte) error {
	switch {
	case k.Simple:
		if r := c.Expect(k.Cookie); r != nil && r.Op == devices.OpRead {
			return violation("a READ is answered in chunks", "a simple reply")
		}
		return c.Receive(k.Errno, k.Cookie, devices.Payload{})
	case k.Type == ChunkOffsetData:
		offset, data := binary.BigEndian.Uint64(body), body[OffsetSize:]
		r, err := c.Place(k, offset, uint64(len(data)))
		if err != nil {
			return err
		}
		if at := offset - r.Offset; r.Bytes != nil {
			copy(r.Bytes[at:], data)
		}
		GetStamps(r, offset, data)
		return c.ReceiveChunk(k, nil)
	case k.Type == ChunkOffsetHole:
		c.hole(k, body)
	}
	return c.ReceiveChunk(k, body)
}

// hole puts zeros where ReceiveChunk will find that a chunk says so.
func (c *Client) hole(k *Chunk, body []byte) {
	r, offset, n := c.Expect(k.Cookie), binary.BigEndian.Uint64(body), uint64(binary.BigEndian.Uint32(body[OffsetSize:]))
	if r == nil || r.Op != devices.OpRead || offset < r.Offset || offset-r.Offset > r.Length || n > r.Length-(offset-r.Offset) {
		return // which ReceiveChunk refuses
	}
	at := offset - r.Offset
	if r.Bytes != nil {
		clear(r.Bytes[at : at+n])
	}
	for i := at / devices.Sector; i < (at+n)/devices.Sector && i < uint64(len(r.Versions)); i++ {
		r.Versions[i] = 0
	}
}
