// Package memory is a plugin with a volatile write cache that is honest about it: what
// was written is lost with the power until FLUSH or FUA has made it durable. All
// connections share the data, which ends with the process.
package memory

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/internal/units"
)

// The sizes that the key size takes.
const (
	defaultSize = 64 * units.MiB
	maxSize     = 16 * units.GiB
)

// Register registers the plugin as go:memory.
func Register() { plugin.Register("memory", Open) }

// Open makes a plugin of the keys size (64MiB) and can_fua (native; or emulate, none).
func Open(args url.Values) (plugin.Plugin, error) {
	if err := plugin.CheckKeys(args, "size", "can_fua"); err != nil {
		return plugin.Plugin{}, err
	}
	size, err := plugin.Size(args, "size", defaultSize, maxSize)
	if err != nil {
		return plugin.Plugin{}, err
	}
	answer, err := plugin.FUAAnswer(args, "can_fua", fua.Native)
	if err != nil {
		return plugin.Plugin{}, err
	}
	d := New(size, func(context.Context) (fua.Answer, error) { return answer, nil })
	return plugin.Plugin{Name: "memory", Thread: plugin.Parallel, Open: d.open}, nil
}

// page is the grain of memory: what was never written takes none.
const page = 64 << 10

// Disk is the data of all connections. What is in cache and not in durable is lost
// with the power.
type Disk struct {
	size   uint64
	canFUA func(context.Context) (fua.Answer, error)

	mu      sync.RWMutex
	cache   map[uint64]*[page]byte // by page; newer than durable
	durable map[uint64]*[page]byte
	dirty   map[uint64]bool // 512-byte units, by number
}

// New returns a disk of size bytes that answers can_fua by canFUA.
func New(size uint64, canFUA func(context.Context) (fua.Answer, error)) *Disk {
	return &Disk{size: size, canFUA: canFUA, cache: map[uint64]*[page]byte{}, durable: map[uint64]*[page]byte{}, dirty: map[uint64]bool{}}
}

func (d *Disk) open(context.Context, plugin.ConnInfo) (*plugin.Conn, error) { return d.Conn(), nil }

// Conn is what the disk does on one connection.
func (d *Disk) Conn() *plugin.Conn {
	return &plugin.Conn{
		Size:   func(context.Context) (uint64, error) { return d.size, nil },
		PRead:  d.read,
		PWrite: d.write,
		PZero:  d.zero,
		PTrim:  d.zero,
		Flush:  d.flush,
		CanFUA: d.canFUA,
		CanMultiConn: func(context.Context) (bool, error) {
			return true, nil // one cache for all
		},
		PowerCut: d.powerCut,
	}
}

// each calls visit with each part of a range that is in one page.
func each(off, n uint64, visit func(number uint64, from, to uint64)) {
	for end := off + n; off < end; {
		to := min(end, (off/page+1)*page)
		visit(off/page, off%page, to-off/page*page)
		off = to
	}
}

func (d *Disk) read(_ context.Context, b []byte, off uint64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	each(off, uint64(len(b)), func(number, from, to uint64) {
		if p := d.cache[number]; p != nil {
			copy(b[:to-from], p[from:to])
		} else {
			clear(b[:to-from])
		}
		b = b[to-from:]
	})
	return nil
}

func (d *Disk) write(_ context.Context, b []byte, off uint64, f plugin.Flags) error {
	return d.put(b, uint64(len(b)), off, f)
}

func (d *Disk) zero(_ context.Context, n, off uint64, f plugin.Flags) error {
	return d.put(nil, n, off, f)
}

// put writes b, or zeroes if it is nil, and makes them durable if f says so.
func (d *Disk) put(b []byte, n, off uint64, f plugin.Flags) error {
	if n == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	each(off, n, func(number, from, to uint64) {
		p := pageOf(d.cache, number)
		if b == nil {
			clear(p[from:to])
			return
		}
		copy(p[from:to], b)
		b = b[to-from:]
	})
	for u := off / devices.Sector; u <= (off+n-1)/devices.Sector; u++ {
		d.dirty[u] = true
	}
	if f&plugin.FUA != 0 {
		for u := off / devices.Sector; u <= (off+n-1)/devices.Sector; u++ {
			d.persist(u)
		}
	}
	return nil
}

func pageOf(m map[uint64]*[page]byte, number uint64) *[page]byte {
	p := m[number]
	if p == nil {
		p = new([page]byte)
		m[number] = p
	}
	return p
}

// persist makes a unit durable. d.mu is held.
func (d *Disk) persist(unit uint64) {
	off := unit * devices.Sector
	copy(pageOf(d.durable, off/page)[off%page:][:devices.Sector], pageOf(d.cache, off/page)[off%page:])
	delete(d.dirty, unit)
}

func (d *Disk) flush(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for u := range d.dirty {
		d.persist(u)
	}
	return nil
}

// powerCut loses what is not durable, but for what keep says survives.
func (d *Disk) powerCut(keep func(unit int) bool) error {
	if keep == nil {
		return errors.New("memory: a power cut needs to know what survives")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range plugin.Units(d.dirty) {
		if keep(int(u)) {
			d.persist(u)
		}
	}
	clear(d.dirty)
	clear(d.cache)
	for number, p := range d.durable {
		c := *p
		d.cache[number] = &c
	}
	return nil
}

// String is for messages.
func (d *Disk) String() string { return fmt.Sprintf("memory of %d bytes", d.size) }
