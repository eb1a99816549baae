package kernel

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices/history"
	"nbdbench/internal/capture"
	"nbdbench/internal/vm"
)

var (
	captures     = flag.String("captures", "", "the programs to capture, as a regular expression")
	capturesInVM = flag.Bool("captures.vm", false, "capture in the virtual machine, not on this machine's kernel")
)

// captureFiles is where the summaries are.
const captureFiles = repository + "/workloads/testdata/captures"

// TestCapturesOfPrograms runs databases on ext4, and holds what their commits request
// of the block device against the committed captures. On this machine, as root, it is a
// loop device, which takes FLUSH and not FUA: the requests are those that the file
// system hands to the block layer, FUA among them, but what it does by itself where a
// device takes FUA is not seen. In the virtual machine it is an NBD device that takes
// both.
func TestCapturesOfPrograms(t *testing.T) {
	switch {
	case *inGuest:
		t.Skip("this is the virtual machine")
	case *captures == "":
		t.Skip("make capture runs the programs")
	case *capturesInVM:
		captureInVM(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Fatal("loop devices and tracefs need root")
	}
	some := false
	wanted := regexp.MustCompile(*captures)
	for _, s := range subjects() {
		if wanted.MatchString(s.name) && !s.vm {
			some = true
			t.Run(s.name, func(t *testing.T) { keepCapture(t, s.name, captureOf(t, s, newTracedDisk)) })
		}
	}
	if !some {
		t.Errorf("no program matches %s", *captures)
	}
}

// captureInVM is the same in the virtual machine.
func captureInVM(t *testing.T) {
	image, err := newImage(t, "-test.run ^TestGuestCaptures -captures '"+*captures+"'")
	if err == nil {
		err = addPrograms(image)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range boot(t, image).files {
		keepCapture(t, strings.TrimSuffix(name, ".txt"), data)
	}
}

// TestGuestCaptures is TestCapturesOfPrograms in the guest.
func TestGuestCaptures(t *testing.T) {
	guestOnly(t)
	if *captures == "" {
		t.Skip("for TestCapturesOfPrograms")
	}
	loadModules(t)
	wanted := regexp.MustCompile(*captures)
	for _, s := range subjects() {
		if wanted.MatchString(s.name) {
			t.Run(s.name, func(t *testing.T) { handFile(s.name+".txt", captureOf(t, s, newServedDisk)) })
		}
	}
}

// addPrograms puts the programs and what they read into the image.
func addPrograms(i *vm.Image) error {
	const postgres = "/usr/lib/postgresql/15/"
	err := errors.Join(
		i.Programs("psql", "mariadbd", "mariadb", "redis-server", "etcd", "db_bench", "ldb"), i.Plugin(python),
		i.Tree("/usr/share/postgresql/15", within("/man")), i.Tree("/usr/share/mysql", nil), i.Tree("/usr/share/zoneinfo/Etc", nil),
		i.Tree("/usr/lib/python3.11", within("/test", "/idlelib", "/__pycache__", "/lib2to3", "/pydoc_data", "/config-")),
		i.Tree("/usr/lib/python3/dist-packages/lmdb", nil),
	)
	for _, program := range []string{"psql", "postgres", "initdb"} {
		err = errors.Join(err, i.Plugin(postgres+"bin/"+program))
	}
	for _, library := range []string{"dict_snowball.so", "plpgsql.so"} {
		err = errors.Join(err, i.Plugin(postgres+"lib/"+library))
	}
	i.Add("/etc/passwd", 0o644, []byte("root:x:0:0::/root:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\n"))
	i.Add("/etc/hosts", 0o644, []byte("127.0.0.1 localhost\n"))
	return err
}

// within skips paths that contain one of these.
func within(parts ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(path, p) })
	}
}

// keepCapture holds a capture against the committed one: the same flushes and writes
// with FUA for a commit, within a twentieth, and bytes within a tenth. It replaces it
// where that is asked for.
func keepCapture(t *testing.T, name string, data []byte) {
	file := filepath.Join(captureFiles, name+".txt")
	if *update {
		if err := errors.Join(os.MkdirAll(captureFiles, 0o755), os.WriteFile(file, data, 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	before, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is not there: make capture writes it", file)
		return
	}
	want, err2 := capture.Read(bytes.NewReader(before))
	got, err3 := capture.Read(bytes.NewReader(data))
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what      string
		got, want float64
		within    float64
	}{
		{"flushes", got.Rate(got.Flushes), want.Rate(want.Flushes), 0.05},
		{"writes with FUA", got.Rate(got.FUAs), want.Rate(want.FUAs), 0.05},
		{"bytes", got.Rate(got.Bytes), want.Rate(want.Bytes), 0.1 * want.Rate(want.Bytes)},
	} {
		if d := c.got - c.want; d < -c.within || d > c.within {
			t.Errorf("%s: %.2f %s for a commit, expected %.2f within %.2f", name, c.got, c.what, c.want, c.within)
		}
	}
}

// session is a program that commits one transaction when it is asked to.
type session struct {
	program string // with its version
	command string
	commit  func(n int) error // returns once it is acknowledged
	close   func() error
	sql     func(text string) error // of SQLite: runs something else
	// steady is called once, after the first commits, before those that are recorded.
	steady func() error
	// logged is how many bytes the program has in its log, by its own count; nil is
	// not known.
	logged func() (uint64, error)
	// all has the program commit so many times by itself, in place of commit.
	all func(n int) error
}

// subject is what is captured.
type subject struct {
	name     string // of the file, and of the profile that is held against it
	settings string // and what a commit is
	first    int    // commits before those that are recorded
	open     func(t *testing.T, dir string) (*session, error)
	system   system
	vm       bool // for the virtual machine alone
	count    int  // of the recorded commits; 0 is recorded
}

// system is a file system that is made for a capture; the zero value is ext4 as mke2fs
// makes it.
type system struct {
	kind    string
	make    []string // and the device
	options string   // of mount, besides those that keep its timers away
}

// filled is the system with its defaults.
func (s system) filled() system {
	s.kind = cmp.Or(s.kind, "ext4")
	for _, f := range fileSystems {
		if f.name == s.kind && s.make == nil {
			s.make = f.make
		}
	}
	timers := map[string]string{"ext4": "noinit_itable,commit=3600", "btrfs": "commit=3600", "xfs": "defaults"}[s.kind]
	s.options = strings.Trim(timers+","+s.options, ",")
	return s
}

// recorded is how many commits a capture has.
const recorded = 200

// recorder is a disk of which the requests are recorded.
type recorder interface {
	path() string
	about() string // the device, in words
	begin()        // a record
	end()
	records() ([][]history.Event, error)
	close() error
}

// captureOf runs the program on an ext4 of its own, and returns the capture as text. The
// journal's timer and periodic write-back are off: what they write belongs to no commit,
// and how often they run depends on the machine's speed.
func captureOf(t *testing.T, s subject, open func(t *testing.T) recorder) []byte {
	t.Helper()
	r := open(t)
	system := s.system.filled()
	sh(t, append(slices.Clone(system.make), r.path())...)
	withoutWriteback(t)
	dir := filepath.Join(t.TempDir(), s.name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) { // for a database that refuses root
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, "mount", "-t", system.kind, "-o", system.options, r.path(), dir)
	err := os.Chmod(dir, 0o777)
	var c *capture.Capture
	if err == nil {
		c, err = s.record(t, dir, r)
	}
	sh(t, "umount", dir)
	if err := errors.Join(err, r.close()); err != nil {
		t.Fatal(err)
	}
	c.On = fmt.Sprintf("%s (%s) of Linux %s, %s, no periodic write-back", system.kind, system.options, strings.TrimSpace(sh(t, "uname", "-r")), r.about())
	var text bytes.Buffer
	if err := c.Write(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s:\n%s", s.name, &text)
	return text.Bytes()
}

// withoutWriteback keeps the kernel from writing dirty pages by the clock until the test
// ends.
func withoutWriteback(t *testing.T) {
	t.Helper()
	const file = "/proc/sys/vm/dirty_writeback_centisecs"
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte("0"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, before, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// record has the program commit, and counts.
func (s *subject) record(t *testing.T, dir string, r recorder) (*capture.Capture, error) {
	p, err := s.open(t, dir)
	if err != nil {
		return nil, err
	}
	c := &capture.Capture{Program: p.program, Settings: s.settings, Command: p.command}
	if p.all != nil {
		return c, errors.Join(s.recordAll(p, c, r), p.close())
	}
	for n := range s.first {
		if err := p.commit(n); err != nil {
			return nil, errors.Join(fmt.Errorf("commit %d: %w", n, err), p.close())
		}
	}
	if p.steady != nil {
		if err := p.steady(); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	unix.Sync()
	before, err := p.length()
	for n := range cmp.Or(s.count, recorded) {
		r.begin()
		err = errors.Join(err, p.commit(s.first+n))
		r.end()
	}
	after, err2 := p.length()
	records, err3 := r.records()
	for _, events := range records {
		c.Add(events)
	}
	c.Logged = after - before
	return c, errors.Join(err, err2, err3, p.close())
}

// recordAll is for a program that does not say when it has committed: a commit ends
// with the last FLUSH or FUA write before another write.
func (s *subject) recordAll(p *session, c *capture.Capture, r recorder) error {
	r.begin()
	err := p.all(s.first + recorded)
	r.end()
	records, err2 := r.records()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	commits := capture.Split(records[0])
	if len(commits) < s.first+recorded {
		return fmt.Errorf("expected %d commits, got %d", s.first+recorded, len(commits))
	}
	for _, events := range commits[s.first:][:recorded] {
		c.Add(events)
	}
	return nil
}

func (p *session) length() (uint64, error) {
	if p.logged == nil {
		return 0, nil
	}
	return p.logged()
}
