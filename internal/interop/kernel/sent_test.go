package kernel

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/nbd/kernel"
	"nbdbench/sim"
)

// sent is what the kernel sent, in words.
func sent(n nbd.Counts) string {
	var words []string
	for _, w := range []struct {
		name string
		n    uint64
	}{
		{"READ", n.Read},
		{"WRITE", n.Write},
		{"WRITE+FUA", n.WriteFUA},
		{"FLUSH", n.Flush},
		{"TRIM", n.Trim + n.TrimFUA},
		{"WRITE_ZEROES", n.WriteZeroes + n.WriteZeroesFUA},
	} {
		switch {
		case w.n == 1:
			words = append(words, w.name)
		case w.n > 1:
			words = append(words, fmt.Sprintf("%d %s", w.n, w.name))
		}
	}
	if words == nil {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

func minus(a, b nbd.Counts) nbd.Counts {
	return nbd.Counts{
		Read: a.Read - b.Read, Write: a.Write - b.Write, WriteFUA: a.WriteFUA - b.WriteFUA, Flush: a.Flush - b.Flush,
		Trim: a.Trim - b.Trim, TrimFUA: a.TrimFUA - b.TrimFUA,
		WriteZeroes: a.WriteZeroes - b.WriteZeroes, WriteZeroesFUA: a.WriteZeroesFUA - b.WriteZeroesFUA,
	}
}

// during is what the kernel sent while f ran.
func (d *disk) during(f func()) nbd.Counts {
	before := d.server.Counts()
	f()
	return minus(d.server.Counts(), before)
}

// client is a Disk of the guest and a way to wait for it.
type client struct {
	t    *testing.T
	real *sim.Real
	disk *kernel.Disk
}

func openDisk(t *testing.T, path string) *client {
	t.Helper()
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	d, err := kernel.OpenDisk(path, real, kernel.DiskConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, real, d}
}

func (c *client) close() {
	c.t.Helper()
	if err := c.disk.Close(); err != nil {
		c.t.Error(err)
	}
	if err := c.real.Close(); err != nil {
		c.t.Error(err)
	}
}

// countdown counts requests that are done.
type countdown struct{ left int }

func (c *countdown) Done(*devices.Request) { c.left-- }

// do submits the requests together and waits for all.
func (c *client) do(rs ...*devices.Request) {
	c.t.Helper()
	n := &countdown{len(rs)}
	c.real.Do(func() {
		for _, r := range rs {
			r.Completer = n
			c.disk.Submit(r)
		}
	})
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	if err := c.real.RunWhile(ctx, func() bool { return n.left > 0 }); err != nil {
		c.t.Fatalf("%v: %v", rs[0], err)
	}
}

func (c *client) must(r *devices.Request) {
	c.t.Helper()
	if c.do(r); r.Errno != devices.OK {
		c.t.Fatalf("%v: %v", r, r.Errno)
	}
}

func write(offset uint64, flags devices.Flags, data []byte) *devices.Request {
	return &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: offset, Length: uint64(len(data)), Payload: devices.Payload{Bytes: data}}
}

// advertisements are the exports of the table, and what the kernel sends for a
// durable write and for an fsync after a write (drivers/block/nbd.c,
// block/blk-flush.c).
var advertisements = []struct {
	name           string
	strategy       string
	advertise      *layer.Advertised
	durable, fsync string
	cache, fua     bool
}{
	{"native: FLUSH, FUA", "native", nil, "WRITE+FUA", "FLUSH", true, true},
	{"emulate: FLUSH, FUA", "emulate", nil, "WRITE+FUA", "FLUSH", true, true},
	{"none: FLUSH", "none", nil, "WRITE, FLUSH", "FLUSH", true, false},
	{"FUA alone", "native", &layer.Advertised{FUA: true}, "WRITE", "nothing", false, false},
	{"nothing", "native", &layer.Advertised{}, "WRITE", "nothing", false, false},
}

func TestGuestKernelSendsWhatTheExportAdvertises(t *testing.T) {
	guestOnly(t)
	loadModules(t)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "advertised\tdurable write\tfsync\tdurable write by pwritev2\twrite_cache\tfua")
	for _, x := range advertisements {
		t.Run(x.name, func(t *testing.T) {
			d := serve(t, export{size: 64 << 20, strategy: x.strategy, advertise: x.advertise})
			a := d.attach(kernel.Config{})
			c := openDisk(t, a.Path)
			data := make([]byte, 4096)
			durable := sent(d.during(func() { c.must(write(1<<20, devices.FUA, data)) }))
			c.must(write(2<<20, 0, data))
			fsync := sent(d.during(func() { c.must(&devices.Request{Op: devices.OpFlush}) }))
			c.close()
			sync := sent(d.during(func() { pwriteDurable(t, a.Path) }))
			cache, fua := kernel.WriteCache(a.Path)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\t%v\n", x.name, durable, fsync, sync, cache, fua)
			if durable != x.durable || fsync != x.fsync || cache != x.cache || fua != x.fua {
				t.Errorf("got %s; %s; %v, %v\nwant %s; %s; %v, %v", durable, fsync, cache, fua, x.durable, x.fsync, x.cache, x.fua)
			}
		})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	handText("what the kernel sends", b.String())
}

// pwriteDurable writes by the synchronous system call.
func pwriteDurable(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	if _, err := unix.Pwritev2(fd, [][]byte{page}, 4<<20, unix.RWF_DSYNC); err != nil {
		t.Fatal(err)
	}
}
