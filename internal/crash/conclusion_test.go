package crash

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/fault"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// conclusions are what a client may conclude from each fault that it sees,
// or that only takes time.
var conclusions = map[fault.Kind]func(t *testing.T, c *client){
	fault.EIORead:  fromAFailedRead,
	fault.EIOWrite: fromAFailedWrite,
	fault.EIOFlush: fromAFailedFlush,
	fault.Slow:     fromASlowCommand,
}

func TestWhatAClientMayConclude(t *testing.T) {
	for kind, from := range conclusions {
		t.Run(string(kind), func(t *testing.T) {
			c := newClient(t, string(kind)+":every=2")
			from(t, c)
			if n := c.judge.CheckImage(c.cut().Stamp, func(v history.Violation) { t.Error(v) }); n > 0 {
				t.Errorf("%d promises are broken", n)
			}
		})
	}
}

// client submits one request after the other to a faulty device, of which the
// promises are taken down.
type client struct {
	loop  *sim.Loop
	model fault.Device
	top   devices.Device
	judge *history.Judge
	seed  sim.Seed
	done  bool
	stamp devices.Stamp
	good  int // requests that succeeded
	bad   int // that did not
}

func newClient(t *testing.T, text string) *client {
	t.Helper()
	c := &client{loop: sim.NewLoop(), seed: 1}
	profile, err := catalog.Load("nvme-990pro")
	if err != nil {
		t.Fatal(err)
	}
	model, err := profile.Open(c.loop, catalog.Options{Seed: c.seed})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := fault.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if c.model, err = plan.Wrap(c.loop, model, c.seed); err != nil {
		t.Fatal(err)
	}
	c.judge = history.NewJudge(c.model.Info())
	c.top = history.NewTap(c.model, c.loop, c.judge)
	return c
}

// blocks are how many the client tries, and tries how often each at most.
const (
	blocks = 64
	tries  = 32
)

func (c *client) Done(*devices.Request) { c.done = true }

func (c *client) submit(r *devices.Request) devices.Errno {
	c.done, r.Completer = false, c
	r.Begin(c.loop.Now())
	c.top.Submit(r)
	c.loop.RunWhile(func() bool { return !c.done })
	if r.Errno == devices.OK {
		c.good++
	} else {
		c.bad++
	}
	return r.Errno
}

// write writes a new version of a block of 4 KiB.
func (c *client) write(block uint64, flags devices.Flags) (devices.Stamp, devices.Errno) {
	c.stamp++
	r := &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: block * 4096, Length: 4096}
	r.Stamp = c.stamp
	return c.stamp, c.submit(r)
}

// read reads the first sector of a block; what was not read is unread.
func (c *client) read(block uint64) (devices.Stamp, devices.Errno) {
	r := &devices.Request{Op: devices.OpRead, Offset: block * 4096, Length: devices.Sector}
	r.Versions = []devices.Stamp{unread}
	e := c.submit(r)
	return r.Versions[0], e
}

const unread = fault.Garbage - 1

func (c *client) flush() devices.Errno { return c.submit(&devices.Request{Op: devices.OpFlush}) }

func (c *client) cut() *drive.Cut { return c.model.Cut(c.seed) }

// left is what a power cut leaves of a block.
func (c *client) left(block uint64) devices.Stamp {
	return c.cut().Stamp(block * 4096 / devices.Sector)
}

// until repeats what fails with EIO until it succeeds.
func until(t *testing.T, do func() devices.Errno) {
	t.Helper()
	for range tries {
		switch e := do(); e {
		case devices.OK:
			return
		case devices.EIO:
		default:
			t.Fatalf("got %v, expected OK or EIO", e)
		}
	}
	t.Fatalf("%d tries failed", tries)
}

// both says that the fault struck some requests and spared others.
func (c *client) both(t *testing.T) {
	t.Helper()
	if c.good == 0 || c.bad == 0 {
		t.Errorf("%d requests succeeded and %d failed, expected some of each", c.good, c.bad)
	}
}

// A READ that fails proves nothing: neither that the data is lost, nor anything of
// what it is. What was promised stays promised, and a READ that succeeds has it.
func fromAFailedRead(t *testing.T, c *client) {
	for block := range uint64(blocks) {
		version, e := c.write(block, devices.FUA)
		if e != devices.OK {
			t.Fatalf("a write fails with %v", e)
		}
		until(t, func() devices.Errno {
			got, e := c.read(block)
			if e == devices.OK && got != version || e != devices.OK && got != unread {
				t.Errorf("block %d: %v with version %d, written was %d", block, e, got, version)
			}
			if left := c.left(block); left != version {
				t.Errorf("block %d: a power cut after the READ leaves version %d, promised was %d", block, left, version)
			}
			return e
		})
	}
	if e := c.flush(); e != devices.OK {
		t.Errorf("FLUSH fails with %v", e)
	}
	c.both(t)
}

// A WRITE that fails leaves the old data or the new. Written again and promised,
// it is there.
func fromAFailedWrite(t *testing.T, c *client) {
	kept, changed := 0, 0
	for block := range uint64(blocks) {
		var old devices.Stamp
		until(t, func() devices.Errno {
			version, e := c.write(block, devices.FUA)
			got, _ := c.read(block)
			switch {
			case got == version && e == devices.OK:
				if left := c.left(block); left != version {
					t.Errorf("block %d: a power cut leaves version %d, promised was %d", block, left, version)
				}
			case got == version:
				changed++
			case got == old && e != devices.OK:
				kept++
			default:
				t.Errorf("block %d: %v, and version %d is there, which is neither %d nor %d", block, e, got, old, version)
			}
			old = got
			return e
		})
	}
	if kept == 0 || changed == 0 {
		t.Errorf("of the writes that failed %d had been done and %d had not, expected some of each", changed, kept)
	}
	c.both(t)
}

// A FLUSH that fails promises nothing, and what was written is not durable by it.
// The data is not dropped: the next one that succeeds has it.
func fromAFailedFlush(t *testing.T, c *client) {
	exposed := 0
	for block := range uint64(blocks) {
		version, e := c.write(block, 0)
		if e != devices.OK {
			t.Fatalf("a write fails with %v", e)
		}
		until(t, func() devices.Errno {
			e := c.flush()
			if e != devices.OK && c.left(block) != version {
				exposed++
			}
			if got, _ := c.read(block); got != version {
				t.Errorf("block %d: after a FLUSH that ended with %v a READ has version %d, written was %d", block, e, got, version)
			}
			return e
		})
		if left := c.left(block); left != version {
			t.Errorf("block %d: a power cut after the FLUSH leaves version %d, promised was %d", block, left, version)
		}
	}
	if exposed == 0 {
		t.Error("every FLUSH that failed made its data durable all the same")
	}
	c.both(t)
}

// A slow command does what it would have done, later; an answer that does not
// come is not an answer.
func fromASlowCommand(t *testing.T, c *client) {
	late := 0
	for block := range uint64(blocks) {
		begun := c.loop.Now()
		version, e := c.write(block, devices.FUA)
		if c.loop.Now().Sub(begun) >= 100*time.Millisecond {
			late++
		}
		if left := c.left(block); e != devices.OK || left != version {
			t.Errorf("block %d: %v, and a power cut leaves version %d, promised was %d", block, e, left, version)
		}
	}
	if late == 0 || late == blocks {
		t.Errorf("%d of %d writes took 100 ms longer, expected some", late, blocks)
	}
}
