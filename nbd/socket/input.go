package socket

import (
	"errors"
	"io"
	"syscall"
)

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

// inputBuffer is a socket's buffered input.
type inputBuffer struct {
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

func newInputBuffer(c io.Reader, rest []byte) *inputBuffer {
	in := &inputBuffer{c: c, buf: make([]byte, max(firstBuffer, len(rest))), grow: func() bool { return true }}
	in.w = copy(in.buf, rest)
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); rawSockets && err == nil { // without it nobody spins
			in.raw = raw
		}
		in.peek, in.fill = in.look, in.fillFrom
	}
	return in
}

// ready reports whether a read would not block, without waiting. It reports
// true where it cannot tell.
func (in *inputBuffer) ready() bool {
	return in.w > in.r || in.raw.Read(in.peek) != nil || in.arrived
}

// have is what has been read and not yet taken.
func (in *inputBuffer) have() []byte { return in.buf[in.r:in.w] }

func (in *inputBuffer) take(n int) { in.r += n }

// need reads until at least n bytes are there. n is a header's size. io.EOF
// means that the peer closed between messages.
func (in *inputBuffer) need(n int) error {
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
func (in *inputBuffer) full(dst []byte) error {
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
func (in *inputBuffer) fillFrom(fd uintptr) bool {
	n, err := readFull(int(fd), in.missing)
	in.missing, in.result = in.missing[n:], err
	return !errors.Is(err, syscall.EAGAIN)
}

// into is full for a plain socket that may have no more at present: it says how
// far it came, too.
func (in *inputBuffer) into(dst []byte) (n int, err error) {
	n = copy(dst, in.have())
	in.take(n)
	k, err := io.ReadFull(in.c, dst[n:])
	return n + k, unexpected(err)
}

// longData is what takes its sender long enough to copy that the reader would run
// out of it again and again on the way, and pollsForData how often it then polls
// for more before it goes to sleep: some 25 µs. It is a third more writes of 256
// KiB, at no more processor time for each. For data of 4 KiB it gains nothing.
const (
	longData     = 64 << 10
	pollsForData = 64
)

// discard throws n bytes away.
func (in *inputBuffer) discard(n uint64) error {
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
