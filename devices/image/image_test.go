package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
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

func content(m devices.Media) []byte {
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
		want := devices.NewMedia(devices.RealBytes)
		for i := range rapid.IntRange(1, 20).Draw(t, "writes") {
			off := rapid.Uint64Range(0, size/512-1).Draw(t, "sector") * 512
			n := min(rapid.Uint64Range(1, 300).Draw(t, "sectors")*512, size-off)
			c := devices.Content{Bytes: bytes.Repeat([]byte{byte(i + 1)}, int(n))}
			if rapid.Bool().Draw(t, "zero") {
				c = devices.Content{Zero: true}
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

func TestAnErrorOfTheHostStays(t *testing.T) {
	m := open(t, filepath.Join(t.TempDir(), "image"), Options{Size: size})
	if err := m.file.Close(); err != nil {
		t.Fatal(err)
	}
	m.Write(0, 512, devices.Content{Bytes: make([]byte, 512)})
	if m.Err() == nil {
		t.Error("a write to a closed file went well")
	}
}
