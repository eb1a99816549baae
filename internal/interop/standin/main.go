// Standin runs nbdbench serve under the names of other NBD servers, so that
// the test suites of those servers and of their clients run against it.
//
// Its first argument names the server, the others are that server's. Scripts
// named nbdkit, nbd-server and qemu-nbd, in a folder that comes first on PATH,
// call it so. It reads the command line as far as suites use it, and starts
// serve with what means the same:
//
//	nbdkit -s memory size=1m          serve ram --size 1MiB, its connection on stdin and stdout
//	qemu-nbd -t -k SOCKET -f raw FILE serve ram --image FILE --listen nbd+unix:///?socket=SOCKET
//	nbd-server -C FILE -p PIDFILE     each export of FILE, in the background
//
// What serve does not have, such as TLS by a shared key or a plugin that is a
// script, is not imitated: Standin says so on stderr and in STANDIN_LOG, one
// line each, and exits with 1. Whoever counts the suite's failures takes these
// off. Questions about the program (--version, --dump-plugin) go to the real
// one, in STANDIN_REAL.
//
// The environment says where things are: STANDIN_SERVE is nbdbench, STANDIN_REAL
// the folder of the real programs, STANDIN_LOG the log of refusals.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// refusal is what a suite asks for and serve does not have.
type refusal string

func (r refusal) Error() string { return "serve does not have " + string(r) }

// errReal asks for the real program, for a question about it.
var errReal = errors.New("ask the real program")

// parsers read the command line of each server that is stood in for.
var parsers = map[string]func(p *plan, args []string) error{
	"nbdkit":     parseNbdkit,
	"nbd-server": parseNbdServer,
	"qemu-nbd":   parseQemuNBD,
}

func main() {
	runtime.LockOSThread() // a child ends with the thread that started it
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: standin nbdkit|nbd-server|qemu-nbd ARGUMENTS")
		os.Exit(2)
	}
	name := os.Args[1]
	code, err := run(name, os.Args[2:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		note(name, err)
		code = 1
	}
	os.Exit(code)
}

func run(name string, args []string) (int, error) {
	parse, ok := parsers[name]
	if !ok {
		return 1, fmt.Errorf("stands in only for nbdkit, nbd-server and qemu-nbd")
	}
	dir, err := os.MkdirTemp("", "standin")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	p := &plan{dir: dir, environ: os.Environ()}
	switch err := parse(p, args); {
	case errors.Is(err, errReal):
		path := filepath.Join(os.Getenv("STANDIN_REAL"), name)
		return 1, syscall.Exec(path, append([]string{path}, args...), os.Environ())
	case err != nil:
		return 1, err
	}
	return p.run()
}

// note appends a refusal to the log, in one write.
func note(name string, err error) {
	var r refusal
	if !errors.As(err, &r) {
		return
	}
	f, err := os.OpenFile(os.Getenv("STANDIN_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // stderr has it
	}
	defer f.Close()
	fmt.Fprintf(f, "%s: %s\n", name, string(r))
}
