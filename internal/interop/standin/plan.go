package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// block is the logical block of serve's devices, of which a size is a multiple.
const block = 512

// maxPattern bounds a file that is made for a plugin's content.
const maxPattern = 256 << 20

// export is one export: a device's content and what it advertises.
type export struct {
	name  string
	size  int64  // 0 is that of the device
	image string // a file with the content, or empty
	// What a profile takes away from ram, which advertises all.
	noFlush, noFUA, noTrim, noZero, rotational bool
}

// plan is what a command line comes to.
type plan struct {
	dir     string // for files of this run
	environ []string
	exports []export

	unix, host, port string // where to listen; none of them is stdin
	activated        bool   // sockets come from LISTEN_FDS
	readOnly         bool
	delay            string
	cert, key, ca    string
	tls              string // require, allow or off, as serve has it

	quiet      bool // what serve says would be in the output that a suite compares
	pidFile    string
	background bool   // return once it listens
	command    string // nbdkit's --run
}

// device writes an export's profile, and names it for serve.
func (p *plan) device(x export) (string, error) {
	if !x.noFlush && !x.noFUA && !x.noTrim && !x.noZero && !x.rotational {
		return "ram", nil
	}
	fua := "native"
	if x.noFUA {
		fua = "none"
	}
	path := filepath.Join(p.dir, "device"+x.name+".yaml")
	text := fmt.Sprintf("extends: ram\nname: standin\nadvertise: {flush: %v, fua: %s, trim: %v, write_zeroes: %v, rotational: %v}\n",
		!x.noFlush, fua, !x.noTrim, !x.noZero, x.rotational)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// listen is the URI of serve's --listen.
func (p *plan) listen() string {
	scheme := "nbd"
	if p.cert != "" && p.tls != "allow" {
		scheme = "nbds"
	}
	if p.port != "" {
		return scheme + "://" + net.JoinHostPort(p.host, p.port) + "/" + p.exports[0].name
	}
	return scheme + "+unix:///" + p.exports[0].name + "?socket=" + p.unix
}

// args is serve's command line.
func (p *plan) args() ([]string, error) {
	if len(p.exports) == 0 {
		return nil, refusal("a server without an export")
	}
	args := []string{"serve"}
	for i, x := range p.exports {
		if x.size%block != 0 {
			return nil, refusal("a size that is no multiple of 512 bytes")
		}
		device, err := p.device(x)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			args = append(args, "--export", x.name+"="+device)
			continue
		}
		args = append(args, device, "--listen", p.listen())
		if x.size > 0 {
			args = append(args, "--size", strconv.FormatInt(x.size, 10))
		}
		if x.image != "" {
			args = append(args, "--image", x.image)
		}
	}
	for flag, value := range map[string]string{"--delay": p.delay, "--tls-cert": p.cert, "--tls-key": p.key, "--tls-ca": p.ca, "--tls": p.tls} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	if p.readOnly {
		args = append(args, "--read-only")
	}
	return args, nil
}

// run serves as planned and returns the exit code.
func (p *plan) run() (int, error) {
	stdio := p.unix == "" && p.port == "" && !p.activated
	if stdio || p.unix == "-" {
		p.unix = filepath.Join(p.dir, "socket")
	}
	if p.unix != "" && !stdio && p.command == "" {
		_ = os.Remove(p.unix) // left by a server that was killed
	}
	args, err := p.args()
	if err != nil {
		return 1, err
	}
	if p.activated {
		if p.exports[0].name != "" {
			return 1, refusal("a name for the export on sockets that it is started with")
		}
		args = dropListen(args)
		path := os.Getenv("STANDIN_SERVE")
		// serve takes the place of this process, whose number LISTEN_PID has.
		return 1, syscall.Exec(path, append([]string{path}, args...), p.environ)
	}
	c, err := p.start(args)
	if err != nil {
		return 1, err
	}
	if p.background {
		return 0, p.writePID(c.Process.Pid)
	}
	if err := p.writePID(os.Getpid()); err != nil {
		return 1, err
	}
	defer func() { _ = c.Wait() }() // this process's code says how it went
	defer func() { _ = c.Process.Signal(syscall.SIGTERM) }()
	switch {
	case stdio:
		return 0, p.copy()
	case p.command != "":
		return p.runCommand()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	<-signals
	return 0, nil
}

// dropListen removes --listen and its URI: the sockets are there.
func dropListen(args []string) []string {
	i := slices.Index(args, "--listen")
	return slices.Delete(args, i, i+2)
}

// start starts serve and waits until it listens.
func (p *plan) start(args []string) (*exec.Cmd, error) {
	c := exec.Command(os.Getenv("STANDIN_SERVE"), args...)
	c.Env, c.Stderr = p.environ, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.quiet {
		c.Stderr = nil
	}
	if p.background {
		c.Stderr, c.SysProcAttr = nil, &syscall.SysProcAttr{Setsid: true}
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		_ = c.Wait() // what it said is on stderr
		return nil, fmt.Errorf("nbdbench %s: expected a URI, got %q", strings.Join(args, " "), line)
	}
	return c, nil
}

// writePID signals that the server listens, as these servers do.
func (p *plan) writePID(pid int) error {
	if p.pidFile == "" {
		return nil
	}
	return os.WriteFile(p.pidFile, fmt.Appendf(nil, "%d\n", pid), 0o600)
}

// copy passes one connection on stdin and stdout to serve, until either ends it.
func (p *plan) copy() error {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: p.unix, Net: "unix"})
	if err != nil {
		return err
	}
	defer c.Close()
	go func() {
		_, _ = io.Copy(c, os.Stdin) // its end is the client's
		_ = c.CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, c)
	return nil
}

// runCommand runs a command with nbdkit's variables, and returns its code.
func (p *plan) runCommand() (int, error) {
	c := exec.Command("sh", "-c", p.command)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(slices.Clone(p.environ), "unixsocket="+p.unix, "port="+p.port, "uri="+p.listen())
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	return c.ProcessState.ExitCode(), nil
}

// pattern makes the content of nbdkit's pattern plugin: each 8 bytes are their offset.
func (p *plan) pattern(size int64) (string, error) {
	if size > maxPattern || size%8 != 0 {
		return "", refusal(fmt.Sprintf("a pattern of %d bytes", size))
	}
	data := make([]byte, size)
	for at := int64(0); at < size; at += 8 {
		binary.BigEndian.PutUint64(data[at:], uint64(at))
	}
	path := filepath.Join(p.dir, "pattern")
	return path, os.WriteFile(path, data, 0o600)
}

// listenFDs reports whether sockets come from whoever started this process.
func listenFDs() bool { return os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) }

// file makes an existing file the content of an export.
func file(name, path string) (export, error) {
	info, err := os.Stat(path)
	if err != nil {
		return export{}, err
	}
	if !info.Mode().IsRegular() {
		return export{}, refusal("an export of " + path)
	}
	return export{name: name, image: path, size: info.Size()}, nil
}
