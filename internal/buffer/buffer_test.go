package buffer_test

import (
	"testing"

	"nbdbench/internal/buffer"
)

// TestBuffersHaveRoom for what was asked for, and take the size that is charged.
func TestBuffersHaveRoom(t *testing.T) {
	for _, c := range []struct{ n, size int }{{1, 4 << 10}, {4096, 4 << 10}, {4097, 8 << 10}, {128 << 20, 128 << 20}} {
		b := buffer.Get(c.n)
		if len(b.Data) != c.size || buffer.Size(uint64(c.n)) != int32(c.size) {
			t.Errorf("for %d bytes: a buffer of %d, charged as %d; expected %d", c.n, len(b.Data), buffer.Size(uint64(c.n)), c.size)
		}
		b.Release()
	}
	(*buffer.Buffer)(nil).Release()
}

// TestABufferIsUsedAgain: requests in steady state allocate nothing.
func TestABufferIsUsedAgain(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { buffer.Get(5000).Release() }); n >= 1 {
		t.Errorf("%v allocations, expected none", n)
	}
}
