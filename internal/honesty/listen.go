package honesty

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"nbdbench/internal/host"
	"nbdbench/internal/text"
)

// maxConns is how many connections a listener has at a time. A writer that lost its
// power leaves one that does not end by itself: keep-alive ends it.
const maxConns = 16

// ListenerConfig is how a listener works.
type ListenerConfig struct {
	Token     string
	Record    string // the record's file; what is there is added to
	MaxRecord int64  // bytes that it may have
	Report    func(line string)
}

// Listener stores what a writer intends and promises.
type Listener struct {
	config ListenerConfig

	mu     sync.Mutex
	file   *os.File
	size   int64
	writer *conn // the latest one: another one ends it
	conns  map[*conn]bool
	done   sync.WaitGroup
}

// NewListener opens the record, or makes it. Close gives it up.
func NewListener(c ListenerConfig) (*Listener, error) {
	if len(c.Token) < MinToken {
		return nil, fmt.Errorf("expected a token of at least %d bytes", MinToken)
	}
	f, err := os.OpenFile(c.Record, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &Listener{config: c, file: f, conns: map[*conn]bool{}}
	if err := l.begin(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// begin claims the record and checks what it has. A line that was cut off is removed.
func (l *Listener) begin() error {
	name := l.config.Record
	if err := host.Lock(l.file); err != nil {
		return fmt.Errorf("%s: another listener has it: %w", name, err)
	}
	end, err := l.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end == 0 {
		return l.append([]byte(recordHeader + "\n"))
	}
	if _, err := l.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := readRecord(name, lines(l.file), 0); err != nil {
		return err
	}
	for last := make([]byte, 1); ; end-- {
		if _, err := l.file.ReadAt(last, end-1); err != nil {
			return err
		}
		if last[0] == '\n' {
			break
		}
	}
	l.size = end
	return l.file.Truncate(end)
}

// errFull is why a writer is refused.
var errFull = errors.New("the record is full")

// append adds lines to the record.
func (l *Listener) append(b []byte) error {
	if l.size+int64(len(b)) > l.config.MaxRecord {
		return errFull
	}
	n, err := l.file.WriteAt(b, l.size)
	if err != nil {
		return err
	}
	l.size += int64(n)
	return nil
}

// Serve accepts connections until ctx ends.
func (l *Listener) Serve(ctx context.Context, on net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = on.Close() })
	defer stop()
	for {
		nc, err := on.Accept()
		if err != nil {
			l.end()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if t, ok := nc.(*net.TCPConn); ok {
			_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3})
		}
		c := newConn(nc)
		if !l.admit(c) {
			_ = nc.Close()
			continue
		}
		l.done.Go(func() { l.serve(c) })
	}
}

// admit adds a connection, if there may be another.
func (l *Listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == maxConns {
		return false
	}
	l.conns[c] = true
	return true
}

// end ends all connections.
func (l *Listener) end() {
	l.mu.Lock()
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.done.Wait()
}

// Close gives up the record, after Serve.
func (l *Listener) Close() error { return l.file.Close() }

func (l *Listener) serve(c *conn) {
	err := l.talk(c)
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	_ = c.Close()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		l.config.Report(fmt.Sprintf("%s: %s", c.RemoteAddr(), text.Line(err.Error())))
	}
}

// talk is one connection.
func (l *Listener) talk(c *conn) error {
	ch := challenge()
	if err := c.send(hello + " " + ch); err != nil {
		return err
	}
	line, err := c.line(lineTimeout)
	if err != nil {
		return err
	}
	mode, got, _ := strings.Cut(line, " ")
	if mode != modeWrite && mode != modeRead || !hmac.Equal([]byte(got), []byte(proof(l.config.Token, mode, ch))) {
		return l.refuse(c, errors.New("wrong token"))
	}
	if err := c.send(wordOK); err != nil {
		return err
	}
	if mode == modeRead {
		return l.give(c)
	}
	return l.take(c)
}

func (l *Listener) refuse(c *conn, why error) error {
	return errors.Join(why, c.send(wordNo+" "+text.Line(why.Error())))
}

// take stores what a writer sends. A writer before this one is gone: it lost its power,
// or its connection.
func (l *Listener) take(c *conn) error {
	l.mu.Lock()
	if l.writer != nil {
		_ = l.writer.Close()
	}
	l.writer = c
	l.mu.Unlock()
	var b []byte
	var now *session
	for {
		line, err := c.line(0)
		if err != nil {
			return err
		}
		if n, ok := strings.CutPrefix(line, wordSync+" "); ok {
			if _, err := strconv.ParseUint(n, 10, 64); err != nil {
				return l.refuse(c, fmt.Errorf("expected sync N, got %q", text.Line(line)))
			}
			if err := c.send(wordStore + " " + n); err != nil {
				return err
			}
			continue
		}
		e, _, err := parseEvent(line)
		e.at = time.Now().UnixNano()
		switch {
		case err != nil:
		case e.kind == kindStart:
			now = newSession(&e)
			l.config.Report(fmt.Sprintf("%s: session %016x on %s", c.RemoteAddr(), uint64(e.start.session), text.Line(e.start.device)))
		case now == nil:
			err = fmt.Errorf("expected start, got %s", e.kind)
		default:
			err = now.add(&e)
		}
		if err != nil {
			return l.refuse(c, err)
		}
		b = append(strconv.AppendInt(b[:0], e.at, 10), ' ')
		b = append(e.append(b), '\n')
		if err := l.store(c, b); err != nil {
			return l.refuse(c, err)
		}
	}
}

// store adds lines of the writer that is not superseded.
func (l *Listener) store(c *conn, lines []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writer != c {
		return errors.New("another writer has begun")
	}
	return l.append(lines)
}

// give sends the record as it is now.
func (l *Listener) give(c *conn) error {
	l.mu.Lock()
	size := l.size
	l.mu.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return err
	}
	if _, err := io.Copy(c.out, io.NewSectionReader(l.file, 0, size)); err != nil {
		return err
	}
	return c.send(wordEnd)
}
