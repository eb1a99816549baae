package kernel

import (
	"slices"
	"sync/atomic"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/nbd"
	"nbdbench/nbd/kernel"
	"nbdbench/sim"
)

// image is what a power cut left, and what had been promised by then.
type image struct {
	media drive.Media
	acked uint64 // operations that the application knew to be durable
}

// cutter is a layer in front of a simulated drive that cuts its power, between
// two events of its life: the drive itself goes on.
//
// The image is one that the drive's promises allow, and a hard one: what the
// model says is durable, the model's own choice of what was on its way, and of
// what was only acknowledged any part, unit by unit, as a real cache may have
// written it behind in any order.
type cutter struct {
	devices.Device
	model catalog.Device
	acked *atomic.Uint64
	draws sim.Stream
	seed  sim.Seed

	// The loop's.
	newest drive.Media // what was acknowledged last, everywhere
	events uint64
	next   uint64 // the event before which the next cut is; 0 is none
	left   int    // cuts
	images []image
}

// meanEvents is how many events there are between two cuts, on average.
const meanEvents = 40

// newCutter is in front of a model that holds contents.
func newCutter(model catalog.Device, contents drive.Media, seed sim.Seed, acked *atomic.Uint64) *cutter {
	return &cutter{
		Device: model, model: model, acked: acked, seed: seed, draws: seed.Stream("power"),
		newest: contents.Clone(),
	}
}

// begin has n cuts taken from now on.
func (c *cutter) begin(n int) {
	c.left = n
	c.plan()
}

func (c *cutter) plan() {
	c.next = 0
	if c.left > 0 {
		c.next = c.events + 1 + c.draws.Uint64N(2*meanEvents, c.events, 0)
	}
}

// event counts one event, and cuts the power before it if it is time.
func (c *cutter) event() {
	c.events++
	if c.events == c.next {
		acked := c.acked.Load() // all of it was acknowledged before this instant
		c.images = append(c.images, image{c.cut(), acked})
		c.left--
		c.plan()
	}
}

// cut is the image at this instant.
func (c *cutter) cut() drive.Media {
	k := c.model.Cut(c.seed.Sub("cut", c.events))
	media := k.Media()
	info := c.model.Info()
	unit := uint64(info.AtomicUnit)
	landing := c.draws.Uint64N(4, c.events, 1) // of 4: how many of the units landed
	buffer := make([]byte, unit)
	k.Exposed(0, info.Size, func(off, end uint64) {
		for at := off / unit * unit; at < end; at += unit {
			if c.draws.Uint64N(4, c.events, at+2) >= landing {
				continue
			}
			c.newest.Read(at, unit, &devices.Payload{Bytes: buffer})
			media.Write(at, unit, drive.Content{Bytes: slices.Clone(buffer)})
		}
	})
	return media
}

func (c *cutter) Submit(r *devices.Request) {
	c.event()
	r.Completer = &acknowledged{c, r.Completer}
	c.Device.Submit(r)
}

// acknowledged takes the place of a request's completer.
type acknowledged struct {
	cutter *cutter
	next   devices.Completer
}

func (a *acknowledged) Done(r *devices.Request) {
	c := a.cutter
	c.event()
	if r.Errno == devices.OK {
		switch r.Op {
		case devices.OpWrite:
			c.newest.Write(r.Offset, r.Length, drive.Content{Bytes: r.Bytes})
		case devices.OpTrim, devices.OpWriteZeroes:
			c.newest.Write(r.Offset, r.Length, drive.Content{Zero: true})
		}
	}
	r.Completer = a.next
	r.Completer.Done(r)
}

// restarted serves images, one after another, to the kernel that comes up after
// the cut: a device that keeps what it is given.
type restarted struct {
	*disk
	media drive.Media
}

func newRestarted(t *testing.T, size uint64) *restarted {
	t.Helper()
	r := &restarted{disk: &disk{t: t}}
	info := devices.Info{
		Size: size, LogicalBlock: 512, AtomicUnit: 512, MinIO: 512, PreferredIO: 4096,
		CanFlush: true, FUA: devices.FUANative, CanTrim: true, MultiConn: true,
	}
	loop := sim.NewLoop()
	r.listenExport(loop, &nbd.Export{Open: func(nbd.ConnInfo) (devices.Device, error) {
		return drive.NewRAM(loop, info, r.media), nil
	}})
	return r
}

// with attaches the image while f uses it.
func (r *restarted) with(media drive.Media, f func(path string)) {
	r.t.Helper()
	r.real.Do(func() { r.media = media })
	a, err := kernel.Attach(r.t.Context(), r.uri, kernel.Config{})
	if err != nil {
		r.t.Fatal(err)
	}
	f(a.Path)
	if err := a.Detach(); err != nil {
		r.t.Fatal(err)
	}
}

// wait waits until done, which is asked on the drive's loop.
func wait(t *testing.T, real *sim.Real, done func() bool) {
	t.Helper()
	if err := real.RunWhile(t.Context(), func() bool { return !done() }); err != nil {
		t.Fatal(err)
	}
}
