package host

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The bounds of a trace.
const (
	traceKiB     = 1024    // of the kernel's buffer, on each processor
	maxTraceLine = 1 << 16 // bytes
)

// instances numbers the traces of this process.
var instances atomic.Uint64

// Watch counts what the kernel sends to a storage's disk.
type Watch struct {
	stat   string // the disk's sums in /sys/block
	before [statFields]uint64
	own    []sectors
	// fileWithoutFUA says that the storage is a file, on a queue without FUA.
	fileWithoutFUA bool

	fs     int      // tracefs, if that was mounted for the trace, else -1
	dir    string   // of the instance; empty without one
	marker *os.File // holds the instance
	why    error    // why there is no trace
}

// Watch prepares to count what the kernel sends to the storage's disk. Without
// tracefs, which needs root, it counts by /sys/block alone, and Why says why. Extents
// are the file's, as Fill has them.
func (s *Storage) Watch(extents Extents) (*Watch, error) {
	y := realSystem()
	if s.disk.Name == "" {
		return nil, &Missing{What: "no disk is under " + s.path}
	}
	w := &Watch{stat: filepath.Join(y.dir(s.disk.Name), "stat"), fs: -1, fileWithoutFUA: s.kind != Block && !s.disk.FUA}
	if _, err := w.sums(); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(s.file.Fd()), &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	dev := st.Dev
	if s.kind == Block {
		dev = st.Rdev
	}
	w.own = s.sectors(y, y.name(dev), extents)
	if w.why = w.trace(y, s.disk.Name, y.name(dev)); w.why != nil {
		return w, w.removeTrace()
	}
	return w, nil
}

// sectors are the storage's on its disk; nil if they are not known. Btrfs has
// addresses of its own.
func (s *Storage) sectors(y system, part string, extents Extents) (out []sectors) {
	start, _ := strconv.ParseUint(y.read(part, "start"), 10, 64) // a whole disk has none
	if s.kind == Block {
		return []sectors{{start, start + s.info.Size/512}}
	}
	if !extents.Known || s.disk.FileSystem == "btrfs" {
		return nil
	}
	for _, x := range extents.List {
		next := sectors{start + x.Physical/512, start + (x.Physical+x.Length)/512}
		if n := len(out); n > 0 && out[n-1].to == next.from {
			out[n-1].to = next.to
			continue
		}
		out = append(out, next)
	}
	return out
}

// Why is why the requests themselves cannot be traced; nil if they can.
func (w *Watch) Why() error { return w.why }

// trace makes an instance of tracefs that has the disk's requests alone. It is off.
func (w *Watch) trace(y system, disk, part string) error {
	root, err := w.tracefs()
	if err != nil {
		return err
	}
	sweep(root)
	dir := filepath.Join(root, "instances", fmt.Sprintf("%s%d-%d", instancePrefix, os.Getpid(), instances.Add(1)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	w.dir = dir
	if w.marker, err = os.OpenFile(filepath.Join(dir, "trace_marker"), os.O_WRONLY, 0); err != nil {
		return err
	}
	events := []string{eventIssue, eventRequeue}
	if _, err := os.Stat(filepath.Join(y.dir(disk), "mq")); err != nil {
		events = []string{eventBio} // a driver of bios, as the device mapper's
	}
	number := func(name string) uint64 {
		var major, minor uint64
		if _, err := fmt.Sscanf(y.number(name), "%d:%d", &major, &minor); err != nil {
			return 0
		}
		return major<<20 | minor // as the kernel has it
	}
	filter := fmt.Sprintf("dev == %d || dev == %d", number(disk), number(part))
	errs := []error{w.set("tracing_on", "0"), w.set("buffer_size_kb", strconv.Itoa(traceKiB))}
	for _, e := range events {
		errs = append(errs, w.set("events/block/"+e+"/filter", filter), w.set("events/block/"+e+"/enable", "1"))
	}
	return errors.Join(errs...)
}

// instancePrefix begins the names of our instances, before the process's number.
const instancePrefix = "nbdbench-"

// sweep removes the instances of processes that were killed. One in use is held.
func sweep(root string) {
	found, _ := filepath.Glob(filepath.Join(root, "instances", instancePrefix+"*")) // the pattern is good
	for _, dir := range found {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), instancePrefix), "-")
		if _, err := os.Stat("/proc/" + pid); err != nil {
			_ = os.Remove(dir) // another process may be as quick
		}
	}
}

// tracefs is where tracefs is. If it is not mounted, it is mounted where no other
// process sees it, and is gone when the descriptor is closed.
func (w *Watch) tracefs() (string, error) {
	const mounted = "/sys/kernel/tracing"
	if _, err := os.Stat(mounted + "/instances"); err == nil {
		return mounted, nil
	} else if errors.Is(err, os.ErrPermission) {
		return "", err
	}
	context, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return "", os.NewSyscallError("fsopen tracefs", err)
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return "", os.NewSyscallError("fsconfig tracefs", err)
	}
	if w.fs, err = unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0); err != nil {
		w.fs = -1
		return "", os.NewSyscallError("fsmount tracefs", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", w.fs), nil
}

func (w *Watch) set(name, value string) error {
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Begin begins to count.
func (w *Watch) Begin() (err error) {
	if w.before, err = w.sums(); err != nil || w.dir == "" {
		return err
	}
	return errors.Join(w.set("trace", ""), w.set("tracing_on", "1"))
}

// End is what was sent since Begin, for what the Device was asked since then. An error
// says what is not known.
func (w *Watch) End(asked Asked) (Sent, error) {
	after, err := w.sums()
	if err != nil {
		return Sent{}, err
	}
	if w.dir != "" {
		return w.read()
	}
	return w.bySums(after, asked), nil
}

// read counts the trace.
func (w *Watch) read() (Sent, error) {
	if err := w.set("tracing_on", "0"); err != nil {
		return Sent{}, err
	}
	if n, err := w.lost(); err != nil || n > 0 {
		return Sent{}, errors.Join(err, fmt.Errorf("the kernel's trace lost %d requests", n))
	}
	f, err := os.Open(filepath.Join(w.dir, "trace"))
	if err != nil {
		return Sent{}, err
	}
	defer f.Close()
	c := tally{own: w.own, sent: Sent{Traced: true}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxTraceLine)
	for lines.Scan() {
		if err := c.line(lines.Text()); err != nil {
			return Sent{}, err
		}
	}
	return c.sent, lines.Err()
}

// lost is how many events had no room in the kernel's buffers.
func (w *Watch) lost() (total uint64, err error) {
	files, err := filepath.Glob(filepath.Join(w.dir, "per_cpu/cpu*/stats"))
	for _, name := range files {
		text, e := os.ReadFile(name)
		err = errors.Join(err, e)
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			if n, e := strconv.ParseUint(strings.TrimSpace(value), 10, 64); e == nil && (key == "overrun" || key == "dropped events") {
				total += n
			}
		}
	}
	return total, err
}

// The sums of /sys/block (Documentation/block/stat.rst), by their places.
const (
	statWrites  = 4
	statFlushes = 15
	statFields  = 16
)

// sums reads the disk's sums so far.
func (w *Watch) sums() (out [statFields]uint64, err error) {
	text, err := os.ReadFile(w.stat)
	if err != nil {
		return out, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < statFields {
		return out, fmt.Errorf("%s: expected at least %d numbers, got %d", w.stat, statFields, len(fields))
	}
	for i := range out {
		if out[i], err = strconv.ParseUint(fields[i], 10, 64); err != nil {
			return out, fmt.Errorf("%s: %w", w.stat, err)
		}
	}
	return out, nil
}

// bySums is what was sent between two readings. The kernel counts the empty request
// that asks for a FLUSH as a write: fdatasync makes one where there is a cache to
// flush, and so does RWF_DSYNC of a file where the queue has no FUA.
func (w *Watch) bySums(after [statFields]uint64, asked Asked) Sent {
	s := Sent{Write: after[statWrites] - w.before[statWrites], Flush: after[statFlushes] - w.before[statFlushes]}
	if s.Flush > 0 {
		s.Write -= min(s.Write, asked.Flush)
		if w.fileWithoutFUA {
			s.Write -= min(s.Write, asked.FUA)
		}
	}
	return s
}

// Close ends the trace.
func (w *Watch) Close() error { return w.removeTrace() }

func (w *Watch) removeTrace() error {
	var errs []error
	if w.marker != nil {
		errs = append(errs, w.marker.Close())
	}
	if w.dir != "" {
		errs = append(errs, os.Remove(w.dir))
	}
	if w.fs >= 0 {
		errs = append(errs, unix.Close(w.fs))
	}
	w.marker, w.dir, w.fs = nil, "", -1
	return errors.Join(errs...)
}
