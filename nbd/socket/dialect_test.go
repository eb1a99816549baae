package socket

import (
	"bytes"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// TestSocketsInEachDialect: every command, from our client to our server.
func TestSocketsInEachDialect(t *testing.T) {
	for name, options := range dialects {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "unix")
			s.dev.Service = 20 * time.Microsecond
			real := newReal(t)
			dialer := Dialer{Options: options, InProcess: true} // attend_test.go has the other way
			c, err := dialer.Dial(within(t), s.uri, real)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			everyCommand(t, c, real)
			r := &devices.Request{Op: devices.OpBlockStatus, Length: nbdtest.Size}
			r.Status = &devices.BlockStatus{}
			r.Status.Reset(8)
			do(t, real, c, r)
			want := devices.OK
			if name == "simple" {
				want = devices.EINVAL
			} else if len(r.Status.Extents) != 1 || r.Status.Extents[0].Length != nbdtest.Size {
				t.Errorf("status %v", r.Status.Extents)
			}
			if r.Errno != want {
				t.Errorf("BLOCK_STATUS ended with %v, want %v", r.Errno, want)
			}
		})
	}
}

// everyCommand writes, zeroes, trims, flushes and reads back, and has a READ
// fail.
func everyCommand(t *testing.T, c *ClientConn, real *sim.Real) {
	t.Helper()
	data := bytes.Repeat([]byte("nbdbench"), nbdtest.Size/16)
	at := func(op devices.Op, flags devices.Flags, offset, n uint64, b []byte) *devices.Request {
		return &devices.Request{Op: op, Flags: flags, Offset: offset, Length: n, Payload: devices.Payload{Bytes: b}}
	}
	ok := func(rs ...*devices.Request) {
		t.Helper()
		do(t, real, c, rs...)
		for _, r := range rs {
			if r.Errno != devices.OK {
				t.Fatalf("%v ended with %v", r, r.Errno)
			}
		}
	}
	ok(at(devices.OpWrite, devices.FUA, 0, uint64(len(data)), data))
	ok(at(devices.OpWriteZeroes, devices.FastZero, 4096, 4096, nil), at(devices.OpTrim, devices.FUA, 16384, 4096, nil), at(devices.OpCache, 0, 0, 4096, nil), at(devices.OpFlush, 0, 0, 0, nil))
	got := make([]byte, len(data))
	var reads []*devices.Request
	for off := 0; off < len(got); off += len(got) / 8 {
		part := got[off : off+len(got)/8]
		reads = append(reads, at(devices.OpRead, 0, uint64(off), uint64(len(part)), part))
	}
	ok(reads...)
	clear(data[4096:8192])
	clear(data[16384:20480])
	if !bytes.Equal(got, data) {
		t.Error("read something else than was written")
	}
	past := at(devices.OpRead, 0, nbdtest.Size, 512, make([]byte, 512))
	do(t, real, c, past)
	if past.Errno != devices.EINVAL {
		t.Errorf("a READ past the end ended with %v", past.Errno)
	}
	ok(at(devices.OpRead, 0, 0, 512, make([]byte, 512)))
}
