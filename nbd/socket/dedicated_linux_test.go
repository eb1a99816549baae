//go:build !portable

package socket

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
)

// dedicatedSite has connections served by dedicated readers after few reads.
func dedicatedSite(t *testing.T, network string) *site {
	return newSite(t, network, func(s *Server) { s.dedicateAfter = 4 })
}

// expectDedicated waits until so many sockets are out of Go's poller.
func (s *site) expectDedicated(t *testing.T, n int32) {
	t.Helper()
	for end := time.Now().Add(testTimeout); s.dedicated.Load() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections wait by themselves, expected %d", s.dedicated.Load(), n)
		}
	}
}

// expectTimersOwned waits until the loop's timers have an owner, or none.
func (s *site) expectTimersOwned(t *testing.T, want bool) {
	t.Helper()
	for end := time.Now().Add(testTimeout); s.real.TimersOwned() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the loop is kept: %v", !want)
		}
	}
}

// flushes makes requests one after another.
func (r *raw) flushes(n int) {
	r.t.Helper()
	for i := range uint64(n) {
		r.send(encode(nbd.Header{Op: devices.OpFlush, Cookie: i}))
		r.answers(i)
	}
}

func TestTheOnlyBusyConnectionLeavesThePoller(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			s := dedicatedSite(t, network)
			first, second := dialRaw(t, s.uri), dialRaw(t, s.uri)
			first.flushes(8)
			s.expectDedicated(t, 1)
			second.flushes(1)
			first.flushes(1)
			s.expectDedicated(t, 0)
			for range 8 { // in turn, both stay where they are
				second.flushes(1)
				first.flushes(1)
			}
			if n := s.dedicated.Load(); n != 0 {
				t.Errorf("%d wait by themselves while two are busy", n)
			}
			second.flushes(8)
			s.expectDedicated(t, 1)
			_ = second.Close()
			s.expectDedicated(t, 0)
			first.flushes(8)
		})
	}
}

func TestAServerIsNotSetToBlock(t *testing.T) {
	s := newSite(t, "unix", func(s *Server) { s.dedicateAfter = 0 })
	dialRaw(t, s.uri).flushes(2 * dedicateAfter)
	if n := s.dedicated.Load(); n != 0 {
		t.Errorf("%d wait by themselves", n)
	}
}

func TestSeveralAreBusy(t *testing.T) {
	notices := make(chan bool, 8)
	s := newSite(t, "unix", func(s *Server) {
		s.dedicateAfter = 4
		s.OnContention(func(contended bool) { notices <- contended })
	})
	expect := func(want bool) {
		t.Helper()
		select {
		case got := <-notices:
			if got != want {
				t.Errorf("the server says contended: %v, expected %v", got, want)
			}
		case <-time.After(testTimeout):
			t.Fatalf("the server says nothing, expected contended: %v", want)
		}
	}
	first, second := dialRaw(t, s.uri), dialRaw(t, s.uri)
	for range 2 {
		first.flushes(8)
		for range contendAfter/2 - 1 {
			second.flushes(1)
			first.flushes(1)
		}
		if len(notices) > 0 {
			t.Errorf("the server says contended: %v after %d changes, expected nothing before %d", <-notices, contendAfter-2, contendAfter)
		}
		for range 8 {
			second.flushes(3)
			first.flushes(3)
		}
		expect(true)
		second.flushes(8)
		expect(false)
	}
	if len(notices) > 0 {
		t.Errorf("the server says contended: %v, expected nothing more", <-notices)
	}
}

func TestAnIdleDedicatedReaderJoinsThePoller(t *testing.T) {
	s := dedicatedSite(t, "unix")
	c := dialRaw(t, s.uri)
	for range 3 {
		c.flushes(8)
		s.expectDedicated(t, 1)
		s.expectDedicated(t, 0)
	}
}

// TestFewConnectionsLeaveThePoller, because each has a thread.
func TestFewConnectionsLeaveThePoller(t *testing.T) {
	s := dedicatedSite(t, "unix")
	s.dedicated.Store(maxDedicated)
	c := dialRaw(t, s.uri)
	c.flushes(8)
	if n := s.dedicated.Load(); n != maxDedicated {
		t.Errorf("%d wait by themselves, expected %d", n, maxDedicated)
	}
	s.dedicated.Store(maxDedicated - 1)
	c.flushes(1)
	s.expectDedicated(t, maxDedicated)
	_ = c.Close()
	s.expectDedicated(t, maxDedicated-1)
}

// TestADedicatedReaderEnds whoever ends it, while its reader sleeps.
func TestADedicatedReaderEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *site, c *raw) error{
		"the client":  func(_ *testing.T, _ *site, c *raw) error { return c.Close() },
		"Close":       func(_ *testing.T, s *site, _ *raw) error { return s.Close() },
		"Shutdown":    func(t *testing.T, s *site, _ *raw) error { return s.Shutdown(within(t)) },
		"the export":  func(t *testing.T, s *site, _ *raw) error { return s.RemoveExport(within(t), "disk") },
		"a power cut": func(_ *testing.T, s *site, _ *raw) error { s.Cut([]string{"disk"}, func() {}); return nil },
	} {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(name+", "+network, func(t *testing.T) {
				s := dedicatedSite(t, network)
				c := dialRaw(t, s.uri)
				c.flushes(8)
				s.expectDedicated(t, 1)
				if err := end(t, s, c); err != nil {
					t.Fatal(err)
				}
				if name != "the client" {
					c.closes()
				}
				s.expectDedicated(t, 0)
				s.idles(t)
			})
		}
	}
}

// A request's data comes in pieces, with pauses in which the connection joins the
// poller.
func TestDataForADedicatedReaderComesInPieces(t *testing.T) {
	for _, size := range []int{4 << 10, 4 * longData} {
		s := dedicatedSite(t, "unix")
		c := dialRaw(t, s.uri)
		c.flushes(8)
		s.expectDedicated(t, 1)
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
		message := encode(nbd.Header{Op: devices.OpWrite, Length: uint64(size), Cookie: 7}, data...)
		c.send(message[:nbd.RequestSize+100])
		time.Sleep(dedicatedIdle / 10)
		c.send(message[nbd.RequestSize+100 : size/2])
		s.expectDedicated(t, 0) // in the middle of it
		c.send(message[size/2:])
		c.answers(7)
		c.send(encode(nbd.Header{Op: devices.OpRead, Length: uint64(size), Cookie: 8}))
		if e, cookie := c.reply(); e != devices.OK || cookie != 8 || !bytes.Equal(c.expect(size), data) {
			t.Errorf("%d bytes: replied %v to %d, or with other data", size, e, cookie)
		}
	}
}

// A client that takes no replies for a while has them written by who blocks, and
// holds up neither its own socket's change nor anybody else.
func TestTheClientOfADedicatedReaderTakesNoReplies(t *testing.T) {
	s := dedicatedSite(t, "unix")
	c, other := dialRaw(t, s.uri), dialRaw(t, s.uri)
	c.flushes(8)
	s.expectDedicated(t, 1)
	const n, size = 64, 256 << 10 // more than its socket holds
	var all []byte
	for i := range uint64(n) {
		all = append(all, encode(nbd.Header{Op: devices.OpRead, Length: size, Cookie: i})...)
	}
	c.send(all)
	other.flushes(16)
	for range n {
		if e, _ := c.reply(); e != devices.OK {
			t.Fatal(e)
		}
		c.expect(size)
	}
	c.flushes(8)
	s.expectDedicated(t, 1)
}

// A client that goes on sending, which TCP takes after SHUT_RD too, holds up no
// shutdown.
func TestADedicatedReaderThatGoesOnIsShutDown(t *testing.T) {
	s := dedicatedSite(t, "tcp")
	c := dialRaw(t, s.uri)
	c.flushes(8)
	s.expectDedicated(t, 1)
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			if _, err = c.Write(encode(nbd.Header{Op: devices.OpFlush})); err == nil {
				_, err = io.ReadFull(c, make([]byte, nbd.ReplySize))
			}
		}
		ended <- err
	}()
	if err := s.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	<-ended
}

// TestADedicatedReaderOwnsTheTimers: replies come when they are due, whatever its
// reader does by then, and when it has ended.
func TestADedicatedReaderOwnsTheTimers(t *testing.T) {
	for name, busy := range map[string]func(c *raw) (then func()){
		"sleeps": func(*raw) func() { return func() {} },
		"awaits a request": func(c *raw) func() {
			flush := encode(nbd.Header{Op: devices.OpFlush, Cookie: 8})
			c.send(flush[:nbd.RequestSize/2])
			return func() { c.send(flush[nbd.RequestSize/2:]); c.answers(8) }
		},
		"awaits data": func(c *raw) func() {
			write := encode(nbd.Header{Op: devices.OpWrite, Length: 4096, Cookie: 8}, make([]byte, 4096)...)
			c.send(write[:2048])
			return func() { c.send(write[2048:]); c.answers(8) }
		},
		"awaits much data": func(c *raw) func() {
			write := encode(nbd.Header{Op: devices.OpWrite, Length: 2 * longData, Cookie: 8}, make([]byte, 2*longData)...)
			c.send(write[:longData])
			return func() { c.send(write[longData:]); c.answers(8) }
		},
		"awaits room": func(c *raw) func() {
			var all []byte
			for range 2 * nbd.MaxInFlight {
				all = append(all, encode(nbd.Header{Op: devices.OpFlush, Cookie: 8})...)
			}
			go c.send(all)
			return func() {
				for range 2 * nbd.MaxInFlight {
					c.answers(8)
				}
			}
		},
		"is asked to go": func(c *raw) func() {
			c.send(encode(nbd.Header{Op: nbd.CmdDisc}))
			return c.closes
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := dedicatedSite(t, "unix")
			c := dialRaw(t, s.uri)
			c.flushes(8)
			s.expectTimersOwned(t, true)
			s.real.Do(func() { s.dev.Service = dedicatedIdle / 5 })
			for range 3 {
				c.send(encode(nbd.Header{Op: devices.OpRead, Length: 512, Cookie: 7}))
				then := busy(c)
				c.answers(7)
				c.expect(512)
				if then(); name == "is asked to go" {
					break
				}
			}
			_ = c.Close()
			s.idles(t)
			s.expectTimersOwned(t, false)
		})
	}
}
