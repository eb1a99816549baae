package capture

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/internal/units"
)

// Capture is what some commits of a program requested. The texts are single lines.
type Capture struct {
	Program  string // with its version
	Settings string // of the program, and what a commit is
	Command  string // that ran
	On       string // file system, kernel and device

	Commits, Flushes, FUAs uint64
	Writes, Bytes          uint64 // with those with FUA
	Logged                 uint64 // bytes in the program's log, by its own count; 0 is not known
	Sizes                  map[uint64]uint64
	// Orders are the commits, by the order of their requests: "WRITE 8KiB, FLUSH".
	Orders map[string]uint64
}

// maxOrders bounds the orders that are written; the rest is one line.
const maxOrders = 6

// nothing is the order of a commit that requests nothing.
const nothing = "nothing"

// others stands for the orders that are rare.
const others = "other orders"

// Add counts one commit: the events of its requests, in their order.
func (c *Capture) Add(events []history.Event) {
	var order []string
	var plain uint64 // bytes written since the last flush or write with FUA
	end := func() {
		if plain > 0 {
			order = append(order, "WRITE "+units.Size(plain).String())
		}
		plain = 0
	}
	for i := range events {
		e := &events[i]
		switch {
		case e.Kind == history.Done || !e.Op.Modifies() && e.Op != devices.OpFlush:
			continue
		case e.Op == devices.OpWrite && e.Flags&devices.FUA == 0:
			plain += e.Length
			c.write(e.Length)
			continue
		}
		end()
		switch e.Op {
		case devices.OpFlush:
			order = append(order, "FLUSH")
			c.Flushes++
		case devices.OpWrite:
			order = append(order, "WRITE+FUA "+units.Size(e.Length).String())
			c.FUAs++
			c.write(e.Length)
		default: // neither is data
			order = append(order, strings.ToUpper(e.Op.String())+" "+units.Size(e.Length).String())
		}
	}
	end()
	if c.Orders == nil {
		c.Orders = map[string]uint64{}
	}
	c.Orders[cmp.Or(strings.Join(order, ", "), nothing)]++
	c.Commits++
}

// Split divides the requests of a program that commits again and again, one at a time: a
// commit ends with the last FLUSH or write with FUA before another write. Of the last
// one there may be a part.
func Split(events []history.Event) (commits [][]history.Event) {
	from, durable := 0, false
	for i := range events {
		e := &events[i]
		plain := e.Op.Modifies() && e.Flags&devices.FUA == 0
		if e.Kind == history.Done || !plain && e.Op != devices.OpFlush && !e.Op.Modifies() {
			continue
		}
		if plain && durable {
			commits = append(commits, events[from:i])
			from = i
		}
		durable = !plain
	}
	return append(commits, events[from:])
}

func (c *Capture) write(length uint64) {
	if c.Sizes == nil {
		c.Sizes = map[uint64]uint64{}
	}
	c.Sizes[length]++
	c.Writes++
	c.Bytes += length
}

// Rate is a count for each commit.
func (c *Capture) Rate(n uint64) float64 { return float64(n) / float64(max(c.Commits, 1)) }

// Usual is the most frequent order, and the share of the commits that have it.
func (c *Capture) Usual() (order string, share float64) {
	top := c.ranked()
	if len(top) == 0 {
		return "", 0
	}
	return top[0], c.Rate(c.Orders[top[0]])
}

// ranked are the orders, the most frequent first.
func (c *Capture) ranked() []string {
	return slices.SortedFunc(maps.Keys(c.Orders), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Orders[b], c.Orders[a]), cmp.Compare(a, b))
	})
}

const magic = "nbdbench/capture/v1"

// Write writes the summary as text.
func (c *Capture) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s\nprogram: %s\nsettings: %s\ncommand: %s\non: %s\n", magic, c.Program, c.Settings, c.Command, c.On)
	for _, count := range c.counts() {
		fmt.Fprintf(b, "%s: %d\n", count.name, *count.n)
	}
	for _, size := range slices.Sorted(maps.Keys(c.Sizes)) {
		fmt.Fprintf(b, "size: %d of %v\n", c.Sizes[size], units.Size(size))
	}
	top := c.ranked()
	for _, order := range top[:min(len(top), maxOrders)] {
		fmt.Fprintf(b, "order: %d of %s\n", c.Orders[order], order)
	}
	rest := uint64(0)
	for _, order := range top[min(len(top), maxOrders):] {
		rest += c.Orders[order]
	}
	if rest > 0 {
		fmt.Fprintf(b, "order: %d of %s\n", rest, others)
	}
	return b.Flush()
}

// count is a number of a Capture, by its key.
type count struct {
	name string
	n    *uint64
}

func (c *Capture) counts() []count {
	return []count{{"commits", &c.Commits}, {"flushes", &c.Flushes}, {"fuas", &c.FUAs}, {"writes", &c.Writes}, {"bytes", &c.Bytes}, {"logged", &c.Logged}}
}

// Read reads what Write has written.
func Read(r io.Reader) (*Capture, error) {
	c := &Capture{Sizes: map[uint64]uint64{}, Orders: map[string]uint64{}}
	s := bufio.NewScanner(r)
	for line := 1; s.Scan(); line++ {
		if line == 1 && s.Text() == magic {
			continue
		}
		key, value, ok := strings.Cut(s.Text(), ": ")
		if line == 1 || !ok {
			return nil, fmt.Errorf("line %d: expected %s and then KEY: VALUE, got %q", line, magic, s.Text())
		}
		if err := c.set(key, value); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, key, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if c.Commits == 0 {
		return nil, fmt.Errorf("expected commits, got none")
	}
	return c, nil
}

// set sets what a line says.
func (c *Capture) set(key, value string) error {
	texts := map[string]*string{"program": &c.Program, "settings": &c.Settings, "command": &c.Command, "on": &c.On}
	if text, ok := texts[key]; ok {
		*text = value
		return nil
	}
	for _, count := range c.counts() {
		if count.name == key {
			_, err := fmt.Sscanf(value, "%d", count.n)
			return err
		}
	}
	var n uint64
	number, what, _ := strings.Cut(value, " of ")
	if _, err := fmt.Sscanf(number, "%d", &n); err != nil {
		return err
	}
	switch key {
	case "order":
		c.Orders[what] = n
	case "size":
		var size units.Size
		if err := size.UnmarshalText([]byte(what)); err != nil {
			return err
		}
		c.Sizes[uint64(size)] = n
	default:
		return fmt.Errorf("expected program, settings, command, on, commits, flushes, fuas, writes, bytes, logged, size or order")
	}
	return nil
}
