package socket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"nbdbench/devices"

	"nbdbench/internal/buffer"
	"nbdbench/nbd"
	"nbdbench/nbd/nbdtest"
)

const mib = 1 << 20

// TestAConnectionHoldsAtMostHalfOfWhatIsFree, counted before it takes more.
func TestAConnectionHoldsAtMostHalfOfWhatIsFree(t *testing.T) {
	for _, test := range []struct {
		name             string
		held, mine, more int64
		want             bool
	}{
		{"half of everything", 0, 0, 64, true},
		{"more than half while others hold something", 1, 0, 65, false},
		{"more than half while nobody holds anything", 0, 0, 100, true},
		{"half of what others leave", 64, 0, 32, true},
		{"more than half of what others leave", 64, 0, 33, false},
		{"what it holds counts twice", 40, 40, 4, true},
		{"and once too often", 40, 40, 5, false},
		{"nothing is free", 128, 0, 1, false},
	} {
		m := &memory{limit: 128 * mib, trim: func() {}}
		m.held.Store(test.held * mib)
		if got := m.take(test.mine*mib, test.more*mib); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestTheLeastHolderIsWokenFirst, and one that does not fit is not woken.
func TestTheLeastHolderIsWokenFirst(t *testing.T) {
	m := &memory{limit: 128 * mib, trim: func() {}}
	m.force(128 * mib)
	var woken []int64
	for _, wants := range []int64{40, 4, 20, 30} {
		w := &queuedConn{wants: wants * mib}
		w.wake = func() { woken = append(woken, wants) }
		m.join(w)
	}
	for range 4 {
		m.give(20 * mib) // up to 40 of 128
	}
	if want := []int64{4, 20, 30, 40}; fmt.Sprint(woken) != fmt.Sprint(want) {
		t.Errorf("woken: %v, expected %v", woken, want)
	}
	if m.waiting.Load() != 0 {
		t.Errorf("%d are left", m.waiting.Load())
	}
}

// TestACostCoversItsRecords: the constants are no less than what Go takes.
func TestACostCoversItsRecords(t *testing.T) {
	record := nbd.MaxRecord + unsafe.Sizeof(slab{})/slabSize + 2*nbd.MaxHeaderSize
	if record > requestCost {
		t.Errorf("a request and its reply take %d bytes, expected at most %d", record, requestCost)
	}
	extents := devices.MaxStatusExtents * unsafe.Sizeof(devices.StatusExtent{})
	if sent := uintptr(buffer.Size(devices.MaxStatusExtents * 16)); 2*extents+sent > statusCost {
		t.Errorf("a BLOCK_STATUS takes %d bytes, expected at most %d", 2*extents+sent, statusCost)
	}
	if taken := firstBuffer + unsafe.Sizeof(serverSocket{}) + unsafe.Sizeof(outQueue{}) + 2*2048; taken > connCost {
		t.Errorf("a connection takes %d bytes, expected at most %d", taken, connCost)
	}
}

// TestRepliesThatAreNotReadAreInFlight: a client that never reads has as many
// requests received as one whose device never completes.
func TestRepliesThatAreNotReadAreInFlight(t *testing.T) {
	s := newSite(t, "unix")
	c := dialRaw(t, s.uri)
	c.floods(nbd.Header{Op: devices.OpRead, Length: 1}, 1_000_000)
	s.only(t).holds(t, nbd.MaxInFlight)
	time.Sleep(10 * time.Millisecond) // more would come
	s.only(t).holds(t, nbd.MaxInFlight)
	if held, most := s.only(t).held.Load(), int64(nbd.MaxInFlight*(4096+requestCost)); held > most {
		t.Errorf("%d bytes are held, expected at most %d", held, most)
	}
	_ = c.Close()
	s.idles(t)
}

// floods sends as many requests as the server takes of n, and reads nothing.
func (r *raw) floods(h nbd.Header, n int) {
	const batch = 1000
	all := bytes.Repeat(encode(h), batch)
	go func() {
		for sent := 0; sent < n; sent += batch {
			if _, err := r.Write(all[:min(n-sent, batch)*nbd.RequestSize]); err != nil {
				return
			}
		}
	}()
}

// holds waits until n requests of k are in flight or not replied to.
func (k *serverSocket) holds(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(testTimeout); int(k.requests.Load()) != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests are in flight or not replied to, expected %d", k.requests.Load(), n)
		}
	}
}

// only is the one connection there is.
func (s *site) only(t *testing.T) *serverSocket {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.conns {
		if len(s.conns) == 1 {
			return k
		}
	}
	t.Fatalf("%d connections, expected 1", len(s.conns))
	return nil
}

// TestWithoutMemoryAWriteWaitsAndAFlushDoesNot: FLUSH and DISC have a reserve.
func TestWithoutMemoryAWriteWaitsAndAFlushDoesNot(t *testing.T) {
	s := newSite(t, "unix", func(s *Server) { s.LimitMemory(MinMemory) })
	waits, flushes, leaves := dialRaw(t, s.uri), dialRaw(t, s.uri), dialRaw(t, s.uri)
	s.memory.force(MinMemory)
	waits.send(encode(nbd.Header{Op: devices.OpWrite, Cookie: 1, Length: 4}, 1, 2, 3, 4))
	for range 3 * flushReserve {
		flushes.send(encode(nbd.Header{Op: devices.OpFlush, Cookie: 2}))
		flushes.answers(2)
	}
	leaves.send(encode(nbd.Header{Op: nbd.CmdDisc}))
	leaves.closes()
	if n := s.Counts(); n.Write != 0 || n.Flush != 3*flushReserve {
		t.Errorf("%+v while nothing is free", n)
	}
	s.memory.give(MinMemory)
	waits.answers(1)
	_, _ = waits.Close(), flushes.Close()
	s.idles(t)
}

// TestWhoWaitsForMemoryCanBeClosed by the server and by taking the export away.
func TestWhoWaitsForMemoryCanBeClosed(t *testing.T) {
	for name, end := range map[string]func(*Server) error{
		"close":  (*Server).Close,
		"cut":    func(s *Server) error { s.Cut([]string{"disk"}, func() {}); return nil },
		"remove": func(s *Server) error { return s.RemoveExport(within(t), "disk") },
		"drain":  func(s *Server) error { return s.Shutdown(within(t)) },
	} {
		s := newSite(t, "unix", func(s *Server) { s.LimitMemory(MinMemory) })
		c := dialRaw(t, s.uri)
		k := s.only(t)
		s.memory.force(MinMemory)
		c.send(encode(nbd.Header{Op: devices.OpRead, Length: 4}))
		for !k.sleeper.SleepsBeyond(0) {
			time.Sleep(time.Millisecond)
		}
		if err := end(s.Server); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.closes()
		s.memory.give(MinMemory)
		s.idles(t)
	}
}

// TestConnectionsTakeAQuarterOfTheMemoryAtMost: those beyond are closed at once.
func TestConnectionsTakeAQuarterOfTheMemoryAtMost(t *testing.T) {
	s := newSite(t, "unix", func(s *Server) { s.LimitMemory(MinMemory) })
	first := dialRaw(t, s.uri)
	rest := MinMemory/4 - s.memory.base.Load()
	if !s.memory.connect(rest) {
		t.Fatal("a quarter is too much")
	}
	c, err := net.Dial(s.uri.Network, s.uri.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	(&raw{t, c}).closes()
	first.send(encode(nbd.Header{Op: devices.OpFlush, Cookie: 9}))
	first.answers(9)
	s.memory.disconnect(rest)
}

// TestLargeRequestsOfManyConnectionsAreAllServed where there is memory for a few at a
// time.
func TestLargeRequestsOfManyConnectionsAreAllServed(t *testing.T) {
	s := newSite(t, "unix", func(s *Server) { s.LimitMemory(MinMemory) })
	s.memory.force(MinMemory - 24*nbdtest.Size)
	var wg sync.WaitGroup
	for range 16 {
		c := dialRaw(t, s.uri)
		wg.Go(func() {
			for range 8 {
				c.send(encode(nbd.Header{Op: devices.OpRead, Cookie: 3, Length: nbdtest.Size}))
			}
			for range 8 {
				c.answers(3)
				c.expect(nbdtest.Size)
			}
			_ = c.Close()
		})
	}
	wg.Wait()
	s.memory.give(MinMemory - 24*nbdtest.Size)
	s.idles(t)
}

// TestADrainThatEndsTooEarlyNamesTheClient, and what it holds.
func TestADrainThatEndsTooEarlyNamesTheClient(t *testing.T) {
	skipPortable(t)
	for name, test := range map[string]struct {
		held bool
		n    int
		want string
	}{
		"in flight": {true, 3, `export "disk" with 3 requests in flight and 0 replies not read`},
		"not read":  {false, 1_000_000, `export "disk" with 0 requests in flight and 1024 replies not read`},
	} {
		s := newSite(t, "unix")
		s.dev.Held = test.held
		c := dialRaw(t, s.uri)
		c.floods(nbd.Header{Op: devices.OpRead, Length: 512}, test.n)
		s.only(t).holds(t, min(test.n, nbd.MaxInFlight))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := s.Shutdown(ctx)
		cancel()
		var drain *DrainError
		if !errors.As(err, &drain) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: %v", name, err)
		}
		if text := err.Error(); !strings.Contains(text, fmt.Sprintf("client process %d of ", os.Getpid())) || !strings.Contains(text, test.want) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestDrainErrorNamesFew of many clients.
func TestDrainErrorNamesFew(t *testing.T) {
	e := &DrainError{make([]Held, maxListed+5), context.DeadlineExceeded}
	if text := e.Error(); !strings.Contains(text, "; and 5 more: context deadline exceeded") {
		t.Error(text)
	}
}

// TestSocketsAreNarrowOnceManyAreWide: what the kernel holds counts as well.
func TestSocketsAreNarrowOnceManyAreWide(t *testing.T) {
	skipPortable(t)
	s := newSite(t, "unix", func(s *Server) { s.LimitMemory(MinMemory) })
	if !s.memory.connect(MinMemory / 8) {
		t.Fatal("an eighth is too much")
	}
	dialRaw(t, s.uri)
	k := s.only(t)
	if n := sendBufferOf(k.sock.conn.(*net.UnixConn)); n > 2*narrowBuffer {
		t.Errorf("the kernel holds up to %d bytes, expected at most %d", n, 2*narrowBuffer)
	}
	s.memory.disconnect(MinMemory / 8)
}

// TestReadsOfAClientThatHasLeftAreNotCarriedOut, but its WRITEs are.
func TestReadsOfAClientThatHasLeftAreNotCarriedOut(t *testing.T) {
	s := newSite(t, "unix")
	c := dialRaw(t, s.uri)
	c.send(encode(nbd.Header{Op: devices.OpFlush}))
	c.expect(nbd.ReplySize) // the server's end is whole by now
	k := s.only(t)
	gone, _ := net.Pipe()
	out := newOutQueue(gone)
	var reader *serverSocket
	in := bytes.Repeat(encode(nbd.Header{Op: devices.OpRead, Length: nbdtest.Size}), 100)
	in = append(in, encode(nbd.Header{Op: devices.OpWrite, Length: 4}, 1, 2, 3, 4)...)
	s.real.Do(func() {
		out.before, out.written, out.freed = k.out.before, k.out.written, k.out.freed
		reader = &serverSocket{server: s.Server, sc: k.sc, export: k.export, info: k.info, out: out, in: newInputBuffer(bytes.NewReader(in), nil), room: make(chan struct{}, 1)}
	})
	out.fail(net.ErrClosed)
	if err := reader.read(); err != nil {
		t.Error(err)
	}
	if n := s.Counts(); n.Read != 0 || n.Write != 1 {
		t.Errorf("%+v", n)
	}
	_ = c.Close()
}
