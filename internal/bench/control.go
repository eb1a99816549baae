package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"nbdbench/devices"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// console is what the control socket and SIGUSR1 act on.
type console struct {
	real   *sim.Real
	server *nbd.Server
	talk   io.Writer

	mu    sync.Mutex // one command at a time
	lives []*live
}

// controlStats is the reply to stats.
type controlStats struct {
	Exports []exportStats `json:"exports"`
	Wire    nbd.Counts    `json:"wire"`
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

// listen serves commands from a Unix socket until it is closed.
func (c *console) listen(l net.Listener) {
	places := make(chan struct{}, maxConsoles)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			defer conn.Close()
			c.serve(conn)
		}()
	}
}

// serve reads a command a line and writes a line of JSON for each.
func (c *console) serve(conn io.ReadWriter) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, maxCommand), maxCommand)
	for lines.Scan() {
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
var errCommand = errors.New("expected cut [--clone NAME] [--seed N], or stats")

func (c *console) command(words []string) (any, error) {
	switch {
	case len(words) == 1 && words[0] == "stats":
		return c.stats(), nil
	case len(words) == 0 || words[0] != "cut" || len(words)%2 == 0:
		return nil, errCommand
	}
	var clone string
	var seed *sim.Seed
	for i := 1; i < len(words); i += 2 {
		switch words[i] {
		case "--clone":
			clone = words[i+1]
		case "--seed":
			n, err := strconv.ParseUint(words[i+1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("--seed: expected a number, got %q", words[i+1])
			}
			s := sim.Seed(n)
			seed = &s
		default:
			return nil, errCommand
		}
	}
	if clone != "" {
		return c.clone(clone, seed)
	}
	return c.cut(seed)
}

// cut cuts the power of the first export.
func (c *console) cut(seed *sim.Seed) (out lostPower, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lives[0]
	c.server.Cut(l.name, func() {
		s := l.nextSeed()
		if seed != nil {
			s = *seed
		}
		out, err = l.cut(s)
	})
	fmt.Fprintf(c.talk, "power cut %d (seed %d): %d bytes were acknowledged and not durable\n", out.Cut, out.Seed, out.ExposedBytes)
	return out, err
}

// clone adds an export with what a cut would leave.
func (c *console) clone(name string, seed *sim.Seed) (out lostPower, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var other *live
	c.real.Do(func() {
		l := c.lives[0]
		s := l.nextSeed()
		if seed != nil {
			s = *seed
		}
		other, out, err = l.clone(name, s)
	})
	if err == nil {
		err = c.server.AddExport(other.export())
	}
	if err == nil {
		c.lives = append(c.lives, other)
	}
	return out, err
}

func (c *console) stats() (s controlStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.real.Do(func() {
		for _, l := range c.lives {
			s.Exports = append(s.Exports, exportStats{l.name, l.cuts, l.model.Cut(0).ExposedBytes(), l.model.Stats()})
		}
	})
	s.Wire = c.server.Counts()
	return s
}

// watch cuts the power at each signal, until the channel is closed.
func (c *console) watch(signals <-chan os.Signal) {
	for range signals {
		if _, err := c.cut(nil); err != nil {
			fmt.Fprintln(c.talk, "power cut:", err)
		}
	}
}
