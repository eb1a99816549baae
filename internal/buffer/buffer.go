// Package buffer keeps buffers for the data of requests, so that a server or client
// in steady state allocates none. They have sizes of powers of 2, and are shared
// by all connections of the process.
package buffer

import (
	"math/bits"
	"sync"
)

// The smallest and the greatest buffer, as powers of 2: 4 KiB to 128 MiB.
const (
	minClass = 12
	maxClass = 27
)

// Buffer is a piece of memory from the pool.
type Buffer struct {
	Data  []byte // at least as long as was asked for; its content is old
	class int
}

var pools [maxClass + 1]sync.Pool

// classOf is the power of 2 that a buffer for n bytes has.
func classOf(n int) int { return max(minClass, bits.Len(uint(n-1))) }

// Size is how many bytes a buffer for n bytes takes.
func Size(n uint64) int32 { return 1 << classOf(int(n)) }

// Get returns a buffer of at least n bytes, of 1 to 128 MiB.
func Get(n int) *Buffer {
	class := classOf(n)
	if b, ok := pools[class].Get().(*Buffer); ok {
		return b
	}
	return &Buffer{Data: make([]byte, 1<<class), class: class}
}

// Release gives b back; nil is nothing.
func (b *Buffer) Release() {
	if b != nil {
		pools[b.class].Put(b)
	}
}
