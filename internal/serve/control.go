package serve

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// console is what the control socket and SIGUSR1 act on.
type console struct {
	real   *sim.Real
	server *socket.Server
	log    *eventLog

	mu     sync.Mutex // one command at a time
	served []*device  // and then the clones
	own    int        // how many are no clones
	// plugins are served too; nobody cuts their power here.
	plugins  []plugged
	storages []stored // likewise
	ended    bool     // the devices have no power any more
}

// errEnded is for commands that come after the devices have ended.
var errEnded = errors.New("the server is about to end")

// controlStats is the reply to stats.
type controlStats struct {
	Exports []exportStats  `json:"exports"`
	Plugins []pluginStats  `json:"plugins,omitempty"`
	Storage []storageStats `json:"storage,omitempty"`
	Wire    nbd.Counts     `json:"wire"`
	Process processStats   `json:"process"`
}

// processStats are those of the program.
type processStats struct {
	Connections int   `json:"connections"`
	HeldBytes   int64 `json:"held_bytes"` // for clients
	LimitBytes  int64 `json:"memory_limit_bytes"`
	Goroutines  int   `json:"goroutines"`
}

// exportStats are those of one export.
type exportStats struct {
	Export       string        `json:"export"`
	Cuts         uint64        `json:"cuts"`
	ExposedBytes uint64        `json:"exposed_bytes"` // acknowledged and not durable now
	Device       devices.Stats `json:"device"`        // since the power came back
}

// The bounds of the control socket.
const (
	maxCommand  = 4096
	maxConsoles = 16
)

// operators are the connections to the control socket, or of scrapers of metrics, those that have been silent
// for longest first. When there is no place left for another, the first is closed.
type operators struct {
	mu    sync.Mutex
	conns []net.Conn
}

// add makes c the last, and closes the first if there are too many.
func (o *operators) add(c net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.conns) == maxConsoles {
		_ = o.conns[0].Close()
		o.conns = slices.Delete(o.conns, 0, 1)
	}
	o.conns = append(o.conns, c)
}

// heard makes c the last, if it is still there.
func (o *operators) heard(c net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.conns, c); i >= 0 {
		o.conns = append(slices.Delete(o.conns, i, i+1), c)
	}
}

func (o *operators) remove(c net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.conns, c); i >= 0 {
		o.conns = slices.Delete(o.conns, i, i+1)
	}
}

// listen serves commands from a Unix socket until it is closed.
func (c *console) listen(l net.Listener) {
	var all operators
	all.accept(l, func(conn net.Conn) { c.serve(conn, func() { all.heard(conn) }) })
}

// accept serves each connection on a goroutine until the listener is closed.
func (o *operators) accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			o.add(conn)
			go func() {
				defer conn.Close()
				defer o.remove(conn)
				serve(conn)
			}()
		case errors.Is(err, net.ErrClosed):
			return
		default: // no descriptors: the next may find some
			time.Sleep(acceptPause)
		}
	}
}

// acceptPause is how long nothing is accepted after that has failed.
const acceptPause = 20 * time.Millisecond

// serve reads a command a line and writes a line of JSON for each. It calls heard
// for each of them.
func (c *console) serve(conn io.ReadWriter, heard func()) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, maxCommand), maxCommand)
	for lines.Scan() {
		heard()
		answer, err := c.command(strings.Fields(lines.Text()))
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		b, err := json.Marshal(answer)
		if err != nil {
			return
		}
		if _, err := conn.Write(append(b, '\n')); err != nil {
			return
		}
	}
}

// errCommand says what there is.
var errCommand = errors.New("expected cut [--export NAME] [--clone NAME] [--seed N] [--image device|worst|random], or stats")

func (c *console) command(words []string) (any, error) {
	switch {
	case len(words) == 1 && words[0] == "stats":
		return c.stats(), nil
	case len(words) == 0 || words[0] != "cut":
		return nil, errCommand
	}
	q, err := parseCut(words[1:])
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := c.named(q.export)
	switch {
	case c.ended:
		return nil, errEnded
	case err != nil:
		return nil, err
	case q.clone != "":
		return c.clone(l, q)
	}
	out, err := c.cut([]*device{l}, q)
	return out[0], err
}

// cutCommand is a cut command of the control socket; its zero value is that of a
// signal.
type cutCommand struct {
	export *string // nil is the only one
	clone  string  // empty is none
	seed   *sim.Seed
	image  string // one of images; empty is the default
}

func parseCut(words []string) (q cutCommand, err error) {
	if len(words)%2 != 0 {
		return q, errCommand
	}
	for ; len(words) > 0; words = words[2:] {
		switch value := words[1]; words[0] {
		case "--clone":
			q.clone = value
		case "--export":
			name := strings.Trim(value, `"`) // the name of the first is often empty
			q.export = &name
		case "--seed":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return q, fmt.Errorf("--seed: expected a number, got %q", value)
			}
			s := sim.Seed(n)
			q.seed = &s
		case "--image":
			if q.image = value; !slices.Contains(images, value) {
				return q, fmt.Errorf("--image: expected one of %s, got %q", strings.Join(images, ", "), value)
			}
		default:
			return q, errCommand
		}
	}
	return q, nil
}

// of is what q asks of l: without a seed the next one of l's own.
func (q *cutCommand) of(l *device) (seed sim.Seed, image string) {
	seed, image = l.nextSeed(), q.image
	if q.seed != nil {
		seed = *q.seed
	}
	switch {
	case image != "":
		return seed, image
	case q.clone != "" && q.seed != nil: // seeds are tried one after another: for other images
		return seed, imageRandom
	}
	return seed, imageDevice
}

// named is the export of a name; without one, the only one that is no clone.
func (c *console) named(name *string) (*device, error) {
	if name == nil && c.own == 1 && len(c.plugins)+len(c.storages) == 0 {
		return c.served[0], nil
	}
	for _, p := range c.plugins {
		if name == nil && c.own == 0 || name != nil && p.name == *name {
			return nil, p.uncut()
		}
	}
	for _, s := range c.storages {
		if name == nil && c.own == 0 || name != nil && s.name == *name {
			return nil, s.uncut()
		}
	}
	names := make([]string, len(c.served))
	for i, l := range c.served {
		if names[i] = strconv.Quote(l.name); name != nil && l.name == *name {
			return l, nil
		}
	}
	got := "none"
	if name != nil {
		got = strconv.Quote(*name)
	}
	return nil, fmt.Errorf("--export: expected one of %s, got %s", strings.Join(names, ", "), got)
}

// cut cuts the power of these exports at one instant. c.mu is held.
func (c *console) cut(served []*device, q cutCommand) (out []lostPower, err error) {
	names := make([]string, len(served))
	for i, l := range served {
		names[i] = l.name
	}
	c.server.Cut(names, func() {
		for _, l := range served {
			lost, failed := l.cut(q.of(l))
			out, err = append(out, lost), errors.Join(err, failed)
		}
	})
	for _, o := range out {
		c.report(o)
	}
	return out, err
}

func (c *console) report(o lostPower) {
	c.log.event(slog.LevelInfo,
		fmt.Sprintf("power cut %d of export %q (seed %d, image %s): %d bytes were acknowledged and not durable", o.Cut, o.Export, o.Seed, o.Image, o.ExposedBytes),
		"power cut", "export", o.Export, "cut", o.Cut, "seed", o.Seed, "image", o.Image, "exposed_bytes", o.ExposedBytes)
}

// end ends the devices, by a power cut or in order, and says what was at risk. A
// drive that is shut down in order writes its cache back.
func (c *console) end(powerCut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	var out []lostPower
	c.real.Do(func() {
		for _, l := range c.served[:c.own] {
			out = append(out, l.end(powerCut))
		}
	})
	for i, o := range out {
		image := c.served[i].config.Image
		switch {
		case powerCut:
			c.report(o)
		case o.ExposedBytes > 0 && image == "":
			c.log.event(slog.LevelInfo, fmt.Sprintf("export %q: %d bytes were acknowledged and not durable", o.Export, o.ExposedBytes),
				"ended with dirty data", "export", o.Export, "exposed_bytes", o.ExposedBytes)
		case o.ExposedBytes > 0:
			c.log.event(slog.LevelInfo, fmt.Sprintf("export %q: %d bytes were acknowledged and not durable: written to %s", o.Export, o.ExposedBytes, image),
				"wrote dirty data to the image", "export", o.Export, "exposed_bytes", o.ExposedBytes, "image", image)
		}
	}
}

// clone adds an export with what a cut of l would leave. c.mu is held.
func (c *console) clone(l *device, q cutCommand) (out lostPower, err error) {
	var other *device
	c.real.Do(func() {
		seed, image := q.of(l)
		other, out, err = l.clone(q.clone, seed, image)
	})
	if err == nil {
		err = c.server.AddExport(other.export())
	}
	if err == nil {
		c.served = append(c.served, other)
	}
	return out, err
}

func (c *console) stats() (s controlStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.real.Do(func() {
		for _, l := range c.served {
			s.Exports = append(s.Exports, exportStats{l.name, l.cuts, l.model.Cut(0).ExposedBytes(), l.model.Stats()})
		}
		for _, x := range c.storages {
			s.Storage = append(s.Storage, x.stats())
		}
	})
	for _, p := range c.plugins {
		s.Plugins = append(s.Plugins, p.stats())
	}
	s.Wire = c.server.Counts()
	m := c.server.MemoryUse()
	s.Process = processStats{m.Connections, m.Held, m.Limit, runtime.NumGoroutine()}
	return s
}

// watch cuts the power of all exports at each signal, until the channel is
// closed.
func (c *console) watch(signals <-chan os.Signal) {
	for range signals {
		var err error
		c.mu.Lock()
		if !c.ended {
			_, err = c.cut(c.served, cutCommand{})
		}
		for _, p := range c.plugins {
			err = errors.Join(err, p.uncut())
		}
		for _, s := range c.storages {
			err = errors.Join(err, s.uncut())
		}
		c.mu.Unlock()
		if err != nil {
			c.log.event(slog.LevelError, fmt.Sprint("power cut: ", err), "power cut failed", "error", err.Error())
		}
	}
}
