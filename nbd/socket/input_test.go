package socket

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// socketPair is two ends of a Unix socket that Go's poller knows.
func socketPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("unix", l.Addr().String()); err == nil {
		far, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

// Long data comes in pieces, with pauses in which the reader has gone to sleep, and
// after a part that was read with the header before it.
func TestLongDataComesInPieces(t *testing.T) {
	near, far := socketPair(t)
	data := make([]byte, 4*longData)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	go func() {
		defer far.Close()
		rest := data[3:]
		for _, n := range []int{1, longData, 77, 2 * longData, len(rest)} {
			n = min(n, len(rest))
			time.Sleep(2 * time.Millisecond)
			_, _ = far.Write(rest[:n])
			rest = rest[n:]
		}
	}()
	in := newInputBuffer(near, data[:3])
	got := make([]byte, len(data))
	if err := in.full(got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%v, equal %v", err, bytes.Equal(got, data))
	}
	if err := in.need(1); err != io.EOF {
		t.Errorf("after it: %v", err)
	}
}

func TestLongDataThatEndsTooSoon(t *testing.T) {
	near, far := socketPair(t)
	_, _ = far.Write(make([]byte, longData))
	_ = far.Close()
	if err := newInputBuffer(near, nil).full(make([]byte, 2*longData)); err != io.ErrUnexpectedEOF {
		t.Errorf("%v, expected %v", err, io.ErrUnexpectedEOF)
	}
}

// A server that gives up ends its readers by a deadline.
func TestLongDataThatNeverComes(t *testing.T) {
	near, far := socketPair(t)
	_, _ = far.Write(make([]byte, longData))
	_ = near.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if err := newInputBuffer(near, nil).full(make([]byte, 2*longData)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, expected %v", err, os.ErrDeadlineExceeded)
	}
}
