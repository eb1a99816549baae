package socket

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd"
)

// TestNbdkitBlocksizeWriteDisconnect is test-blocksize-write-disconnect.sh: the
// ladder of writes that are too long, each of which is read to its end or ends
// the connection.
func TestNbdkitBlocksizeWriteDisconnect(t *testing.T) {
	s := newSite(t, "unix")
	s.real.Do(func() { s.dev.Desc.MaxPayload, s.dev.Desc.Size = 64<<10, 1<<30 })
	c := dialRaw(t, s.uri)
	for i, n := range []uint64{64 << 10, 64<<10 + 1, 1 << 20, 33 << 20} {
		want := devices.OK
		if n > 64<<10 {
			want = devices.EINVAL
		}
		c.send(encode(nbd.Header{Op: devices.OpWrite, Cookie: uint64(i), Length: n}, make([]byte, n)...))
		if e, cookie := c.reply(); e != want || cookie != uint64(i) {
			t.Fatalf("a write of %d: %v to %d, want %v", n, e, cookie, want)
		}
	}
	c.send(encode(nbd.Header{Op: devices.OpWrite, Length: (128 << 20) + 1}))
	c.closes()
}
