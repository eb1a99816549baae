package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/nbd"
)

// bareVariable in the environment makes the test binary the server that a bare is,
// at that socket.
const bareVariable = "BARE_SERVER"

const bareSize = 1 << 30

// bare is the least that a server can do, and so shows what the socket's system
// calls and the client cost: a thread for each connection, which answers from
// memory what it has read, eight replies at a time while requests follow each other
// closely, and looks for a while before it sleeps. It checks nothing and must meet nobody but
// the clients of a benchmark.
type bare struct {
	fd         int
	memory     []byte
	structured bool

	in   []byte // room for what is read
	have []byte // what was, and was not taken yet

	follow  bool // requests do follow each other closely
	replies int
	headers []byte
	pieces  [][]byte
	bytes   int
}

const (
	bareLooks   = 40 // some 10 µs
	bareClosely = 4  // looks: a client could not have answered in between
	bareReplies = 8
	bareBytes   = 64 << 10
)

// startBare starts one in a process of its own.
func startBare(t *testing.T) *server {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	p := start(t, "", "env", bareVariable+"="+socket, os.Args[0])
	p.line() // it listens
	return &server{p, socketURI(socket)}
}

// runBare serves until SIGTERM.
func runBare(path string) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		os.Exit(0)
	}()
	memory, err := unix.Mmap(-1, 0, bareSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(l, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.Listen(l, 16)
	}
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		fd, _, err := unix.Accept(l)
		if err != nil {
			return err
		}
		go func() {
			runtime.LockOSThread()
			defer unix.Close(fd)
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2<<20)
			b := &bare{fd: fd, memory: memory, in: make([]byte, 256<<10), headers: make([]byte, 0, bareReplies*28)}
			if err := b.serve(); !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func (b *bare) serve() error {
	if err := b.shake(); err != nil {
		return err
	}
	for {
		if err := b.need(nbd.RequestSize); err != nil {
			return err
		}
		if err := b.request(); err != nil {
			return err
		}
	}
}

// shake knows GO, and structured replies, of which a READ's costs a client twice the
// system calls.
func (b *bare) shake() error {
	if err := b.write([]byte("NBDMAGICIHAVEOPT\x00\x03")); err != nil { // FIXED_NEWSTYLE, NO_ZEROES
		return err
	}
	if err := b.skip(4); err != nil {
		return err
	}
	for {
		if err := b.need(16); err != nil {
			return err
		}
		option, n := nbd.Option(binary.BigEndian.Uint32(b.have[8:])), int(binary.BigEndian.Uint32(b.have[12:]))
		if err := b.skip(16 + n); err != nil {
			return err
		}
		answer := func(reply nbd.OptionReply, data ...byte) error {
			m := binary.BigEndian.AppendUint64(nil, 0x3e889045565a9)
			for _, v := range []uint32{uint32(option), uint32(reply), uint32(len(data))} {
				m = binary.BigEndian.AppendUint32(m, v)
			}
			return b.write(append(m, data...))
		}
		reply := nbd.RepErrUnsup
		switch option {
		case nbd.OptGo:
			info := binary.BigEndian.AppendUint64([]byte{0, 0}, bareSize)
			flags := nbd.HasFlags | nbd.SendFlush | nbd.SendFUA | nbd.CanMultiConn
			return errors.Join(answer(nbd.RepInfo, binary.BigEndian.AppendUint16(info, uint16(flags))...), answer(nbd.RepAck))
		case nbd.OptStructuredReply:
			b.structured, reply = true, nbd.RepAck
		}
		if err := answer(reply); err != nil {
			return err
		}
	}
}

func (b *bare) skip(n int) error {
	err := b.need(n)
	if err == nil {
		b.have = b.have[n:]
	}
	return err
}

// need reads until n bytes are there.
func (b *bare) need(n int) error {
	if len(b.have) >= n {
		return nil
	}
	w := copy(b.in, b.have)
	k, err := b.read(b.in[w:], n-w)
	b.have = b.in[:w+k]
	return err
}

// read reads least bytes or more.
func (b *bare) read(dst []byte, least int) (n int, err error) {
	for looks := 0; n < least; {
		flags := unix.MSG_DONTWAIT
		if !b.follow || looks > bareLooks {
			if err := b.flush(); err != nil {
				return n, err
			}
		}
		if looks > bareLooks {
			b.follow, flags = false, 0
		}
		k, _, err := unix.Recvfrom(b.fd, dst[n:], flags)
		switch {
		case k > 0:
			b.follow = b.follow || looks <= bareClosely
			n, looks = n+k, 0
		case err == nil:
			return n, io.EOF
		case err == unix.EAGAIN:
			looks++
		case err != unix.EINTR:
			return n, err
		}
	}
	return n, nil
}

// request answers what has been read.
func (b *bare) request() error {
	h := b.have[:nbd.RequestSize]
	op, cookie := devices.Op(binary.BigEndian.Uint16(h[6:])), h[8:16]
	offset, n := binary.BigEndian.Uint64(h[16:]), uint64(binary.BigEndian.Uint32(h[24:]))
	b.have = b.have[nbd.RequestSize:]
	var data []byte
	switch op {
	case devices.OpRead:
		data = b.memory[offset : offset+n]
	case devices.OpWrite:
		dst := b.memory[offset : offset+n]
		k := copy(dst, b.have)
		b.have = b.have[k:]
		if _, err := b.read(dst[k:], len(dst)-k); err != nil {
			return err
		}
	case devices.OpFlush:
	default:
		return io.EOF // DISC
	}
	at := len(b.headers)
	if op == devices.OpRead && b.structured {
		b.headers = binary.BigEndian.AppendUint32(b.headers, 0x668e33ef)
		b.headers = append(binary.BigEndian.AppendUint32(b.headers, 1<<16|1), cookie...) // DONE, OFFSET_DATA
		b.headers = binary.BigEndian.AppendUint32(b.headers, uint32(8+n))
		b.headers = binary.BigEndian.AppendUint64(b.headers, offset)
	} else {
		b.headers = binary.BigEndian.AppendUint32(b.headers, 0x67446698)
		b.headers = append(binary.BigEndian.AppendUint32(b.headers, 0), cookie...)
	}
	b.pieces = append(b.pieces, b.headers[at:], data)
	b.bytes += len(data)
	if b.replies++; b.replies == bareReplies || b.bytes >= bareBytes {
		return b.flush()
	}
	return nil
}

func (b *bare) flush() error {
	err := b.write(b.pieces...)
	b.replies, b.bytes, b.headers, b.pieces = 0, 0, b.headers[:0], b.pieces[:0]
	return err
}

func (b *bare) write(pieces ...[]byte) error {
	for len(pieces) > 0 {
		n, err := unix.Writev(b.fd, pieces)
		if err != nil && err != unix.EINTR {
			return err
		}
		for n = max(n, 0); len(pieces) > 0 && n >= len(pieces[0]); pieces = pieces[1:] {
			n -= len(pieces[0])
		}
		if len(pieces) > 0 {
			pieces[0] = pieces[0][n:]
		}
	}
	return nil
}
