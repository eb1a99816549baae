package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/nbd/kernel"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// disk is a simulated device that is served to the guest's kernel.
type disk struct {
	t      *testing.T
	real   *sim.Real
	model  catalog.Device
	server *socket.Server
	uri    socket.URI
	served chan error
}

// export is how a device is served.
type export struct {
	device    string // "" is the drive that every test uses
	size      uint64
	contents  drive.Media // what the device holds, durably; nil is zeros
	strategy  string
	advertise *layer.Advertised
	// tap goes around the model, below the strategy.
	tap func(loop *sim.Loop, model catalog.Device) devices.Device
	// wire goes around everything, where the requests arrive.
	wire func(loop *sim.Loop, served devices.Device) devices.Device
}

// testDrive is the device of all these tests: a consumer SSD with a volatile cache,
// which takes FUA.
const testDrive = "nvme-990pro"

var sockets atomic.Int64

// serve serves until the test ends.
func serve(t *testing.T, x export) *disk {
	t.Helper()
	loop := sim.NewLoop()
	if x.device == "" {
		x.device = testDrive
	}
	o := catalog.Options{Mode: drive.RealBytes, Size: x.size, Seed: 1}
	if x.contents != nil {
		o.Media = x.contents.Clone()
	}
	model, err := catalog.Open(x.device, loop, o)
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{t: t, model: model}
	inner := devices.Device(model)
	if x.tap != nil {
		inner = x.tap(loop, model)
	}
	s, ok := layer.Lookup(x.strategy)
	if !ok {
		t.Fatalf("no strategy %q", x.strategy)
	}
	outer, err := s.Server(inner, layer.Options{Loop: loop})
	if err != nil {
		t.Fatal(err)
	}
	if x.advertise != nil {
		outer = layer.Advertise(outer, *x.advertise)
	}
	if x.wire != nil {
		outer = x.wire(loop, outer)
	}
	d.listen(loop, outer)
	return d
}

// listen serves the device on a socket of its own.
func (d *disk) listen(loop *sim.Loop, outer devices.Device) {
	d.t.Helper()
	d.listenExport(loop, &nbd.Export{Device: outer})
}

func (d *disk) listenExport(loop *sim.Loop, e *nbd.Export) {
	d.t.Helper()
	var err error
	if d.real, err = sim.NewReal(loop); err != nil {
		d.t.Fatal(err)
	}
	d.server = socket.NewServer(d.real, e)
	l, u, err := socket.Listen(socket.URI{Network: "unix", Address: fmt.Sprintf("/tmp/nbd%d", sockets.Add(1))})
	if err != nil {
		d.t.Fatal(err)
	}
	d.uri, d.served = u, make(chan error, 1)
	go func() { d.served <- d.server.Serve(l) }()
	d.t.Cleanup(func() {
		if err := d.server.Close(); err != nil {
			d.t.Error(err)
		}
		<-d.served
		if err := d.real.Close(); err != nil {
			d.t.Error(err)
		}
	})
}

// attach gives the device to the kernel until the test ends.
func (d *disk) attach(c kernel.Config) *kernel.Attachment {
	d.t.Helper()
	a, err := kernel.Attach(d.t.Context(), d.uri, c)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := a.Detach(); err != nil {
			d.t.Errorf("detach %s: %v", a.Path, err)
		}
	})
	return a
}

// sh runs a command of the guest, which has to succeed.
func sh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a command of the guest.
func try(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

// loadModules loads nbd and what else is named.
func loadModules(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range append([]string{"nbd"}, names...) {
		if err := (&kernel.Modules{}).Load(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGuestModulesLoadCompressedAsXZAsZstdAndAsGzip(t *testing.T) {
	guestOnly(t)
	for name, packed := range map[string]string{"nbd": ".xz", "xfs": ".zst", "libcrc32c": ".gz"} {
		var m kernel.Modules
		before, err := m.Probe(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Load(name); err != nil {
			t.Fatalf("%s.ko%s: %v", name, packed, err)
		}
		after, err := m.Probe(name)
		if err != nil || after != kernel.Loaded {
			t.Errorf("%s.ko%s: %v before, %v after: %v", name, packed, before, after, err)
		}
		if _, err := os.Stat("/sys/module/" + name); err != nil {
			t.Error(err)
		}
	}
	if s, err := (&kernel.Modules{}).Probe("ext4"); s != kernel.BuiltIn || err != nil {
		t.Errorf("ext4 is %v, %v: expected built in", s, err)
	}
	if s, err := (&kernel.Modules{}).Probe("reiserfs"); s != kernel.Absent || err == nil {
		t.Errorf("reiserfs is %v, %v: expected absent, with an error", s, err)
	}
}

// forgetful is testDrive with a cache that keeps all it can for as long as it can,
// so that a power cut takes as much as the protocol lets it; and quick.
const forgetful = `name: forgetful
title: a drive that destages only when it must
extends: nvme-990pro
cache: {capacity: 256MiB, high_water: 256MiB, low_water: 128MiB, idle_destage: 0s}
ssd: {flush_base: 20us, flush_per_stripe: 10us, fua_base: 20us}
`

// forgetfulDrive is the path of its profile, with these lies.
func forgetfulDrive(t *testing.T, lies string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forgetful.yaml")
	if err := os.WriteFile(path, []byte(forgetful+lies), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
