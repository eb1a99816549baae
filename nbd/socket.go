package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// NegotiationTimeout is how long the whole handshake may take, at either end,
// and for a client that lists exports a second more for each, as it asks about
// every one. A client that dawdles longer is disconnected, also if its next
// option takes that long.
const NegotiationTimeout = 30 * time.Second

// exportsPerTimeout is how many listed exports make a handshake's time longer by
// what it is for a client that lists none.
const exportsPerTimeout = 30

// handshakeTime is how long a handshake may take.
type handshakeTime struct{ basic time.Duration }

// until is when a handshake ends that began at this time, has taken its last
// step at another, and in which so many exports were listed.
func (t handshakeTime) until(began, stepped time.Time, listed int) time.Time {
	end := began.Add(t.basic + t.basic*time.Duration(listed)/exportsPerTimeout)
	if next := stepped.Add(t.basic); next.Before(end) {
		return next
	}
	return end
}

// readBuffer is how much a socket's reader takes by one system call: some 60
// writes of 4 KiB or thousands of headers. It begins with firstBuffer, which costs
// little for ten thousand idle connections and leaves the data of a long WRITE in
// the socket until it can be read to its place; it grows once that was filled
// with several messages.
const (
	readBuffer  = 256 << 10
	firstBuffer = 16 << 10
)

// manyMessages in a read that left no room make the next one longer.
const manyMessages = 2

// Listen listens where u says, and returns u with the port that was taken if it
// asked for port 0. The socket file of a server that is gone is replaced.
func Listen(u URI) (net.Listener, URI, error) {
	l, err := listenAt(u)
	if errors.Is(err, syscall.EADDRINUSE) && u.Network == "unix" && abandoned(u.Address) {
		if err = os.Remove(u.Address); err == nil {
			l, err = listenAt(u)
		}
	}
	if err != nil {
		return nil, u, fmt.Errorf("listen on %v: %w", u, err)
	}
	if u.Network != "unix" {
		u.Address = addressOf(l.Addr())
	}
	return l, u, nil
}

func listenAt(u URI) (net.Listener, error) {
	if u.Network == "vsock" {
		return listenVsock(u)
	}
	return net.Listen(family(u), u.Address)
}

// family is the network of an address to listen at: that of IPv4 alone for an IPv4
// address. Go takes 0.0.0.0 for all addresses of IPv6, too.
func family(u URI) string {
	host, _, err := net.SplitHostPort(u.Address)
	if ip, bad := netip.ParseAddr(host); u.Network == "tcp" && err == nil && bad == nil && ip.Is4() {
		return "tcp4"
	}
	return u.Network
}

// abandoned reports whether path is a socket at which nobody listens.
func abandoned(path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// sendBuffer is what a Unix socket is asked to hold of what its reader has not
// taken, so that a request or reply of 256 KiB goes out in one piece. Linux gives
// twice what net.core.wmem_max allows, which is 208 KiB if nobody has set it.
const sendBuffer = 2 << 20

// widen has a Unix socket hold more; TCP adapts by itself.
func widen(c net.Conn) {
	if u, ok := c.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(sendBuffer) // less is slower, and no more
	}
}

func connect(ctx context.Context, u URI) (net.Conn, error) {
	if u.Network == "vsock" {
		return dialVsock(u)
	}
	var d net.Dialer // it sets TCP_NODELAY
	c, err := d.DialContext(ctx, u.Network, u.Address)
	if err == nil {
		widen(c)
	}
	return c, err
}

// engine is either end of the negotiation.
type engine interface {
	Feed(b []byte)
	Output() []byte
	Done() bool
	Err() error
	Rest() []byte
	Upgrade() (rest []byte, ok bool)
	Secured()
	progress() (steps, listed int)
	// work is what the next step waits for: it is to be done without the loop, and
	// before Feed. It is nil if there is nothing.
	work() func(context.Context)
}

// shake runs a handshake over a socket. own runs what touches a device, secure
// is this end's part of TLS. stream is what to go on with in place of c.
func shake(ctx context.Context, c net.Conn, h engine, most handshakeTime, own func(func()), secure func(net.Conn) *tls.Conn) (stream net.Conn, rest []byte, err error) {
	began := time.Now()
	_ = c.SetDeadline(most.until(began, began, 0))
	stream = c
	b := make([]byte, 1024)
	for steps := 0; ; {
		if out := h.Output(); len(out) > 0 {
			if _, err := stream.Write(out); err != nil {
				return stream, nil, err
			}
			own(func() { h.Feed(nil) }) // with what it has left for later
			continue
		}
		if h.Done() {
			break
		}
		if work := h.work(); work != nil {
			from := time.Now()
			work(ctx)
			if ctx.Err() != nil {
				return stream, nil, net.ErrClosed
			}
			began = began.Add(time.Since(from)) // the peer is not to blame for it
			_ = c.SetDeadline(most.until(began, time.Now(), 0))
			own(func() { h.Feed(nil) })
			continue
		}
		if n, listed := h.progress(); n > steps {
			steps = n
			_ = c.SetDeadline(most.until(began, time.Now(), listed))
		}
		if rest, ok := h.Upgrade(); ok {
			t := secure(&prefixed{c, rest})
			if err := t.Handshake(); err != nil {
				return stream, nil, &tlsError{err}
			}
			stream = t
			own(h.Secured)
			continue
		}
		acknowledge(c)
		n, err := stream.Read(b)
		if err != nil {
			return stream, nil, unexpected(err)
		}
		own(func() { h.Feed(b[:n]) })
	}
	_ = c.SetDeadline(time.Time{})
	return stream, h.Rest(), h.Err()
}

// acknowledge has Linux acknowledge what comes next over TCP at once, and not
// after up to 40 ms: so long a client that sends the two parts of an option one by
// one, as QEMU and libnbd do, waits before the second. Linux forgets it again.
func acknowledge(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := t.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // without it is slower, and no more
		})
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// intake is a socket's buffered input.
type intake struct {
	c    io.Reader
	buf  []byte
	r, w int

	filled bool        // the last read left no room
	many   bool        // and brought several messages: a longer one would bring more
	grow   func() bool // reports whether there is memory for a longer buffer

	raw     rawReader // nil if c is no socket of its own
	peek    func(fd uintptr) bool
	probe   [1]byte
	arrived bool

	fill    func(fd uintptr) bool
	missing []byte // what it is to fill
	result  error
}

// rawReader calls f with a socket's descriptor until it reports true, and waits
// for data in between.
type rawReader interface {
	Read(f func(fd uintptr) bool) error
}

func newIntake(c io.Reader, rest []byte) *intake {
	in := &intake{c: c, buf: make([]byte, max(firstBuffer, len(rest))), grow: func() bool { return true }}
	in.w = copy(in.buf, rest)
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil { // without it nobody spins
			in.raw = raw
		}
		in.peek, in.fill = in.look, in.fillFrom
	}
	return in
}

// ready reports whether a read would not block, without waiting. It reports
// true where it cannot tell.
func (in *intake) ready() bool {
	return in.w > in.r || in.raw.Read(in.peek) != nil || in.arrived
}

// look notes whether anything has come.
func (in *intake) look(fd uintptr) bool {
	_, _, err := syscall.Recvfrom(int(fd), in.probe[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	in.arrived = err != syscall.EAGAIN && err != syscall.EINTR
	return true
}

// have is what has been read and not yet taken.
func (in *intake) have() []byte { return in.buf[in.r:in.w] }

func (in *intake) take(n int) { in.r += n }

// need reads until at least n bytes are there. n is a header's size. io.EOF
// means that the peer closed between messages.
func (in *intake) need(n int) error {
	for in.w-in.r < n {
		if in.r > 0 {
			in.w = copy(in.buf, in.buf[in.r:in.w])
			in.r = 0
		}
		if in.many && len(in.buf) < readBuffer && in.grow() {
			in.buf = append(make([]byte, 0, readBuffer), in.buf...)[:readBuffer]
		}
		k, err := in.c.Read(in.buf[in.w:])
		in.w += k
		in.filled = in.w == len(in.buf)
		if err != nil && in.w < n {
			if in.w > 0 {
				err = unexpected(err)
			}
			return err
		}
	}
	return nil
}

// full fills dst, first from what is there.
func (in *intake) full(dst []byte) error {
	if in.raw == nil || len(dst)-len(in.have()) < longData {
		_, err := in.into(dst)
		return err
	}
	n := copy(dst, in.have())
	in.take(n)
	in.missing, in.result = dst[n:], nil
	err := in.raw.Read(in.fill)
	in.missing = nil
	if err == nil {
		err = in.result
	}
	return err
}

// fillFrom fills what is missing. It reports false if that takes its time.
func (in *intake) fillFrom(fd uintptr) bool {
	n, err := pour(int(fd), in.missing)
	in.missing, in.result = in.missing[n:], err
	return !errors.Is(err, syscall.EAGAIN)
}

// into is full for a plain socket that may have no more at present: it says how
// far it came, too.
func (in *intake) into(dst []byte) (n int, err error) {
	n = copy(dst, in.have())
	in.take(n)
	k, err := io.ReadFull(in.c, dst[n:])
	return n + k, unexpected(err)
}

// longData is what takes its sender long enough to copy that the reader would run
// out of it again and again on the way, and looksForData how often it then looks
// for more before it goes to sleep: some 25 µs. It is a third more writes of 256
// KiB, at no more processor time for each. For data of 4 KiB it gains nothing.
const (
	longData     = 64 << 10
	looksForData = 64
)

// pour reads from a socket that does not block until dst is full. Its error is
// EAGAIN if nothing more has come for a while.
func pour(fd int, dst []byte) (n int, err error) {
	for looks := 0; n < len(dst); {
		k, err := syscall.Read(fd, dst[n:])
		switch {
		case k > 0:
			n, looks = n+k, 0
		case err == nil:
			return n, io.ErrUnexpectedEOF
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EAGAIN):
			return n, err
		default:
			if looks++; looks > looksForData {
				return n, err
			}
		}
	}
	return n, nil
}

// discard throws n bytes away.
func (in *intake) discard(n uint64) error {
	for n > 0 {
		k := min(n, uint64(in.w-in.r))
		in.take(int(k))
		if n -= k; n > 0 {
			if err := in.need(1); err != nil {
				return unexpected(err)
			}
		}
	}
	return nil
}
