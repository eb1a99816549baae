package honesty

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"nbdbench/internal/text"
)

// The protocol's words.
const (
	hello     = "nbdbench-honesty 1"
	modeWrite = "write"
	modeRead  = "read"
	wordOK    = "ok"
	wordNo    = "no"
	wordEnd   = "end"
	wordSync  = "sync"
	wordStore = "stored"
)

// MinToken is the shortest token, in bytes.
const MinToken = 8

// The times of a connection.
const (
	dialTimeout = 10 * time.Second
	lineTimeout = 30 * time.Second // to answer; a writer may be silent for longer between two lines
)

// conn is either end of the protocol.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

func newConn(c net.Conn) *conn {
	return &conn{c, bufio.NewReaderSize(c, MaxLine), bufio.NewWriterSize(c, 64<<10)}
}

// line reads a line, which is to come within d; 0 is any time.
func (c *conn) line(d time.Duration) (string, error) {
	var end time.Time
	if d > 0 {
		end = time.Now().Add(d)
	}
	if err := c.SetReadDeadline(end); err != nil {
		return "", err
	}
	return readLine(c.in)
}

// send writes a line, and what was written before it, at once.
func (c *conn) send(line string) error {
	_, _ = c.out.WriteString(line + "\n") // a failure stays, and flush returns it
	return c.flush()
}

// flush sends what was written.
func (c *conn) flush() error {
	if err := c.SetWriteDeadline(time.Now().Add(lineTimeout)); err != nil {
		return err
	}
	return c.out.Flush()
}

// proof shows that its maker knows the token.
func proof(token, mode, challenge string) string {
	m := hmac.New(sha256.New, []byte(token))
	_, _ = m.Write([]byte(mode + " " + challenge)) // a hash does not fail
	return hex.EncodeToString(m.Sum(nil))
}

// challenge is one that nobody can foresee.
func challenge() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it does not fail, as its documentation says
	return hex.EncodeToString(b)
}

// dial connects to a listener for a mode.
func dial(ctx context.Context, address, token, mode string) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := newConn(nc)
	if err := c.greet(token, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("the listener at %s: %w", address, err), c.Close())
	}
	return c, nil
}

func (c *conn) greet(token, mode string) error {
	line, err := c.line(lineTimeout)
	if err != nil {
		return err
	}
	ch, ok := strings.CutPrefix(line, hello+" ")
	if !ok {
		return fmt.Errorf("expected %q, got %q", hello, text.Line(line))
	}
	if err := c.send(mode + " " + proof(token, mode, ch)); err != nil {
		return err
	}
	return c.ok()
}

// ok waits for it.
func (c *conn) ok() error {
	line, err := c.line(lineTimeout)
	switch {
	case err != nil:
		return err
	case line == wordOK:
		return nil
	}
	if why, ok := strings.CutPrefix(line, wordNo+" "); ok {
		return fmt.Errorf("refused: %s", text.Line(why))
	}
	return fmt.Errorf("expected ok, got %q", text.Line(line))
}
