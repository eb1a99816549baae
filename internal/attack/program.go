package attack

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/nbd/socket"
)

// Program is `nbdbench serve` in a process of its own, as an operator sees it.
type Program struct {
	URI socket.URI

	cmd     *exec.Cmd
	group   *group // nil if there is none
	control string
	stderr  *lockedBuffer
	ended   chan struct{}
	status  error // once ended
}

// lockedBuffer is what a process has written so far.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Serve starts the program in a memory cgroup of so many bytes, where that can be
// made; 0 is none. dir is for its control socket.
func Serve(binary, dir string, memory int64, args ...string) (*Program, error) {
	p := &Program{control: filepath.Join(dir, "control"), stderr: &lockedBuffer{}, ended: make(chan struct{})}
	args = append([]string{"serve", "--control", p.control}, args...)
	p.cmd = exec.Command(binary, args...)
	if memory > 0 {
		if p.group = newGroup(memory); p.group != nil { // the shell enters it and becomes the program
			script := `echo $$ > "$0" && exec "$@"`
			p.cmd = exec.Command("sh", append([]string{"-c", script, p.group.procs(), binary}, args...)...)
		}
	}
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		p.status = p.cmd.Wait()
		close(p.ended)
	}()
	if err == nil {
		p.URI, err = socket.ParseURI(strings.TrimSuffix(line, "\n"))
	}
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("serve %v: %w: %s", args, err, p.Stderr())
	}
	return p, nil
}

// Stderr is what the program has said.
func (p *Program) Stderr() string { return p.stderr.String() }

// Stop has the program drain, and returns its exit status.
func (p *Program) Stop() error {
	_ = p.cmd.Process.Signal(unix.SIGTERM)
	<-p.ended
	p.group.remove()
	return p.status
}

// Kill ends the program at once.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.group.remove()
}

// Usage is what a program takes at an instant.
type Usage struct {
	RSS, Peak   int64 // bytes resident, and the most there were
	Descriptors int
	Goroutines  int // as the program says, like the rest
	Connections int
	Held        int64 // bytes held for clients
	Limit       int64
}

func (u Usage) String() string {
	return fmt.Sprintf("%d MiB resident (peak %d), %d MiB held of %d, %d connections, %d goroutines, %d descriptors",
		u.RSS>>20, u.Peak>>20, u.Held>>20, u.Limit>>20, u.Connections, u.Goroutines, u.Descriptors)
}

// Usage looks at /proc and asks the control socket.
func (p *Program) Usage() (u Usage, err error) {
	if u.RSS, u.Peak, err = p.resident(); err != nil {
		return u, err
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	u.Descriptors = len(fds)
	var answer struct {
		Process struct {
			Goroutines  int   `json:"goroutines"`
			Connections int   `json:"connections"`
			Held        int64 `json:"held_bytes"`
			Limit       int64 `json:"memory_limit_bytes"`
		} `json:"process"`
	}
	if err := p.Command("stats", &answer); err != nil {
		return u, err
	}
	x := answer.Process
	u.Goroutines, u.Connections, u.Held, u.Limit = x.Goroutines, x.Connections, x.Held, x.Limit
	return u, nil
}

// resident reads VmRSS and VmHWM of proc(5).
func (p *Program) resident() (now, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			peak = n << 10
		}
	}
	if err == nil && now == 0 {
		err = fmt.Errorf("no VmRSS of process %d", p.cmd.Process.Pid)
	}
	return now, peak, err
}

// commandTimeout is how long the control socket may take.
const commandTimeout = 10 * time.Second

// Command sends a line to the control socket and reads the answer.
func (p *Program) Command(line string, answer any) error {
	conn, err := net.DialTimeout("unix", p.control, commandTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(commandTimeout))
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return err
	}
	return json.NewDecoder(conn).Decode(answer)
}
