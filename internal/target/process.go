package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"nbdbench/internal/fork"
	"nbdbench/internal/host"
	"nbdbench/internal/text"
)

// The bounds of a server's life.
const (
	// StartTimeout is how long a server may take until it is ready.
	StartTimeout = 30 * time.Second
	// StopTimeout is how long it may take to end after SIGTERM.
	StopTimeout = 5 * time.Second
	// pipeTimeout is how long a process outside the group may hold stderr open.
	pipeTimeout = time.Second
	// groupTimeout is how long Stop waits for killed processes to be gone.
	groupTimeout = 500 * time.Millisecond
	readyPause   = 2 * time.Millisecond
	// maxSocket is the longest path of a Unix socket, in bytes.
	maxSocket = 107
	// maxUnixTable bounds what is read of the kernel's table of Unix sockets.
	maxUnixTable = 16 << 20
)

// Server says how a server is started. Nbdkit and Command make it.
type Server struct {
	name    string
	pidFile bool // it is ready when its pidfile is there, and not when it listens
	args    func(socket, pidFile string) []string
	env     func(socket string) []string // nil adds nothing
}

// Missing is the error of a program that is not installed.
type Missing struct {
	Program string
	Err     error
}

func (m *Missing) Error() string { return fmt.Sprintf("%s is not installed: %v", m.Program, m.Err) }

// Unwrap returns why it was not found.
func (m *Missing) Unwrap() error { return m.Err }

// Process is a server that was started. It belongs to one goroutine.
type Process struct {
	name   string
	cmd    *exec.Cmd
	dir    string
	said   tail
	ended  chan struct{} // the program has, and waits to be reaped
	forced bool          // Stop had to send SIGKILL
	socket string
}

// Start starts a server and returns when it is ready. An error leaves nothing of it:
// a *Missing for a program that is not there; one that ended before it was ready
// comes with the end of its stderr, on one line.
func Start(ctx context.Context, s Server) (*Process, error) {
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	p := &Process{name: s.name, dir: dir, socket: filepath.Join(dir, "socket"), ended: make(chan struct{})}
	pidFile := filepath.Join(dir, "pid")
	if err := p.start(s, pidFile); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ready := func() bool { return listens(p.socket) }
	if s.pidFile {
		ready = func() bool { return exists(pidFile) }
	}
	if err := p.await(ctx, ready); err != nil {
		stopped := p.Stop() // so that all is read that it said
		return nil, errors.Join(p.Explain(err), stopped)
	}
	return p, nil
}

// start starts the program, in a process group of its own.
func (p *Process) start(s Server, pidFile string) error {
	args := s.args(p.socket, pidFile)
	path, err := exec.LookPath(args[0])
	if err != nil {
		return &Missing{args[0], errors.Unwrap(err)}
	}
	p.cmd = exec.Command(path, args[1:]...)
	p.cmd.Stderr, p.cmd.WaitDelay = &p.said, pipeTimeout
	p.cmd.SysProcAttr = host.Group(syscall.SIGTERM)
	if s.env != nil {
		p.cmd.Env = append(os.Environ(), s.env(p.socket)...)
	}
	if err := fork.Start(p.cmd); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		host.AwaitEnd(p.cmd.Process.Pid)
		close(p.ended)
	}()
	return nil
}

// await returns when the server is ready.
func (p *Process) await(ctx context.Context, ready func() bool) error {
	limit := time.NewTimer(StartTimeout)
	defer limit.Stop()
	pause := time.NewTicker(readyPause)
	defer pause.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.ended:
			return fmt.Errorf("%s ended before it was ready", p.name)
		case <-limit.C:
			return fmt.Errorf("%s was not ready within %v", p.name, StartTimeout)
		case <-pause.C:
		}
	}
	return nil
}

// Socket is the path of the socket that the server listens on.
func (p *Process) Socket() string { return p.socket }

// Hide removes the server's files, which nobody needs any more once all connections
// are there: then not even SIGKILL to this process leaves them.
func (p *Process) Hide() error { return os.RemoveAll(p.dir) }

// Ended reports whether the server has ended by itself, or does within the time.
func (p *Process) Ended(within time.Duration) bool {
	limit := time.NewTimer(within)
	defer limit.Stop()
	select {
	case <-p.ended:
		return true
	case <-limit.C:
		return false
	}
}

// Stop ends the server and removes its files: SIGTERM, and once it has ended or
// StopTimeout is over, SIGKILL to what is left of its group.
func (p *Process) Stop() error {
	pid := p.cmd.Process.Pid
	_ = host.Signal(p.graceful(pid)) // what has ended cannot be signalled
	p.forced = !p.Ended(StopTimeout)
	_ = host.KillGroup(pid)
	if p.forced && !p.Ended(StopTimeout) {
		return errors.Join(fmt.Errorf("%s, process %d, has not ended %v after SIGKILL", p.name, pid, StopTimeout), p.Hide())
	}
	_ = p.cmd.Wait() // how it ended is said by Explain
	awaitGroup(pid)
	return p.Hide()
}

// awaitGroup returns when the members of a group that was killed are gone, which they
// are soon, or within groupTimeout: who adopts them may not reap them.
func awaitGroup(pgid int) {
	for end := time.Now().Add(groupTimeout); host.GroupExists(pgid) && time.Now().Before(end); {
		time.Sleep(readyPause)
	}
}

// graceful is what gets SIGTERM: nbdkit alone, which ends its own children, and all
// that a shell has started.
func (p *Process) graceful(pid int) int {
	if p.name == "nbdkit" {
		return pid
	}
	return -pid
}

// Explain adds to an error how the server ended, once it was stopped, and the end of
// what it wrote to stderr, on one line and without control characters.
func (p *Process) Explain(err error) error {
	switch state := p.cmd.ProcessState; {
	case p.forced:
		err = fmt.Errorf("%w (%s did not end within %v of SIGTERM)", err, p.name, StopTimeout)
	case state != nil && !stopped(state):
		err = fmt.Errorf("%w (%s: %v)", err, p.name, state)
	}
	if said := p.said.String(); said != "" {
		err = fmt.Errorf("%w; it wrote: %s", err, said)
	}
	return err
}

// stopped reports whether a state is that of a server that Stop has ended.
func stopped(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return s.Success() || ok && w.Signaled() && w.Signal() == syscall.SIGTERM
}

// tempDir makes a directory in which a socket's path is not too long.
func tempDir() (string, error) {
	parent := os.TempDir()
	if len(filepath.Join(parent, "nbdbench0123456789", "socket")) > maxSocket {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "nbdbench")
	if err != nil {
		return "", fmt.Errorf("a directory for the target's socket: %w", err)
	}
	return dir, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// listens reports whether a server accepts connections at a Unix socket. The kernel's
// table says it without a connection, which a server for one client alone would take
// for its client's. A socket of another network namespace is not in the table: it is
// connected to.
func listens(path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	if listed, accepts := inTable(path); listed {
		return accepts
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// inTable looks a Unix socket up in /proc/net/unix, and there for __SO_ACCEPTCON.
func inTable(path string) (listed, accepts bool) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return false, false
	}
	defer f.Close()
	table, err := io.ReadAll(io.LimitReader(f, maxUnixTable))
	if err != nil {
		return false, false
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) == 8 && f[7] == path {
			listed, accepts = true, accepts || f[3] == "00010000"
		}
	}
	return listed, accepts
}

// maxSaid is how much of the end of a server's stderr is kept, in bytes.
const maxSaid = 1 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
	cut  bool
}

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b[max(0, len(b)-maxSaid):]...)
	t.cut = t.cut || len(b) > maxSaid
	if over := len(t.kept) - maxSaid; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	return len(b), nil
}

// String is the end of what was written, escaped, its lines joined by semicolons.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(string(t.kept)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, text.Line(line))
		}
	}
	all := strings.Join(lines, "; ")
	if t.cut {
		all = "..." + all
	}
	return all
}
