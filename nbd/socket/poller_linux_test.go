//go:build !portable

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/nbdtest"
)

// TestClientTakesRepliesInPieces, in each dialect.
func TestClientTakesRepliesInPieces(t *testing.T) {
	for name, options := range dialects {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "unix")
			real := newReal(t)
			dialer := Dialer{Options: options}
			c, err := dialer.Dial(within(t), relay(t, s, pass, drip), real)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.plain == nil {
				t.Fatal("no clientPoller serves a plain socket")
			}
			for range 5 {
				everyCommand(t, c, real)
			}
		})
	}
}

// TestClientWritesLaterWhatTheSocketDoesNotTake: a server that does not read
// stalls nobody, and all of it goes out once it does. The flush is by who
// submitted, so that the client poller must be woken for the rest.
func TestClientWritesLaterWhatTheSocketDoesNotTake(t *testing.T) {
	s := newSite(t, "unix")
	var hold sync.Mutex
	stalled := func(_ int, to io.Writer, from io.Reader) {
		b := make([]byte, 4096)
		for {
			n, err := from.Read(b)
			hold.Lock() // while the test holds it, nothing is read
			_, _ = to.Write(b[:n])
			hold.Unlock()
			if err != nil {
				return
			}
		}
	}
	real := newReal(t)
	c, err := Dial(within(t), relay(t, s, stalled, pass), real)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := unix.SetsockoptInt(c.plain.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("nbdbench"), nbdtest.Size/8)
	w := make(waiter, 1)
	hold.Lock()
	real.Do(func() { // one write: only what is left of it can bring a reply
		r := &devices.Request{Op: devices.OpWrite, Length: nbdtest.Size, Payload: devices.Payload{Bytes: data}, Completer: w}
		r.Begin(real.Loop().Now())
		c.Submit(r)
	})
	if c.out.work.Left() == 0 {
		t.Fatal("the socket took everything: this shows nothing")
	}
	hold.Unlock()
	select {
	case r := <-w:
		if r.Errno != devices.OK {
			t.Errorf("%v ended with %v", r, r.Errno)
		}
	case <-within(t).Done():
		t.Fatal("the rest was never written")
	}
	got := &devices.Request{Op: devices.OpRead, Length: nbdtest.Size, Payload: devices.Payload{Bytes: make([]byte, nbdtest.Size)}}
	do(t, real, c, got)
	if !bytes.Equal(got.Bytes, data) {
		t.Error("read something else than was written")
	}
}

// again submits a request so many times, each when the one before has ended.
type again struct {
	dev  devices.Device
	left int
	done chan<- devices.Errno
}

func (a *again) Done(r *devices.Request) {
	if a.left--; a.left == 0 || r.Errno != devices.OK {
		a.done <- r.Errno
		return
	}
	a.dev.Submit(r)
}

// TestClientWritesMoreThanTheSocketTakes, by the clientPoller and by others who submit
// while it sleeps and while it does not.
func TestClientWritesMoreThanTheSocketTakes(t *testing.T) {
	s := newSite(t, "unix")
	real := newReal(t)
	c, err := Dial(within(t), s.uri, real)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := unix.SetsockoptInt(c.plain.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10); err != nil {
		t.Fatal(err)
	}
	const chains, long = 8, 50
	done := make(chan devices.Errno, chains)
	for i := range chains {
		for range i { // others come in between
			do(t, real, c, &devices.Request{Op: devices.OpFlush})
		}
		a := &again{dev: c, left: long, done: done}
		r := &devices.Request{Op: devices.OpWrite, Length: nbdtest.Size, Payload: devices.Payload{Bytes: make([]byte, nbdtest.Size)}, Completer: a}
		real.Do(func() {
			r.Begin(real.Loop().Now())
			c.Submit(r)
		})
	}
	for range chains {
		select {
		case e := <-done:
			if e != devices.OK {
				t.Fatal(e)
			}
		case <-within(t).Done():
			t.Fatal("what was left was never written")
		}
	}
}

// TestOneConnectionEndsAndTheOthersGoOn, though one thread attends to all.
func TestOneConnectionEndsAndTheOthersGoOn(t *testing.T) {
	s := newSite(t, "unix")
	dies := make(chan struct{})
	down := func(n int, to io.Writer, from io.Reader) {
		if n == 1 {
			go func() { <-dies; _ = from.(net.Conn).Close() }()
		}
		pass(n, to, from)
	}
	real := newReal(t)
	d, err := DialAll(within(t), relay(t, s, pass, down), real, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s.real.Do(func() { s.dev.Held = true })
	held := &devices.Request{Op: devices.OpFlush, Conn: 1}
	w := make(waiter, 1)
	real.Do(func() {
		held.Completer = w
		held.Begin(real.Loop().Now())
		d.Submit(held)
	})
	close(dies)
	if r := <-w; r.Errno != devices.ESHUTDOWN {
		t.Errorf("what was in flight on the connection that ended: %v", r.Errno)
	}
	<-d.Conns[1].ended
	s.real.Do(func() { s.dev.Held = false })
	for _, c := range []struct {
		conn uint32
		want devices.Errno
	}{{0, devices.OK}, {1, devices.ESHUTDOWN}, {2, devices.OK}} {
		r := &devices.Request{Op: devices.OpRead, Length: 512, Conn: c.conn}
		do(t, real, d, r)
		if r.Errno != c.want {
			t.Errorf("connection %d: %v, want %v", c.conn, r.Errno, c.want)
		}
	}
}

// noDescriptors calls f while the process may open room more files.
func noDescriptors(t *testing.T, room uint64, f func()) {
	t.Helper()
	var old unix.Rlimit
	next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &old) != nil {
		t.Fatal(err)
	}
	_ = unix.Close(next)
	few := old
	few.Cur = uint64(next) + room
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// TestServerOutlivesAWantOfDescriptors: who comes then waits until there are some.
func TestServerOutlivesAWantOfDescriptors(t *testing.T) {
	s := newSite(t, "unix")
	var c net.Conn
	for end := time.Now().Add(testTimeout); c == nil; {
		noDescriptors(t, 1, func() {
			var err error
			switch c, err = net.Dial(s.uri.Network, s.uri.Address); {
			case err == nil:
				time.Sleep(2 * acceptPause) // accept fails meanwhile
			case !errors.Is(err, syscall.EMFILE) || time.Now().After(end): // what ends after an earlier test may have taken it
				t.Fatal(err)
			}
		})
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	if _, err := io.ReadFull(c, make([]byte, nbd.GreetingSize)); err != nil {
		t.Error(err)
	}
}
