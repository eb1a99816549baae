package torture

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxAcks bounds the acknowledgements of a run, in bytes.
const maxAcks = 256 << 20

// channel is the FIFO on which a program acknowledges. Opened for writing too, it has
// no end when the program restarts.
type channel struct {
	path  string
	fifo  *os.File
	begun time.Time
	news  chan struct{} // has something if acknowledgements have come

	mu      sync.Mutex
	journal journal
	buf     [64 << 10]byte
	err     error
}

// newChannel makes the FIFO and reads it until close.
func newChannel(path string) (*channel, error) {
	if err := unix.Mkfifo(path, 0o666); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // past the umask: a daemon has a user of its own
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	c := &channel{path: path, fifo: f, begun: time.Now(), news: make(chan struct{}, 1)}
	go c.follow()
	return c, nil
}

// close ends the reading.
func (c *channel) close() error { return c.fifo.Close() }

// follow reads until the FIFO is closed. What has been read is in the journal before
// anybody else reads.
func (c *channel) follow() {
	raw, err := c.fifo.SyscallConn()
	for err == nil {
		err = raw.Read(func(fd uintptr) bool { return c.take(int(fd)) })
	}
}

// take reads what there is, and reports whether there was anything or an error.
func (c *channel) take(fd int) (any bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil {
		n, err := unix.Read(fd, c.buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN) || n <= 0 && err == nil:
			return any
		case err != nil:
			c.err = fmt.Errorf("reading acknowledgements: %w", err)
		case len(c.journal.data)+n > maxAcks:
			c.err = fmt.Errorf("more than %d bytes of acknowledgements: expected fewer, or shorter ones", maxAcks)
		default:
			c.journal.add(c.buf[:n], time.Since(c.begun))
			any = true
			select {
			case c.news <- struct{}{}:
			default:
			}
		}
	}
	return true
}

// drain reads what has been written by now, and returns the journal and the instant.
func (c *channel) drain() (journal, time.Duration, error) {
	raw, err := c.fifo.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { c.take(int(fd)) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.journal.clone(), time.Since(c.begun), errors.Join(err, c.err)
}
