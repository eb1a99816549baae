package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/internal/fusefile"
	"nbdbench/internal/serve"
	"nbdbench/sim"
)

// order is what the run asks of the device process, a line of JSON each.
type order struct {
	Seed  uint64 `json:"seed"`
	Image string `json:"image"` // a cut, with this image; empty is none
	At    string `json:"at"`    // the event that the cut waits for; empty is none
	Save  string `json:"save"`  // write the image of the last cut to this new file
	Units bool   `json:"units"` // with a cut: note which units it lacks
	// Restored are those of these units, by number, that Save writes as they were
	// acknowledged last.
	Restored []int `json:"restored"`
}

// answer is its answer, and the first one says that it is ready.
type answer struct {
	Error   string          `json:"error"`
	Block   uint32          `json:"block"` // logical block in bytes
	Flush   bool            `json:"flush"` // FLUSH is advertised
	Exposed uint64          `json:"exposed"`
	Units   []uint64        `json:"units"`  // where those are that the cut lacks, in bytes
	Beyond  bool            `json:"beyond"` // there are more than serve.MaxUndurable, or are not known
	Counts  fusefile.Counts `json:"counts"`
}

// maxOrder bounds an order, in bytes: one that restores serve.MaxUndurable units.
const maxOrder = 1 << 20

// station has the simulated drive, in the device process.
type station struct {
	real *sim.Real
	live *serve.Live
	file *fusefile.File
	size uint64
	last drive.Media  // the image of the last cut
	lost []serve.Unit // that it lacks
	many bool         // more than are compared
	top  *watched     // what is served
}

// serveDevice is the device process: it serves the drive by FUSE until in ends.
func (c *Config) serveDevice(in io.Reader, out io.Writer) (err error) {
	loop := sim.NewLoop()
	live, err := serve.NewLive(serve.Config{Device: c.Device, Strategy: c.Strategy, Size: c.size(), Seed: sim.Seed(c.Seed), Fault: c.Fault, KeepSuperseded: c.Image != "device"}, loop)
	if err != nil {
		return err
	}
	real, err := sim.NewReal(loop)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, real.Close()) }()
	s := &station{real: real, live: live, size: live.Device().Info().Size}
	s.top = &watched{Device: live.Device()}
	if s.file, err = fusefile.Mount(fusefile.Config{Dir: fmt.Sprintf("/dev/fd/%d", fuseFD), Device: s.top, Real: real}); err != nil {
		return err
	}
	info := live.Device().Info()
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(answer{Block: max(info.LogicalBlock, 512), Flush: info.CanFlush}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxOrder)
	for lines.Scan() {
		var o order
		a := answer{}
		err := json.Unmarshal(lines.Bytes(), &o)
		if err == nil {
			a, err = s.carryOut(&o)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

// carryOut carries out an order.
func (s *station) carryOut(o *order) (a answer, err error) {
	if o.Image != "" {
		s.last, s.lost = nil, nil // one image at a time
		a.Exposed, err = s.cut(o)
		a.Beyond = s.many
		for i := range s.lost {
			a.Units = append(a.Units, s.lost[i].Off)
		}
	}
	if err == nil && o.Save != "" {
		err = s.save(o.Save, o.Restored)
	}
	a.Counts = s.file.Counts()
	return a, err
}

// eventTimeout is how long a cut waits for its event.
const eventTimeout = 30 * time.Second

// cut takes an image: at once, or at the event that the order names.
func (s *station) cut(o *order) (exposed uint64, err error) {
	e, err := parseEvent(o.At)
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	take := func() {
		defer close(done)
		if !o.Units {
			s.last, exposed, err = s.live.Image(sim.Seed(o.Seed), o.Image)
			return
		}
		var few bool
		s.last, exposed, s.lost, few, err = s.live.ImageAndUndurable(sim.Seed(o.Seed), o.Image)
		s.many = !few
	}
	s.real.Do(func() {
		if !e.inDevice() {
			take()
			return
		}
		s.top.event, s.top.left, s.top.cut = e, e.nth, take
	})
	limit := time.NewTimer(eventTimeout)
	defer limit.Stop()
	select {
	case <-done:
		return exposed, err
	case <-limit.C:
	}
	missed := false
	s.real.Do(func() { missed, s.top.left = s.top.left > 0, 0 })
	if missed {
		return 0, fmt.Errorf("--at %s: expected that within %v, and it has not come", o.At, eventTimeout)
	}
	<-done
	return exposed, err
}

// savePiece is how much of an image is read at a time, in bytes.
const savePiece = 1 << 20

// save writes the last image to a new file, sparse where it has no data, with some units
// restored.
func (s *station) save(path string, restored []int) error {
	if s.last == nil {
		return errors.New("no image: expected a cut first")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(s.size))
	b := make([]byte, savePiece)
	for off := uint64(0); off < s.size && err == nil; {
		n, flags := drive.StatusOf(s.last, off, min(savePiece, s.size-off))
		if flags&devices.StatusZero == 0 {
			s.last.Read(off, n, &devices.Payload{Bytes: b[:n]})
			_, err = f.WriteAt(b[:n], int64(off))
		}
		off += n
	}
	for _, n := range restored {
		if err == nil && (n < 0 || n >= len(s.lost)) {
			err = fmt.Errorf("unit %d: expected one of %d", n, len(s.lost))
		}
		if err == nil {
			_, err = f.WriteAt(s.lost[n].Newest, int64(s.lost[n].Off))
		}
	}
	return errors.Join(err, f.Close())
}

// remote is the device process as the run sees it.
type remote struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	first answer
}

// startDevice starts the device process and waits until it serves.
func (c *Config) startDevice(ctx context.Context, talk io.Writer) (*remote, error) {
	if err := os.MkdirAll(fuseDir, 0o700); err != nil {
		return nil, err
	}
	fuse, err := mountFUSE(fuseDir)
	if err != nil {
		return nil, err
	}
	defer fuse.Close() // the device process has it
	cmd := c.again(stageDevice)
	cmd.Stderr, cmd.ExtraFiles = talk, []*os.File{fuse}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startFlusher(cmd); err != nil {
		return nil, fmt.Errorf("starting the device process: %w", err)
	}
	r := &remote{cmd: cmd, in: in, out: bufio.NewReader(out)}
	context.AfterFunc(ctx, func() { _ = in.Close() })
	if r.first, err = r.read(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// fuseFD is the descriptor of /dev/fuse in the device process.
const fuseFD = 3

// mountFUSE mounts a FUSE file system on dir that is served through the file returned.
// The device process has a mount namespace of its own, which never has the mounts on the
// drive: the last process of a namespace waits at its end for their data to be written,
// which the device process could not serve any more.
func mountFUSE(dir string) (*os.File, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,max_read=%d", fd, fusefile.MaxRequest)
	if err := unix.Mount("nbdbench", dir, "fuse.nbdbench", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("mounting a FUSE file system on %s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}

// startFlusher starts a program with PR_SET_IO_FLUSHER, which it inherits from the
// thread that starts it: the kernel then never waits in it for dirty pages to be written.
func startFlusher(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0) == nil { // else the kernel has none
		defer func() { _ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0) }()
	}
	return cmd.Start()
}

// read reads an answer.
func (r *remote) read() (a answer, err error) {
	line, err := r.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("the device process has ended: %w", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, fmt.Errorf("the device process: %s", a.Error)
	}
	return a, nil
}

// ask has an order carried out.
func (r *remote) ask(o order) (answer, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return answer{}, err
	}
	if _, err := r.in.Write(append(b, '\n')); err != nil {
		return answer{}, fmt.Errorf("the device process has ended: %w", err)
	}
	return r.read()
}

// close ends the process.
func (r *remote) close() error {
	if err := r.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return r.cmd.Wait()
}

// fuseDir is where the drive is a file.
var fuseDir = filepath.Join(Dir, "device")
