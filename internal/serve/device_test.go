package serve

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// deviceRig is a served device on a loop in virtual time, and one client of it.
type deviceRig struct {
	t      *testing.T
	loop   *sim.Loop
	device *device
	client devices.Device
}

const rigBlock = 4096

func newDeviceRig(t *testing.T, device string) *deviceRig { return newLoggedRig(t, device, nil, nil) }

// newLoggedRig is a rig whose export writes logs to these files, if any.
func newLoggedRig(t *testing.T, device string, log, writes *os.File) *deviceRig {
	t.Helper()
	b := &deviceRig{t: t, loop: sim.NewLoop()}
	c := &Config{Device: device, Strategy: "pass", Size: 1 << 30, Seed: 1, KeepSuperseded: true}
	if log != nil {
		c.Log, c.LogWrites = log, writes
	}
	var err error
	if b.device, err = newDevice(c, "", b.loop, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.device.record(); err != nil {
		t.Fatal(err)
	}
	b.connect(b.device)
	return b
}

// connect opens l as a client does that connects now.
func (b *deviceRig) connect(l *device) {
	b.t.Helper()
	var err error
	if b.client, err = l.export().Open(nbd.ConnInfo{}); err != nil {
		b.t.Fatal(err)
	}
}

// reply is called when a request is done.
type reply struct {
	t    *testing.T
	done bool
}

func (a *reply) Done(r *devices.Request) {
	if a.done = true; r.Errno != devices.OK && r.Errno != devices.ESHUTDOWN {
		a.t.Fatalf("%v: %v", r, r.Errno)
	}
}

// begin submits a request and returns at once.
func (b *deviceRig) begin(r *devices.Request) *reply {
	a := &reply{t: b.t}
	r.Completer = a
	r.Begin(b.loop.Now())
	b.client.Submit(r)
	return a
}

// do submits a request and waits for its reply.
func (b *deviceRig) do(r *devices.Request) *devices.Request {
	a := b.begin(r)
	b.loop.RunWhile(func() bool { return !a.done })
	return r
}

// pattern is a write of n blocks from block on, all of one byte.
func pattern(c byte, block, n uint64, flags devices.Flags) *devices.Request {
	r := &devices.Request{Op: devices.OpWrite, Flags: flags, Offset: block * rigBlock, Length: n * rigBlock}
	r.Bytes = bytes.Repeat([]byte{c}, int(n*rigBlock))
	return r
}

func aFlush() *devices.Request { return &devices.Request{Op: devices.OpFlush} }

// blocks is what a new client of l reads of the first n blocks: one byte of each,
// of which the rest is the same.
func (b *deviceRig) blocks(l *device, n int) []byte {
	b.t.Helper()
	before := b.client
	b.connect(l)
	r := &devices.Request{Op: devices.OpRead, Length: uint64(n) * rigBlock}
	r.Bytes = make([]byte, n*rigBlock)
	b.do(r)
	b.client = before
	out := make([]byte, n)
	for i := range out {
		block := r.Bytes[i*rigBlock : (i+1)*rigBlock]
		if out[i] = block[0]; !bytes.Equal(block, bytes.Repeat(block[:1], rigBlock)) {
			b.t.Fatalf("block %d is torn", i)
		}
	}
	return out
}

func (b *deviceRig) cut(seed sim.Seed, image string) {
	b.t.Helper()
	if _, err := b.device.cut(seed, image); err != nil {
		b.t.Fatal(err)
	}
}

func (b *deviceRig) clone(seed sim.Seed, image string) *device {
	b.t.Helper()
	l, _, err := b.device.clone("clone", seed, image)
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

func TestACutLosesWhatIsInAVolatileCacheAndNothingElse(t *testing.T) {
	for _, device := range []string{"hdd-7200", "nvme-990pro", "nvme-pm963", "raid-bbu", "hdd-7200-wt"} {
		b := newDeviceRig(t, device)
		b.do(pattern(1, 0, 2, 0))
		b.do(aFlush())
		b.do(pattern(2, 1, 2, 0))
		b.cut(1, imageDevice)
		want := []byte{1, 2, 2}
		if b.device.model.Info().Cache == devices.CacheVolatile {
			want = []byte{1, 1, 0}
		}
		if got := b.blocks(b.device, 3); !bytes.Equal(got, want) {
			t.Errorf("%s: blocks %v after the cut, expected %v", device, got, want)
		}
		if r := b.do(pattern(3, 0, 1, 0)); r.Errno != devices.ESHUTDOWN {
			t.Errorf("%s: a connection of before the cut: %v", device, r.Errno)
		}
	}
}

// A drive that has lost its power writes no more, though its timers still run.
func TestNothingReachesTheMediumAfterACut(t *testing.T) {
	for _, device := range []string{"hdd-7200", "nvme-990pro", "nvme-980", "hdd-7200-wt", "raid-bbu"} {
		b := newDeviceRig(t, device)
		b.begin(pattern(1, 0, 4, devices.FUA))
		b.begin(pattern(2, 4, 4, 0))
		b.begin(aFlush())
		b.cut(1, imageWorst)
		for b.loop.Step() {
		}
		if got := b.blocks(b.device, 8); !bytes.Equal(got, make([]byte, 8)) {
			t.Errorf("%s: blocks %v, expected zeros: nothing was there when the power went", device, got)
		}
	}
}

func TestACloneAndItsOriginalDoNotShareAMedium(t *testing.T) {
	for _, device := range []string{"nvme-990pro", "nvme-pm963", "raid-bbu", "ram"} {
		b := newDeviceRig(t, device)
		b.do(pattern(1, 0, 3, devices.FUA))
		clone := b.clone(1, imageDevice)
		b.do(pattern(2, 0, 1, devices.FUA))
		b.connect(clone)
		b.do(pattern(3, 1, 1, devices.FUA))
		if got := b.blocks(clone, 3); !bytes.Equal(got, []byte{1, 3, 1}) {
			t.Errorf("%s: the clone has blocks %v", device, got)
		}
		if got := b.blocks(b.device, 3); !bytes.Equal(got, []byte{2, 1, 1}) {
			t.Errorf("%s: the original has blocks %v", device, got)
		}
	}
}

// Clones of several seeds are several images, if the contract leaves more than
// one, and each of them is legal.
func TestClonesOfSeveralSeedsAreSeveralLegalImages(t *testing.T) {
	for _, device := range []string{"hdd-7200", "nvme-990pro"} {
		path := filepath.Join(t.TempDir(), "idle.yaml") // time passes while clones are read
		if err := os.WriteFile(path, []byte("extends: "+device+"\nname: idle\ncache: {idle_destage: 0s}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newDeviceRig(t, path)
		b.do(pattern(1, 0, 32, 0))
		b.do(aFlush())
		b.do(pattern(2, 0, 16, 0))
		different := map[string]bool{}
		for seed := range sim.Seed(8) {
			got := b.blocks(b.clone(seed, imageRandom), 32)
			different[string(got)] = true
			if i := slices.IndexFunc(got, func(c byte) bool { return c != 1 && c != 2 }); i >= 0 || !bytes.Equal(got[16:], bytes.Repeat([]byte{1}, 16)) {
				t.Errorf("%s: seed %d gives blocks %v", device, seed, got)
			}
		}
		if len(different) < 6 {
			t.Errorf("%s: 8 seeds give %d images", device, len(different))
		}
		for _, image := range []string{imageDevice, imageWorst} {
			if got := b.blocks(b.clone(1, image), 32); !bytes.Equal(got, bytes.Repeat([]byte{1}, 32)) {
				t.Errorf("%s: image %s has blocks %v, of a cache that was lost", device, image, got)
			}
		}
		b.do(aFlush()) // then there is one image
		for seed := range sim.Seed(4) {
			if got := b.blocks(b.clone(seed, imageRandom), 16); !bytes.Equal(got, bytes.Repeat([]byte{2}, 16)) {
				t.Errorf("%s: seed %d gives blocks %v after a FLUSH", device, seed, got)
			}
		}
	}
}

// A page that is written when the power goes may be torn on any drive: a test for
// torn pages on one that never is would pass for nothing.
func TestACutTearsAWriteInFlight(t *testing.T) {
	for _, device := range []string{"hdd-7200-wt", "nvme-pm963", "raid-bbu", "nvme-p4800x", "ebs-gp3"} {
		torn := 0
		for seed := range sim.Seed(8) {
			b := newDeviceRig(t, device)
			b.begin(pattern(2, 0, 16, 0))
			b.cut(seed, imageDevice)
			if got := b.blocks(b.device, 16); bytes.Contains(got, []byte{0}) && bytes.Contains(got, []byte{2}) {
				torn++
			}
		}
		if torn < 6 {
			t.Errorf("%s: %d of 8 cuts tore the 64 KiB in flight", device, torn)
		}
	}
}

// promised is called before the reply, by which the logs must have it.
type promised struct {
	*deviceRig
	log   string
	dm    string
	bytes []byte // that the log of writes must have by then
	done  bool
}

func (p *promised) Done(r *devices.Request) {
	p.t.Helper()
	p.done = true
	log, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	l, err := history.Read(bytes.NewReader(log))
	if err != nil {
		p.t.Fatal(err)
	}
	if n := len(l.Events); n == 0 || l.Events[n-1].Kind != history.Done || l.Torn != nil {
		p.t.Errorf("%v was answered before the log had its reply: %d events", r, n)
	}
	b, err := os.ReadFile(p.dm)
	if err != nil {
		p.t.Fatal(err)
	}
	if !bytes.Contains(b, p.bytes) {
		p.t.Errorf("%v was answered before the log of writes had its data", r)
	}
}

func TestTheLogsHaveAPromiseBeforeTheClientHasTheReply(t *testing.T) {
	for _, flags := range []devices.Flags{0, devices.FUA} {
		var files [2]*os.File
		for i, name := range []string{"log", "dm"} {
			var err error
			if files[i], err = os.Create(filepath.Join(t.TempDir(), name)); err != nil {
				t.Fatal(err)
			}
			defer files[i].Close()
		}
		b := newLoggedRig(t, "nvme-990pro", files[0], files[1])
		p := &promised{deviceRig: b, log: files[0].Name(), dm: files[1].Name(), bytes: bytes.Repeat([]byte{7}, rigBlock)}
		last := pattern(7, 0, 1, flags)
		if flags == 0 {
			b.do(last)
			last = aFlush()
		}
		last.Completer = p
		last.Begin(b.loop.Now())
		b.client.Submit(last)
		for b.loop.Step() {
		}
		if !p.done {
			t.Error("no reply")
		}
	}
}

// What is said to the control socket: with a seed a clone is one of the images
// that the contract leaves, otherwise a cut is what this drive leaves.
func TestWhichImageACutCommandRequests(t *testing.T) {
	b := newDeviceRig(t, "ram")
	for _, c := range []struct {
		words []string
		seed  sim.Seed
		image string
	}{
		{nil, b.device.nextSeed(), imageDevice},
		{[]string{"--seed", "7"}, 7, imageDevice},
		{[]string{"--clone", "x"}, b.device.nextSeed(), imageDevice},
		{[]string{"--clone", "x", "--seed", "7"}, 7, imageRandom},
		{[]string{"--clone", "x", "--seed", "7", "--image", "worst"}, 7, imageWorst},
		{[]string{"--image", "random"}, b.device.nextSeed(), imageRandom},
	} {
		q, err := parseCut(c.words)
		if err != nil {
			t.Fatalf("%v: %v", c.words, err)
		}
		if seed, image := q.of(b.device); seed != c.seed || image != c.image {
			t.Errorf("%v: seed %d, image %s, expected %d, %s", c.words, seed, image, c.seed, c.image)
		}
	}
	for _, words := range [][]string{{"--image"}, {"--image", "best"}, {"--seed", "x"}, {"--what", "1"}} {
		if q, err := parseCut(words); err == nil {
			t.Errorf("%v is %+v", words, q)
		}
	}
}
