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
// nothing, because Place has been told of it. The last one completes the
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
		_, err := c.Place(k, binary.BigEndian.Uint64(body), uint64(binary.BigEndian.Uint32(body[offsetSize:])))
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

// chunks completes, with the loop entered once, all that has wholly come, up to a
// chunk of which the payload has not.
func (c *ClientConn) chunks() error {
	c.real.Enter()
	defer c.leave()
	var k Chunk
	for {
		have := c.in.have()
		size, err := c.Client.info.decodeReply(have, &k)
		if err != nil {
			return err
		}
		if c.needs = size; len(have) < size {
			return nil
		}
		whole := k.Length <= uint64(len(have)-size)
		if !whole && k.Type == ChunkOffsetData && len(have) < size+offsetSize {
			c.needs = size + offsetSize
			return nil
		}
		c.in.take(size)
		c.needs = ReplySize
		if !whole {
			return c.awaitChunk(&k)
		}
		c.in.take(int(k.Length))
		if err := c.deliver(&k, have[size:size+int(k.Length)]); err != nil {
			return err
		}
	}
}

// awaitChunk has the payload of a chunk read, a READ's data straight to where it
// belongs.
func (c *ClientConn) awaitChunk(k *Chunk) error {
	if k.Type != ChunkOffsetData {
		c.await(late{Chunk: *k}, k.Length)
		return nil
	}
	offset, n := binary.BigEndian.Uint64(c.in.have()), k.Length-offsetSize
	c.in.take(offsetSize)
	r, err := c.Place(k, offset, n)
	if err == nil {
		c.await(late{Chunk: *k, r: r, offset: offset}, n)
	}
	return err
}

// deliver hands a chunk that has all come to the engine.
func (c *ClientConn) deliver(k *Chunk, body []byte) error {
	switch {
	case k.Simple:
		if r := c.Expect(k.Cookie); r != nil && r.Op == devices.OpRead {
			return violation("a READ is answered in chunks", "a simple reply")
		}
		return c.Receive(k.Errno, k.Cookie, devices.Payload{})
	case k.Type == ChunkOffsetData:
		offset, data := binary.BigEndian.Uint64(body), body[offsetSize:]
		r, err := c.Place(k, offset, uint64(len(data)))
		if err != nil {
			return err
		}
		if at := offset - r.Offset; r.Bytes != nil {
			copy(r.Bytes[at:], data)
		}
		getStamps(r, offset, data)
		return c.ReceiveChunk(k, nil)
	case k.Type == ChunkOffsetHole:
		c.hole(k, body)
	}
	return c.ReceiveChunk(k, body)
}

// hole puts zeros where the engine will find that a chunk says so.
func (c *ClientConn) hole(k *Chunk, body []byte) {
	r, offset, n := c.Expect(k.Cookie), binary.BigEndian.Uint64(body), uint64(binary.BigEndian.Uint32(body[offsetSize:]))
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
