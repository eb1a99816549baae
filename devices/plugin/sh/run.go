package sh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"nbdbench/internal/fork"
	"nbdbench/internal/host"
)

// shell runs a file that is executable and has no interpreter of its own, as
// execvp(3) has it.
const shell = "/bin/sh"

// process is one run of a script.
type process struct {
	argv   []string // from the method on
	input  []byte   // its stdin
	output output   // its stdout
	errors output   // its stderr, up to MaxAnswer bytes

	state *os.ProcessState
}

// maxExcess is how many bytes more than there is room for are read of an answer, to say
// how many they are.
const maxExcess = 1 << 20

// output takes what a script prints: into b as far as that goes. The rest is read and
// counted.
type output struct {
	b    []byte
	n    uint64 // bytes in all
	over bool   // closed after maxExcess
}

// kept is what was printed, without what was too much.
func (o *output) kept() []byte { return o.b[:min(o.n, uint64(len(o.b)))] }

// excess reports whether more was printed than b has room for.
func (o *output) excess() bool { return o.n > uint64(len(o.b)) }

// answer reads an answer until its end or a deadline. One that is far too long is not
// read to its end.
func (o *output) answer(f *os.File) {
	if len(o.b) == 0 {
		o.drain(f)
		return
	}
	o.drain(io.LimitReader(f, int64(len(o.b)+maxExcess)))
	if o.over = o.n == uint64(len(o.b)+maxExcess); o.over {
		_ = f.Close()
	}
}

// drain reads until the end of r, or a deadline.
func (o *output) drain(r io.Reader) {
	n, err := io.ReadFull(r, o.b)
	if o.n = uint64(n); err == nil {
		rest, _ := io.Copy(io.Discard, r)
		o.n += uint64(rest)
	}
}

// pipes are a script's stdin, stdout and stderr. Without input its stdin is empty.
type pipes struct{ child, parent [3]*os.File }

func (p *pipes) open(input bool) (err error) {
	for i := range p.child {
		switch {
		case i > 0:
			p.parent[i], p.child[i], err = os.Pipe()
		case input:
			p.child[i], p.parent[i], err = os.Pipe()
		default:
			p.child[i], err = os.Open(os.DevNull)
		}
		if err != nil {
			closeAll(&p.child)
			closeAll(&p.parent)
			return err
		}
	}
	return nil
}

// unblock ends all reads and writes of the parent's ends.
func (p *pipes) unblock() {
	for _, f := range p.parent {
		if f != nil {
			_ = f.SetDeadline(time.Unix(1, 0))
		}
	}
}

func closeAll(files *[3]*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// run runs the process until it has ended and its stdout and stderr are closed, which
// another process of it may keep open. The error is that it could not be started, or
// that ctx ended, upon which its process group was killed.
func (p *process) run(ctx context.Context, path string, env []string) error {
	if err := ctx.Err(); err != nil {
		return errKilled
	}
	var fds pipes
	if err := fds.open(len(p.input) > 0); err != nil {
		return err
	}
	defer closeAll(&fds.parent)
	c, err := p.start(&fds, path, env)
	closeAll(&fds.child)
	if err != nil {
		return err
	}
	pid, dead := c.Process.Pid, make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = host.KillGroup(pid)
		fds.unblock() // a process that has left the group may keep them open
		close(dead)
	})
	p.talk(&fds)
	host.AwaitEnd(pid) // until it is reaped, pid is its own
	late := !stop()
	if late {
		<-dead
	}
	_ = c.Wait() // what state says is better
	p.state = c.ProcessState
	if late {
		return errKilled
	}
	return nil
}

// errKilled is the error of a process whose group was killed because its context
// ended, which it does at the call's deadline, or with the server.
var errKilled = errors.New("did not end in time, and its process group was killed")

// start starts it in a process group of its own.
func (p *process) start(fds *pipes, path string, env []string) (*exec.Cmd, error) {
	argv := append([]string{path}, p.argv...)
	c := command(fds, path, argv, env)
	err := fork.Start(c)
	if errors.Is(err, syscall.ENOEXEC) {
		c = command(fds, shell, append([]string{shell}, argv...), env)
		err = fork.Start(c)
	}
	return c, err
}

func command(fds *pipes, path string, argv, env []string) *exec.Cmd {
	return &exec.Cmd{
		Path: path, Args: argv, Env: env, Stdin: fds.child[0], Stdout: fds.child[1], Stderr: fds.child[2],
		SysProcAttr: host.Group(syscall.SIGKILL),
	}
}

// talk writes the input and reads the output until the script has closed it. A script
// that does not read its input is no error, as under nbdkit.
func (p *process) talk(fds *pipes) {
	wrote, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(wrote)
		if in := fds.parent[0]; in != nil {
			_, _ = io.Copy(in, bytes.NewReader(p.input))
			_ = in.Close()
		}
	}()
	go func() {
		defer close(read)
		p.errors.drain(fds.parent[2])
	}()
	p.output.answer(fds.parent[1])
	<-read
	if in := fds.parent[0]; in != nil {
		_ = in.SetDeadline(time.Unix(1, 0)) // nbdkit does not wait for it either
	}
	<-wrote
}
