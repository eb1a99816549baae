//go:build !linux || portable

package socket

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// The portable form leaves every socket to Go's poller, and what it does not take at
// once to the connection's writer. The tag portable has Linux use it too, for tests.

// rawSockets is whether sockets of Go's poller are read and written by system calls
// that do not block.
const rawSockets = false

func acknowledge(net.Conn) {}

// sendBufferOf is what u was asked to hold.
func sendBufferOf(*net.UnixConn) int64 { return sendBuffer }

func (in *inputBuffer) look(uintptr) bool { return true }

func readFull(int, []byte) (int, error) { return 0, syscall.EAGAIN }

func (q *outQueue) writev(uintptr) bool {
	q.result = syscall.EAGAIN
	return true
}

// peerProcess does not know.
func peerProcess(*net.UnixConn) int { return 0 }

// plainSocket is for Linux: plainOf returns none.
type plainSocket struct{ fd int }

func plainOf(net.Conn) *plainSocket { return nil }

func (p *plainSocket) Read([]byte) (int, error) { return 0, net.ErrClosed }

func (p *plainSocket) Write(func(fd uintptr) bool) error { return net.ErrClosed }

func (p *plainSocket) Close() error { return net.ErrClosed }

func (p *plainSocket) release() {}

func (p *plainSocket) endReads() {}

func (p *plainSocket) pollable() (net.Conn, error) { return nil, errors.ErrUnsupported }

func (p *plainSocket) waitForData(time.Duration, bool) bool { return true }

// blockingWriter is for Linux.
type blockingWriter struct{ *plainSocket }

func (blockingWriter) Write([]byte) (int, error) { return 0, net.ErrClosed }

// pollClients is for plain sockets, of which there are none.
func pollClients([]*ClientConn) {}
