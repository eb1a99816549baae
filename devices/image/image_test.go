package image

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/internal/host"
)

const size = 4 << 20

func open(t *testing.T, path string, o Options) *Media {
	t.Helper()
	m, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func content(m drive.Media) []byte {
	b := make([]byte, size)
	m.Read(0, size, &devices.Payload{Bytes: b})
	return b
}

// What is in the file, in a copy of it, and in the file opened once more is what
// a medium in memory has after the same writes.
func TestAnImageHoldsWhatMemoryWould(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "image")
		m, err := Open(path, Options{Size: size, Sync: rapid.Bool().Draw(t, "sync")})
		if err != nil {
			t.Fatal(err)
		}
		want := drive.NewMedia(drive.RealBytes)
		for i := range rapid.IntRange(1, 20).Draw(t, "writes") {
			off := rapid.Uint64Range(0, size/512-1).Draw(t, "sector") * 512
			n := min(rapid.Uint64Range(1, 300).Draw(t, "sectors")*512, size-off)
			c := drive.Content{Bytes: bytes.Repeat([]byte{byte(i + 1)}, int(n))}
			if rapid.Bool().Draw(t, "zero") {
				c = drive.Content{Zero: true}
			}
			m.Write(off, n, c)
			want.Write(off, n, c)
		}
		if !bytes.Equal(content(m), content(want)) || !bytes.Equal(content(m.Clone()), content(want)) {
			t.Fatal("the image, or its copy, differs from memory")
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(path, Options{Size: size})
		if err != nil || !bytes.Equal(content(again), content(want)) {
			t.Fatalf("opened again, the image differs: %v", err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		_ = again.Close()
	})
}

func TestAnImageIsOpenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	m := open(t, path, Options{Size: size})
	if _, err := Open(path, Options{Size: size}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path, Options{Size: size}).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnImageOfAnotherSizeIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := open(t, path, Options{Size: size}).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Size: 2 * size}); err == nil || !strings.Contains(err.Error(), "expected 8388608") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(t.TempDir(), Options{Size: size}); err == nil {
		t.Error("a directory was opened")
	}
}

// TestAnImageThatCannotBeMadeLeavesNoFile, while one that was there stays.
func TestAnImageThatCannotBeMadeLeavesNoFile(t *testing.T) {
	const most = 1 << 63 // no file system has that
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	if _, err := Open(path, Options{Size: most}); err == nil || !strings.Contains(err.Error(), "9223372036854775808 bytes") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file is left")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "target"), link); err != nil {
		t.Fatal(err)
	}
	for _, there := range []string{path, link} {
		if _, err := Open(there, Options{Size: most}); err == nil {
			t.Errorf("%s was made", there)
		}
		if _, err := os.Lstat(there); err != nil {
			t.Errorf("what was there is gone: %v", err)
		}
	}
}

func TestADiscardedImageLeavesAFileOnlyIfThereWasOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := open(t, path, Options{Size: size}).Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file is left")
	}
	if err := open(t, path, Options{Size: size}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path, Options{Size: size}).Discard(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestAnErrorOfTheHostStays(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "image"), Options{Size: size})
	if err := m.file.Close(); err != nil {
		t.Fatal(err)
	}
	m.Write(0, 512, drive.Content{Bytes: make([]byte, 512)})
	if m.Err() == nil {
		t.Error("a write to a closed file went well")
	}
}

// extents are what BLOCK_STATUS of all of an image says.
func extents(m drive.Media) []devices.StatusExtent {
	var b devices.BlockStatus
	b.Reset(devices.MaxStatusExtents)
	drive.MediaStatus(m, 0, size, &b)
	return b.Extents
}

const hole = devices.StatusZero | devices.StatusHole

// TestStatusIsTheFilesOwn also once the image has been opened again.
func TestStatusIsTheFilesOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	m := open(t, path, Options{Size: size})
	if got := extents(m); !slices.Equal(got, []devices.StatusExtent{{Length: size, Flags: hole}}) {
		t.Errorf("empty: %v", got)
	}
	m.Write(1<<20, 128<<10, drive.Content{Bytes: bytes.Repeat([]byte{1}, 128<<10)})
	m.Write(1<<20+32<<10, 32<<10, drive.Content{Zero: true})
	m.Write(2<<20, 64<<10, drive.Content{Zero: true, Provision: true})
	want := []devices.StatusExtent{
		{Length: 1 << 20, Flags: hole},
		{Length: 32 << 10},
		{Length: 32 << 10, Flags: hole},
		{Length: 64 << 10},
		{Length: 1<<20 - 128<<10, Flags: hole},
		{Length: 64 << 10},
		{Length: size - 2<<20 - 64<<10, Flags: hole},
	}
	if got := extents(m); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, path, Options{Size: size})
	if got := extents(m); !slices.Equal(got, want) {
		t.Errorf("opened again: %v, want %v", got, want)
	}
	if run, f := m.Status(1<<20-512, 1024); run != 512 || f != hole {
		t.Errorf("512 bytes before the data: %d, %v", run, f)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsCalledZeroReadsAsZeros after any writes, of any sectors.
func TestWhatIsCalledZeroReadsAsZeros(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "image")
		m, err := Open(path, Options{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		for i := range rapid.IntRange(1, 20).Draw(t, "writes") {
			off := rapid.Uint64Range(0, size/512-1).Draw(t, "sector") * 512
			n := min(rapid.Uint64Range(1, 300).Draw(t, "sectors")*512, size-off)
			c := drive.Content{Bytes: bytes.Repeat([]byte{byte(i + 1)}, int(n))}
			if rapid.Bool().Draw(t, "zero") {
				c = drive.Content{Zero: true, Provision: rapid.Bool().Draw(t, "provision")}
			}
			m.Write(off, n, c)
		}
		all, at := content(m), uint64(0)
		for _, e := range extents(m) {
			if part := all[at : at+e.Length]; e.Flags&devices.StatusZero != 0 && !bytes.Equal(part, make([]byte, len(part))) {
				t.Fatalf("%d bytes at %d are called zeros and are not", e.Length, at)
			}
			at += e.Length
		}
		if at != size {
			t.Fatalf("the extents are %d bytes of %d", at, size)
		}
		if err := errors.Join(m.Close(), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
	})
}

// A sync before the write would leave the write itself in the host's page cache.
func TestTheFileHasTheWriteWhenItIsSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	var want, got []byte
	m := open(t, path, Options{Size: size, Sync: true, Datasync: func(f *os.File) error {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got = b[8192:12288]
		return host.Datasync(f)
	}})
	for _, c := range []drive.Content{
		{Bytes: bytes.Repeat([]byte{1}, 4096)},
		{Zero: true},
		{Bytes: bytes.Repeat([]byte{2}, 4096)},
		{Zero: true, Provision: true},
	} {
		if want, got = c.Bytes, nil; c.Zero {
			want = make([]byte, 4096)
		}
		m.Write(8192, 4096, c)
		if !bytes.Equal(got, want) {
			t.Errorf("zeros %v, NO_HOLE %v: when it was synced the file did not have them", c.Zero, c.Provision)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// A kill in the middle of zeros must not leave a part of a sector.
func TestZerosBeginOnAPage(t *testing.T) {
	z, err := zeroPages()
	if err != nil {
		t.Fatal(err)
	}
	if at := uintptr(unsafe.Pointer(&z[0])); at%uintptr(os.Getpagesize()) != 0 || len(z) != zeroPiece {
		t.Errorf("%d zeros at %#x, expected a page", len(z), at)
	}
}
