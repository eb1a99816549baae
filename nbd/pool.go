package nbd

import (
	"math/bits"
	"sync"
)

// The smallest and the greatest buffer of the pool, as powers of 2: 4 KiB to
// 128 MiB.
const (
	minClass = 12
	maxClass = 27
)

// buffer is a piece of memory from the pool.
type buffer struct {
	data  []byte
	class int
}

var pools [maxClass + 1]sync.Pool

// bufferClass is the power of 2 that a buffer for n bytes has.
func bufferClass(n int) int { return max(minClass, bits.Len(uint(n-1))) }

// bufferSize is what a buffer for n bytes takes.
func bufferSize(n uint64) int32 { return 1 << bufferClass(int(n)) }

// getBuffer returns a buffer of at least n bytes. Its content is old.
func getBuffer(n int) *buffer {
	class := bufferClass(n)
	if b, ok := pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{data: make([]byte, 1<<class), class: class}
}

// release gives b back; nil is nothing.
func (b *buffer) release() {
	if b != nil {
		pools[b.class].Put(b)
	}
}
