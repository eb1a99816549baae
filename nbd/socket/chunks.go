package socket

import (
	"encoding/binary"

	"nbdbench/nbd"
)

// chunks completes, with the loop entered once, all that has wholly come, up to a
// chunk of which the payload has not.
func (c *ClientConn) chunks() error {
	c.real.Enter()
	defer c.leave()
	var k nbd.Chunk
	for {
		have := c.in.have()
		size, err := c.dialect.DecodeReply(have, &k)
		if err != nil {
			return err
		}
		if c.needs = size; len(have) < size {
			return nil
		}
		whole := k.Length <= uint64(len(have)-size)
		if !whole && k.Type == nbd.ChunkOffsetData && len(have) < size+nbd.OffsetSize {
			c.needs = size + nbd.OffsetSize
			return nil
		}
		c.in.take(size)
		c.needs = nbd.ReplySize
		if !whole {
			return c.awaitChunk(&k)
		}
		c.in.take(int(k.Length))
		if err := c.ReceiveWhole(&k, have[size:size+int(k.Length)]); err != nil {
			return err
		}
	}
}

// awaitChunk has the payload of a chunk read, a READ's data straight to where it
// belongs.
func (c *ClientConn) awaitChunk(k *nbd.Chunk) error {
	if k.Type != nbd.ChunkOffsetData {
		c.await(late{Chunk: *k}, k.Length)
		return nil
	}
	offset, n := binary.BigEndian.Uint64(c.in.have()), k.Length-nbd.OffsetSize
	c.in.take(nbd.OffsetSize)
	r, err := c.Place(k, offset, n)
	if err == nil {
		c.await(late{Chunk: *k, r: r, offset: offset}, n)
	}
	return err
}
