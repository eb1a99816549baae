package kernel

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/host"
	"nbdbench/sim"
)

// guestDrive is a drive of the guest: what the kernel makes of it, and what it has to
// be sent for each commit.
type guestDrive struct {
	name       string // its serial number
	about      string
	args       []string // of QEMU, with FILE for its file
	cache, fua bool
	file       bool   // try a file of ext4 on it, too
	durable    string // for a write with FUA
	flushed    string // for a write and a FLUSH
}

// guestDriveTable are virtio with and without a write cache, NVMe with FUA, and IDE, to
// which libata sends no FUA.
var guestDriveTable = []guestDrive{
	{"cached", "virtio, write cache", []string{"-drive", "file=FILE,format=raw,if=none,id=cached,cache=writeback", "-device", "virtio-blk-pci,drive=cached,serial=cached"}, true, false, false, "1 WRITE, 1 FLUSH", "1 WRITE, 1 FLUSH"},
	{"through", "virtio, no write cache", []string{"-drive", "file=FILE,format=raw,if=none,id=through,cache=writethrough", "-device", "virtio-blk-pci,drive=through,serial=through"}, false, false, false, "1 WRITE", "1 WRITE"},
	{"nvme", "NVMe", []string{"-drive", "file=FILE,format=raw,if=none,id=nvme", "-device", "nvme,drive=nvme,serial=nvme"}, true, true, true, "1 WRITE+FUA", "1 WRITE, 1 FLUSH"},
	{"piix", "IDE", []string{"-drive", "file=FILE,format=raw,if=none,id=piix", "-device", "piix3-ide,id=ata", "-device", "ide-hd,drive=piix,bus=ata.0,serial=piix"}, true, false, false, "1 WRITE, 1 FLUSH", "1 WRITE, 1 FLUSH"},
}

// guestDrives gives QEMU the drives, with files in a directory.
func guestDrives(t *testing.T, dir string) (args []string) {
	t.Helper()
	for _, d := range guestDriveTable {
		file := filepath.Join(dir, d.name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, 32<<20); err != nil {
			t.Fatal(err)
		}
		for _, a := range d.args {
			args = append(args, strings.ReplaceAll(a, "FILE", file))
		}
	}
	return args
}

// path is where the guest has the drive, once it is there.
func (d *guestDrive) path(t *testing.T) string {
	t.Helper()
	for t.Context().Err() == nil {
		found, err := filepath.Glob("/sys/block/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range found {
			for _, attribute := range []string{"serial", "device/serial", "device/vpd_pg80"} {
				if text, err := os.ReadFile(filepath.Join(dir, attribute)); err == nil && strings.Contains(string(text), d.name) {
					return "/dev/" + filepath.Base(dir)
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("there is no drive %s", d.name)
	return ""
}

// stored is a device over the guest's storage.
type stored struct {
	t       *testing.T
	real    *sim.Real
	storage *host.Storage
	device  *host.Device
	watch   *host.Watch
}

func store(t *testing.T, path string) *stored {
	t.Helper()
	s := &stored{t: t}
	var err error
	if s.storage, err = host.Open(path, host.Config{Direct: true}); err != nil {
		t.Fatal(err)
	}
	if s.real, err = sim.NewReal(sim.NewLoop()); err != nil {
		t.Fatal(err)
	}
	if s.device, err = s.storage.Device(s.real); err != nil {
		t.Fatal(err)
	}
	extents, err := s.storage.Fill()
	if err != nil {
		t.Fatal(err)
	}
	if s.watch, err = s.storage.Watch(extents); err != nil {
		t.Fatal(err)
	}
	if s.watch.Why() != nil {
		t.Fatal(s.watch.Why())
	}
	return s
}

func (s *stored) close() {
	s.t.Helper()
	for _, err := range []error{s.watch.Close(), s.device.Close(), s.real.Close(), s.storage.Close()} {
		if err != nil {
			s.t.Error(err)
		}
	}
}

func (s *stored) must(r *devices.Request) {
	s.t.Helper()
	n := &countdown{1}
	s.real.Do(func() {
		r.Completer = n
		s.device.Submit(r)
	})
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.real.RunWhile(ctx, func() bool { return n.left > 0 }); err != nil || r.Errno != devices.OK {
		s.t.Fatalf("%v: %v, %v", r, err, r.Errno)
	}
}

// commits counts what the kernel sends for so many commits, by the block tracepoints.
func (s *stored) commits(n int, flags devices.Flags, flush bool) string {
	s.t.Helper()
	before := s.device.Asked()
	if err := s.watch.Begin(); err != nil {
		s.t.Fatal(err)
	}
	data := make([]byte, 4096)
	for i := range n {
		s.must(write(uint64(2*i)<<12, flags, data))
		if flush {
			s.must(&devices.Request{Op: devices.OpFlush})
		}
	}
	sent, err := s.watch.End(s.device.Asked().Sub(before))
	if err != nil || !sent.Traced {
		s.t.Fatalf("%+v: %v", sent, err)
	}
	var words []string
	for _, k := range []struct {
		name string
		n    uint64
	}{{"WRITE", sent.Write}, {"WRITE+FUA", sent.WriteFUA}, {"FLUSH", sent.Flush}} { // others are not ours
		switch {
		case k.n%uint64(n) != 0:
			words = append(words, fmt.Sprintf("%d/%d %s", k.n, n, k.name))
		case k.n > 0:
			words = append(words, fmt.Sprintf("%d %s", k.n/uint64(n), k.name))
		}
	}
	return strings.Join(words, ", ")
}

func TestGuestDrivesAreSentWhatTheirQueuesTake(t *testing.T) {
	guestOnly(t)
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "Drives") {
		t.Skip("for make guest-drives: some guests have stood still at a drive without a write cache")
	}
	loadModules(t, "virtio_pci", "virtio_blk", "ata_piix", "sd_mod")
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "drive\twrite_cache\tfua\twrite with FUA\twrite, then FLUSH")
	for _, d := range guestDriveTable {
		t.Run(d.name, func(t *testing.T) {
			const n = 8
			path := d.path(t)
			s := store(t, path)
			disk := s.storage.Disk()
			durable, flushed := s.commits(n, devices.FUA, false), s.commits(n, 0, true)
			health := s.storage.Health()
			s.close()
			if disk.WriteCache != d.cache || disk.FUA != d.fua || durable != d.durable || flushed != d.flushed {
				t.Errorf("%+v: got %q and %q, want %q and %q", disk, durable, flushed, d.durable, d.flushed)
			}
			if d.name == "nvme" && (health.NVMe == nil || health.Celsius == nil || *health.Celsius < 0 || *health.Celsius > 100) {
				t.Errorf("the drive says nothing of its temperature: %+v", health)
			}
			fmt.Fprintf(w, "%s\t%v\t%v\t%s\t%s\n", d.about, disk.WriteCache, disk.FUA, durable, flushed)
			if !d.file {
				return
			}
			if durable, flushed = onAFile(t, path, n); durable != d.durable || flushed != d.flushed {
				t.Errorf("on a file: got %q and %q, want %q and %q", durable, flushed, d.durable, d.flushed)
			}
			fmt.Fprintf(w, "%s, a file of ext4\t%v\t%v\t%s\t%s\n", d.about, disk.WriteCache, disk.FUA, durable, flushed)
		})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	handText("what a drive is sent", b.String())
}

// onAFile is the same on a file of a file system.
func onAFile(t *testing.T, device string, n int) (durable, flushed string) {
	t.Helper()
	dir := t.TempDir()
	sh(t, "mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", device, "8M")
	sh(t, "mount", "-t", "ext4", device, dir)
	defer sh(t, "umount", dir)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s := store(t, file)
	defer s.close()
	sh(t, "sync")
	return s.commits(n, devices.FUA, false), s.commits(n, 0, true)
}
