package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

const mib = 1 << 20

// randomFile makes a file of random data in which every eighth MiB is a hole,
// so that copying programs use WRITE_ZEROES too.
func randomFile(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{31: 1})
	for at := int64(0); at < size; at += 8 * mib {
		w := io.NewOffsetWriter(f, at)
		if _, err := io.CopyN(w, random, 7*mib); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path
}

func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// copier is a program that copies between a file and an export.
type copier struct {
	name    string
	in, out func(file, uri string) []string
}

var nbdcopy = copier{
	name: "nbdcopy",
	in:   func(file, uri string) []string { return []string{"nbdcopy", "--flush", file, uri} },
	out:  func(file, uri string) []string { return []string{"nbdcopy", uri, file} },
}

var qemuConvert = copier{
	name: "qemu-img",
	in: func(file, uri string) []string {
		return []string{"qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", file, uri}
	},
	out: func(file, uri string) []string {
		return []string{"qemu-img", "convert", "-f", "raw", "-O", "raw", uri, file}
	},
}

func TestDataSurvivesARoundTrip(t *testing.T) {
	need(t, "nbdcopy", "qemu-img")
	size := int64(1 << 30)
	if testing.Short() || underRace() {
		size = 64 * mib
	}
	big, small := randomFile(t, size), randomFile(t, 64*mib)
	for _, c := range []struct {
		name    string
		source  string
		serve   []string
		in, out copier
	}{
		{"ram, nbdcopy in and qemu-img out", big, []string{"ram"}, nbdcopy, qemuConvert},
		{"ram, qemu-img in and nbdcopy out", big, []string{"ram"}, qemuConvert, nbdcopy},
		{"emulated, nbdcopy", small, []string{"nvme-990pro", "--strategy", "emulate"}, nbdcopy, nbdcopy},
		{"emulated, qemu-img", small, []string{"nvme-990pro", "--strategy", "emulate"}, qemuConvert, qemuConvert},
		{"flush only, qemu-img", small, []string{"nvme-990pro", "--strategy", "none"}, qemuConvert, nbdcopy},
	} {
		t.Run(c.name, func(t *testing.T) {
			roundTrip(t, c.source, c.serve, c.in, c.out)
		})
	}
}

// roundTrip copies a file to an export of its size and back.
func roundTrip(t *testing.T, source string, args []string, in, out copier) {
	info, err := os.Stat(source)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, append(args, "--size", itoa(info.Size()))...)
	must(t, "", in.in(source, s.uri)...)
	back := filepath.Join(t.TempDir(), "back")
	must(t, "", out.out(back, s.uri)...)
	if got, want := sum(t, back), sum(t, source); got != want {
		t.Errorf("%s in, %s out: sha256 %s, expected %s", in.name, out.name, got, want)
	}
	must(t, "", "qemu-img", "compare", "-f", "raw", "-F", "raw", source, s.uri)
	if n := s.counts(); n.writes == 0 || n.reads == 0 || n.flushes == 0 {
		t.Errorf("expected reads, writes and a flush at the end, got %+v", n)
	}
}

func TestQemuImgCompareFindsADifference(t *testing.T) {
	need(t, "nbdcopy", "qemu-img", "qemu-io")
	source := randomFile(t, 8*mib)
	s := serve(t, "ram", "--size", "8MiB")
	must(t, "", nbdcopy.in(source, s.uri)...)
	must(t, "", "qemu-io", "-f", "raw", "-c", "write -P 0x5a 5M 512", s.uri)
	if r := run(t, "", "qemu-img", "compare", "-f", "raw", "-F", "raw", source, s.uri); r.code != 1 {
		t.Errorf("expected a difference, which is exit code 1: %v", r)
	}
}
