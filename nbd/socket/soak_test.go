package socket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
)

// soak is how long and by how many connections a server is soaked:
// NBDBENCH_SOAK, as 10m, and then 1,000 connections; or a slice of it.
func soak(t *testing.T) (time.Duration, int) {
	if s := os.Getenv("NBDBENCH_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		return d, 1000
	}
	if testing.Short() {
		return time.Second, 50
	}
	return 3 * time.Second, 200
}

// TestSoak: many connections with a mixed load, of which some leave in every way
// and come again. Goroutines and memory are as many in the last quarter as in
// the second, and none are left at the end.
func TestSoak(t *testing.T) {
	length, n := soak(t)
	before := runtime.NumGoroutine()
	s := newSite(t, "unix")
	s.dev.Service = 50 * time.Microsecond
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := soakConnection(ctx, s, uint64(i)); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	var samples []sample
	for step := length / 40; ctx.Err() == nil; time.Sleep(step) {
		samples = append(samples, takeSample())
	}
	wg.Wait()
	s.idles(t)
	quarter := len(samples) / 4
	early, late := mostOf(samples[quarter:2*quarter]), mostOf(samples[3*quarter:])
	t.Logf("%d connections for %v, %+v: at most %v in the second quarter, %v in the last", n, length, s.Counts(), early, late)
	if late.goroutines > early.goroutines+early.goroutines/4+20 {
		t.Errorf("goroutines grow: %v, then %v", early, late)
	}
	if late.heap > early.heap+early.heap/4+(32<<20) {
		t.Errorf("memory grows: %v, then %v", early, late)
	}
	_ = s.Close()
	for end := time.Now().Add(testTimeout); runtime.NumGoroutine() > before+10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left of %d before", runtime.NumGoroutine(), before)
		}
	}
}

type sample struct {
	goroutines int
	heap       uint64
}

func (s sample) String() string {
	return fmt.Sprintf("%d goroutines, %d KiB", s.goroutines, s.heap>>10)
}

func takeSample() sample {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return sample{runtime.NumGoroutine(), m.HeapAlloc}
}

func mostOf(ss []sample) (m sample) {
	for _, s := range ss {
		m.goroutines, m.heap = max(m.goroutines, s.goroutines), max(m.heap, s.heap)
	}
	return m
}

// soakConnection connects again and again until ctx ends, and each time does
// some commands and leaves in some way.
func soakConnection(ctx context.Context, s *site, seed uint64) error {
	r := rand.New(rand.NewPCG(2, seed))
	for ctx.Err() == nil {
		c, err := net.Dial(s.uri.Network, s.uri.Address)
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(testTimeout))
		err = soakOnce(c, r)
		_ = c.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// soakHello chooses the default export by EXPORT_NAME.
var soakHello = []byte("\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00")

func soakOnce(c net.Conn, r *rand.Rand) error {
	if _, err := c.Write(soakHello); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, nbd.GreetingSize+nbd.ExportReplySize)); err != nil {
		return err
	}
	for range r.IntN(100) {
		if err := soakBatch(c, r); err != nil {
			return err
		}
	}
	switch r.IntN(4) {
	case 0: // as the protocol asks
		_, err := c.Write(encode(nbd.Header{Op: nbd.CmdDisc}))
		return err
	case 1: // in the middle of a write
		_, err := c.Write(encode(nbd.Header{Op: devices.OpWrite, Length: 8192}, 1, 2, 3))
		return err
	case 2: // with a reply on its way
		_, err := c.Write(encode(nbd.Header{Op: devices.OpRead, Length: 65536}))
		return err
	default: // with a bad magic
		_, err := c.Write(make([]byte, nbd.RequestSize))
		return err
	}
}

// soakBatch sends some commands at once and takes their replies.
func soakBatch(c net.Conn, r *rand.Rand) error {
	var out bytes.Buffer
	n := 1 + r.IntN(8)
	reads := map[uint64]bool{}
	for i := range n {
		h := nbd.Header{Cookie: uint64(i), Offset: uint64(r.IntN(200)) * 4096, Length: 4096}
		var data []byte
		switch h.Op = []devices.Op{devices.OpRead, devices.OpWrite, devices.OpFlush, devices.OpTrim, devices.OpWriteZeroes}[r.IntN(5)]; h.Op {
		case devices.OpRead:
			reads[h.Cookie] = true
		case devices.OpWrite:
			data = make([]byte, 4096)
		case devices.OpFlush:
			h.Offset, h.Length = 0, 0
		}
		out.Write(encode(h, data...))
	}
	if _, err := c.Write(out.Bytes()); err != nil {
		return err
	}
	for range n {
		var b [nbd.RequestSize]byte
		if _, err := io.ReadFull(c, b[:nbd.ReplySize]); err != nil {
			return err
		}
		e, cookie, err := nbd.DecodeReply(&b)
		if err != nil || e != devices.OK {
			return fmt.Errorf("replied %v, %w", e, err)
		}
		if reads[cookie] {
			if _, err := io.CopyN(io.Discard, c, 4096); err != nil {
				return err
			}
		}
	}
	return nil
}
