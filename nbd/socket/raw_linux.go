//go:build !portable

package socket

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawSockets is whether sockets of Go's poller are read and written by system calls
// that do not block.
const rawSockets = true

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

// sendBufferOf is how many bytes the kernel holds for u at most.
func sendBufferOf(u *net.UnixConn) (bytes int64) {
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		if err == nil {
			bytes = int64(n)
		}
	})
	return bytes
}

// look notes whether anything has come.
func (in *inputBuffer) look(fd uintptr) bool {
	_, _, err := syscall.Recvfrom(int(fd), in.probe[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	in.arrived = err != syscall.EAGAIN && err != syscall.EINTR
	return true
}

// readFull reads from a socket that does not block until dst is full. Its error is
// EAGAIN if nothing more has come for a while.
func readFull(fd int, dst []byte) (n int, err error) {
	for polls := 0; n < len(dst); {
		k, err := syscall.Read(fd, dst[n:])
		switch {
		case k > 0:
			n, polls = n+k, 0
		case err == nil:
			return n, io.ErrUnexpectedEOF
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EAGAIN):
			return n, err
		default:
			if polls++; polls > pollsForData {
				return n, err
			}
		}
	}
	return n, nil
}

// writev is one attempt after another, until the socket takes no more.
func (q *outQueue) writev(fd uintptr) bool {
	for len(q.rest) > 0 {
		n, err := unix.Writev(int(fd), q.rest)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if q.result = err; err != nil {
			return true
		}
		q.advance(n)
	}
	return true
}

// peerProcess is the process at the other end of a Unix socket, or 0.
func peerProcess(u *net.UnixConn) (pid int) {
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			pid = int(peer.Pid) // 0 is one of another PID namespace
		}
	})
	return pid
}
