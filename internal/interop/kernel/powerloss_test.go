package kernel

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/layer"
	"nbdbench/nbd/kernel"
	"nbdbench/sim"
)

// fileSystem is one that the guest can make, mount and check.
type fileSystem struct {
	name  string
	size  uint64   // the least that it can do with, more or less
	make  []string // and the device
	check []string // and the device: changes nothing, exits 0 if all is well
}

var fileSystems = []fileSystem{
	// blocks of 4 KiB, the drive's atomic unit: the least that files_test.go counts on
	{"ext4", 64 << 20, []string{"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096"}, []string{"e2fsck", "-f", "-n"}},
	{"xfs", 320 << 20, []string{"mkfs.xfs", "-q", "-f"}, []string{"xfs_repair", "-n"}},
	{"btrfs", 128 << 20, []string{"mkfs.btrfs", "-q", "-f"}, []string{"btrfs", "check", "--readonly"}},
}

// load makes the kernel have the file system.
func (f *fileSystem) load(t *testing.T) {
	t.Helper()
	if f.name == "ext4" {
		loadModules(t) // it is built in
		return
	}
	loadModules(t, f.name)
}

// mount mounts the device on a directory of its own while use uses it.
func (f *fileSystem) mount(t *testing.T, path string, use func(dir string)) error {
	t.Helper()
	dir, err := os.MkdirTemp("", f.name)
	if err != nil {
		t.Fatal(err)
	}
	if f.name == "btrfs" { // it remembers devices by what they hold
		sh(t, "btrfs", "device", "scan", "--forget")
	}
	if out, err := try("mount", "-t", f.name, path, dir); err != nil {
		return fmt.Errorf("mount: %w: %s", err, strings.TrimSpace(out))
	}
	use(dir)
	sh(t, "umount", dir)
	return os.Remove(dir)
}

// fresh is a file system that was just made, with the files that app begins
// with.
func (f *fileSystem) fresh(t *testing.T, prepare func(dir string) error) drive.Media {
	t.Helper()
	media := drive.NewMedia(drive.RealBytes)
	newRestarted(t, f.size).with(media, func(path string) {
		sh(t, append(f.make, path)...)
		err := f.mount(t, path, func(dir string) {
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return media
}

// application is what writes to a file system and knows what it saw acknowledged as
// durable.
type application interface {
	// prepare makes what is there from the beginning, durably, below mount.
	prepare(mount string) error
	// run carries out operations below mount until it is halted or one fails.
	run(mount string) error
	halt()
	// done counts the operations that were acknowledged.
	done() *atomic.Uint64
	// lost counts those of the first acked operations that are not there, below
	// mount, after a cut, and says what is wrong first.
	lost(mount string, acked uint64) (n int, why string)
}

// loss is what power cuts did to a file system.
type loss struct {
	cuts, withLoss, operations, unmountable, inconsistent int

	acked uint64 // operations, over all cuts
	first string // what was wrong first
}

func (l *loss) say(format string, args ...any) {
	if l.first == "" {
		l.first = fmt.Sprintf(format, args...)
	}
}

// whole reports whether nothing was lost and every file system was in order.
func (l *loss) whole() bool { return l.withLoss+l.unmountable+l.inconsistent == 0 }

// exports are the ways in which a drive is served under power loss. Those that
// are not durable are there to show that losses would be found.
var exports = []struct {
	name, strategy string
	advertise      *layer.Advertised
	durable        bool
	lies           string // of the drive
	least          int    // cuts without which a loss may well not show
}{
	{"native", "native", nil, true, "", 0},
	{"emulate", "emulate", nil, true, "", 0},
	{"none", "none", nil, true, "", 0},
	{"discard", "discard", nil, false, "", 0},
	{"FUA alone", "native", &layer.Advertised{FUA: true}, false, "", 0},
	{"lying", "native", nil, false, "lies: {flush: true, fua: true}\n", 0},
	// It loses the last commit alone, and only until the next FLUSH.
	{"FUA that lies", "native", nil, false, "lies: {fua: true}\n", 20},
}

// unjudged are controls of which an application may lose nothing. SQLite writes over
// the log that it has, and fdatasync of a file that keeps its size is for ext4 a
// FLUSH alone: only where the log grows does a commit hang on FUA.
var unjudged = map[string]bool{"SQLite WAL FUA that lies": true}

// The cuts that one mount of a file system has at most, and how many operations
// it has done before the first one.
const (
	cutsPerMount = 20
	headStart    = 20
)

func TestGuestFileSystemsKeepWhatWasSyncedWhenThePowerGoes(t *testing.T) {
	guestOnly(t)
	var rows table
	for _, f := range fileSystems {
		rows.lose(t, f, f.name, func() application { return new(files) })
	}
	rows.print("file system")
}

// table is what power cuts did, a row for each application and export.
type table struct{ rows [][]any }

func (b *table) print(what string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, what+"\texport\tcuts\toperations acknowledged\tlost\tcuts with loss\tcannot be mounted\tfsck complains")
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", r...)
	}
	_ = w.Flush() // stdout
	fmt.Printf("(seed %d, %d cuts)\n", *guestSeed, *guestCuts)
}

// lose runs the application on the file system for every export, and holds what
// was lost against what the export is worth.
func (b *table) lose(t *testing.T, f fileSystem, name string, open func() application) {
	t.Helper()
	if *guestCuts == 0 {
		t.Skip("no cuts")
	}
	f.load(t)
	contents := f.fresh(t, open().prepare)
	for _, x := range exports {
		t.Run(name+" "+x.name, func(t *testing.T) {
			if *guestCuts < x.least {
				t.Skipf("a loss is too rare for fewer than %d cuts", x.least)
			}
			var l loss
			for l.cuts < *guestCuts {
				seed := sim.Seed(*guestSeed).Sub(name+x.name, uint64(l.cuts))
				x := export{device: forgetfulDrive(t, x.lies), size: f.size, contents: contents, strategy: x.strategy, advertise: x.advertise}
				t.Run(fmt.Sprintf("from cut %d", l.cuts), func(t *testing.T) { // which frees its devices at its end
					f.cuts(t, &l, x, seed, min(cutsPerMount, *guestCuts-l.cuts), open())
				})
				if t.Failed() {
					return
				}
			}
			t.Logf("%+v", l)
			b.rows = append(b.rows, []any{name, x.name, l.cuts, l.acked, l.operations, l.withLoss, l.unmountable, l.inconsistent})
			if x.durable != l.whole() && !unjudged[name+" "+x.name] {
				t.Errorf("durable: %v, and %+v", x.durable, l)
			}
		})
	}
}

// cuts runs the application on a fresh drive, cuts the power n times, and adds
// what came of it.
func (f *fileSystem) cuts(t *testing.T, l *loss, x export, seed sim.Seed, n int, app application) {
	t.Helper()
	images := f.work(t, x, seed, n, app)
	after := newRestarted(t, f.size)
	for k, i := range images {
		images[k].media = nil
		l.cuts++
		l.acked += i.acked
		after.with(i.media, func(path string) { f.examine(t, l, path, i.acked, app) })
	}
}

// work runs the application until n power cuts were taken.
func (f *fileSystem) work(t *testing.T, x export, seed sim.Seed, n int, app application) (images []image) {
	t.Helper()
	var c *cutter
	x.tap = func(_ *sim.Loop, model catalog.Device) devices.Device {
		c = newCutter(model, x.contents, seed, app.done())
		return c
	}
	d := serve(t, x)
	a := d.attach(kernel.Config{})
	err := f.mount(t, a.Path, func(dir string) {
		ended := make(chan error, 1)
		go func() { ended <- app.run(dir) }()
		wait(t, d.real, func() bool { return app.done().Load() >= headStart })
		d.real.Do(func() { c.begin(n) })
		wait(t, d.real, func() bool { return c.left == 0 })
		app.halt()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	d.real.Do(func() { images = c.images })
	if err := a.Detach(); err != nil {
		t.Fatal(err)
	}
	return images
}

// examine mounts what a cut left and counts what is missing.
func (f *fileSystem) examine(t *testing.T, l *loss, path string, acked uint64, app application) {
	t.Helper()
	lost := 0
	err := f.mount(t, path, func(dir string) {
		var why string
		if lost, why = app.lost(dir, acked); lost > 0 {
			l.say("%s", why)
		}
	})
	if err != nil {
		l.unmountable++
		l.say("%v", err)
		lost = int(acked)
	}
	if l.operations += lost; lost > 0 {
		l.withLoss++
	}
	if err == nil {
		if out, err := try(append(f.check, path)...); err != nil {
			l.inconsistent++
			l.say("%s: %v\n%s", f.check[0], err, out)
		}
	}
}
