package kernel

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices/history"
	"nbdbench/internal/vm"
)

var (
	inGuest   = flag.Bool("guest", false, "this is the guest")
	guestRun  = flag.String("guest.run", "", "which of the guest's tests to run")
	guestCuts = flag.Int("guest.cuts", 2, "power cuts for each file system and strategy")
	guestSeed = flag.Uint64("guest.seed", 1, "of the power cuts")
	update    = flag.Bool("update", false, "rewrite docs/KERNEL.md and testdata")
)

// guestOnly skips what would change the host.
func guestOnly(t *testing.T) {
	t.Helper()
	if !*inGuest {
		t.Skip("only for the virtual machine")
	}
}

const repository = "../../.."

// guestTimeout keeps a guest that hangs from hanging forever; no test is about time.
func guestTimeout() time.Duration {
	if *capturesInVM {
		return 3 * time.Hour
	}
	return 5*time.Minute + time.Duration(*guestCuts)*2*time.Minute
}

func TestInAVirtualMachine(t *testing.T) {
	if *inGuest {
		t.Skip("this is the virtual machine")
	}
	if testing.Short() {
		t.Skip("the virtual machine takes minutes")
	}
	image, err := newImage(t, "-test.run '^TestGuest.*("+*guestRun+")'")
	switch required := os.Getenv("CI") != "" || os.Getenv("NBDBENCH_REQUIRE_PEERS") == "1"; {
	case errors.Is(err, fs.ErrNotExist) && !required:
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	r := boot(t, image)
	t.Run("Documents", r.documents)
	t.Run("Files", r.keep)
}

// boot runs the guest to its end, and is what it reported.
func boot(t *testing.T, image *vm.Image) *report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guestTimeout()+time.Minute)
	defer cancel()
	dir := t.TempDir()
	reader, writer := io.Pipe()
	listened := make(chan *report, 1)
	go func() { listened <- listen(t, reader) }()
	m := vm.Machine{Image: image, Dir: dir, Memory: 3072, CPUs: 2, Args: guestDrives(t, dir)}
	err := errors.Join(m.Run(ctx, writer), writer.Close())
	r := <-listened
	if err != nil || r.exit != "0" {
		console, _ := os.ReadFile(filepath.Join(dir, "console.log"))
		t.Errorf("the guest ended with %q: %v\nthe kernel's last words:\n%s", r.exit, err, tail(console, 6000))
	}
	if r.passed == 0 {
		t.Error("none of the guest's tests passed")
	}
	for _, name := range r.failed {
		t.Errorf("the guest's %s failed", name)
	}
	return r
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// newImage is what the guest boots: everything that its tests use, which it runs with
// these flags.
func newImage(t *testing.T, flags string) (*vm.Image, error) {
	k, err := vm.FindKernel(filepath.Join(repository, "bin", "vm"))
	if err != nil {
		return nil, err
	}
	i := vm.NewImage(k)
	if err := errors.Join(
		i.Busybox(),
		i.Programs("mke2fs", "e2fsck", "mkfs.xfs", "xfs_repair", "mkfs.btrfs", "btrfs", "sqlite3", "dmsetup", "nbdinfo", "nbdcopy", "nbdkit"),
		i.Plugin("/usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-memory-plugin.so"),
		// nbd.ko is xz as on many distributions; between them all forms are tried.
		i.Modules(vm.Packed{"nbd": ".xz", "xfs": ".zst", "libcrc32c": ".gz"}, "nbd", "xfs", "btrfs", "dm-log-writes", "vsock_loopback",
			"virtio_pci", "virtio_blk", "ata_piix", "sd_mod"),
		i.Copy("/etc/mke2fs.conf", ""),
	); err != nil {
		return nil, err
	}
	i.Add("/init", 0o755, []byte(fmt.Sprintf(initScript, guestTimeout(), flags, *guestCuts, *guestSeed)))
	dir := t.TempDir()
	return i, errors.Join(
		goBuild(i, dir, "/guest/test", "test", "-c", "."),
		goBuild(i, dir, "/guest/nbdbench", "build", "nbdbench/cmd/nbdbench"),
	)
}

const initScript = `#!/bin/sh
export PATH=/guest:/sbin:/bin HOME=/root GOMEMLIMIT=1500MiB
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs dev /dev && mount -t tmpfs tmp /tmp
ip link set lo up
stty -F /dev/ttyS1 raw
exec >/dev/ttyS1 2>&1
cd /tmp
/guest/test -guest -test.v -test.timeout %s %s -guest.cuts %d -guest.seed %d
echo "@exit $?"
poweroff -f
`

// goBuild builds a static program and puts it into the image.
func goBuild(i *vm.Image, dir, as string, args ...string) error {
	file := filepath.Join(dir, filepath.Base(as))
	c := exec.Command("go", append([]string{args[0], "-ldflags=-s -w", "-o", file}, args[1:]...)...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return i.Copy(file, as)
}

// report is what the guest said.
type report struct {
	exit   string
	passed int
	failed []string
	texts  map[string]string // for the documents
	files  map[string][]byte // for testdata
}

// The lines by which the guest hands something over, until the line that ends
// it.
const (
	beginText = "@text "
	beginFile = "@file " // in base64
	endOfIt   = "@end"
	exitLine  = "@exit "
)

// listen logs what the guest says, and keeps what it hands over.
func listen(t *testing.T, r io.Reader) *report {
	out := &report{texts: map[string]string{}, files: map[string][]byte{}}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	var name string
	var body bytes.Buffer
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		switch {
		case strings.HasPrefix(line, beginText), strings.HasPrefix(line, beginFile):
			name, body = line, bytes.Buffer{}
		case line == endOfIt:
			out.take(t, name, body.Bytes())
			name = ""
		case name != "":
			body.WriteString(line + "\n")
		default:
			out.line(t, line)
		}
	}
	return out
}

func (r *report) line(t *testing.T, line string) {
	t.Log("guest: " + line)
	if code, ok := strings.CutPrefix(line, exitLine); ok {
		r.exit = code
	}
	if _, rest, ok := strings.Cut(line, "--- PASS: "); ok && rest != "" {
		r.passed++
	}
	if _, rest, ok := strings.Cut(line, "--- FAIL: "); ok {
		r.failed = append(r.failed, rest)
	}
}

func (r *report) take(t *testing.T, begin string, body []byte) {
	if name, ok := strings.CutPrefix(begin, beginText); ok {
		r.texts[name] = string(body)
		t.Logf("guest: %s\n%s", name, body)
		return
	}
	name := strings.TrimPrefix(begin, beginFile)
	data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(body), "\n", ""))
	if err != nil {
		t.Errorf("file %s from the guest: %v", name, err)
		return
	}
	r.files[name] = data
}

// handText gives the host a text for its documents.
func handText(name, text string) {
	fmt.Printf("%s%s\n%s\n%s\n", beginText, name, strings.TrimRight(text, "\n"), endOfIt)
}

// handFile gives the host a file.
func handFile(name string, data []byte) {
	text := base64.StdEncoding.EncodeToString(data)
	fmt.Printf("%s%s\n", beginFile, name)
	for len(text) > 0 {
		n := min(len(text), 4096)
		fmt.Println(text[:n])
		text = text[n:]
	}
	fmt.Println(endOfIt)
}

// documents holds docs/KERNEL.md against what the guest measured.
func (r *report) documents(t *testing.T) {
	for name, got := range r.texts {
		holdDocument(t, name, got)
	}
}

// holdDocument holds a block of docs/KERNEL.md against what it should say.
func holdDocument(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(repository, "docs", "KERNEL.md")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin := "<!-- generated: " + name + " -->\n```\n"
	before, rest, ok := strings.Cut(string(doc), begin)
	want, after, closed := strings.Cut(rest, "```\n")
	switch {
	case !ok || !closed:
		t.Errorf("%s has no block %q for\n%s", file, strings.TrimSpace(begin), got)
	case want == got:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+got+"```\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: %s says\n%s\nexpected\n%s", file, name, want, got)
	}
}

// keep holds testdata against what the guest captured, by what makes it durable:
// where things are differs from run to run. It rewrites it where that is asked for.
func (r *report) keep(t *testing.T) {
	for name, data := range r.files {
		t.Logf("%s: %d bytes", name, len(data))
		if !*update {
			if log, err := history.Read(bytes.NewReader(data)); err == nil && !slices.Equal(skeleton(log), skeleton(captured(t, name))) {
				t.Errorf("%s: got %v, want %v", name, skeleton(log), skeleton(captured(t, name)))
			}
			continue
		}
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
