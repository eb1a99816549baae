package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"nbdbench/internal/stack"
	"nbdbench/sim"
)

// The moments of cuts.
const (
	// gap is the longest time between a cut's check and the next cut.
	gap = 250 * time.Millisecond
	// ackTimeout is how long the first acknowledgement is waited for, and nextTimeout any
	// later one.
	ackTimeout  = 5 * time.Second
	nextTimeout = time.Second
	// lineTimeout is how long --at ack waits.
	lineTimeout = 30 * time.Second
	// checkTimeout bounds a check.
	checkTimeout = 5 * time.Minute
)

// run is a run in progress, in its namespaces.
type run struct {
	config  *Config
	program program
	talk    io.Writer
	stream  sim.Stream

	device *remote
	disk   *loop
	mount  string // empty without a file system
	acks   *channel
	work   *workload

	doc  Document
	cell Cell
}

// run runs the program on the drive and cuts the power.
func (c *Config) run(ctx context.Context, talk io.Writer) (d *Document, err error) {
	if c.Replay != "" {
		return c.replay(ctx, talk)
	}
	p, err := c.program()
	if err != nil {
		return nil, err
	}
	r := &run{config: c, program: p, talk: talk, stream: sim.Seed(c.Seed).Stream("torture")}
	r.doc = Document{Schema: Schema, Via: "fuse", Commands: "FLUSH only", Seed: c.Seed, Image: c.Image}
	if c.Strategy == "none-unsafe" {
		r.doc.Commands = "none"
	}
	r.cell = Cell{Device: c.Device, Strategy: c.Strategy, FS: c.FS, App: p.name}
	defer func() { err = errors.Join(err, r.end()) }()
	if err := r.prepare(ctx); err != nil {
		return nil, cmpCause(ctx, err)
	}
	for r.cell.Cuts < c.Cuts {
		if err := r.cut(ctx); ctx.Err() != nil {
			r.doc.Partial = true
			break
		} else if err != nil {
			return nil, err
		}
	}
	r.doc.Cells = []*Cell{&r.cell}
	return &r.doc, nil
}

// cmpCause is the cause of the end of ctx if it has ended, else err.
func cmpCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// prepare starts the device, makes and mounts the file system, sets it up, and starts
// the program.
func (r *run) prepare(ctx context.Context) (err error) {
	c := r.config
	if r.device, err = c.startDevice(ctx, r.talk); err != nil {
		return err
	}
	if r.disk, err = openLoop(filepath.Join(fuseDir, "disk"), r.device.first.Block, true); err != nil {
		return err
	}
	if c.FS != "none" {
		if err := makeFS(ctx, c.FS, r.disk.path, c.MkfsOptions); err != nil {
			return err
		}
		r.mount = filepath.Join(Dir, "mnt")
		if err := mount(ctx, c.FS, r.disk.path, r.mount, c.MountOptions); err != nil {
			return err
		}
	}
	if r.acks, err = newChannel(filepath.Join(Dir, "acknowledgements")); err != nil {
		return err
	}
	env := []string{"NBDBENCH_MOUNT=" + r.mount, "NBDBENCH_DEV=" + r.disk.path}
	if len(r.program.setup) > 0 {
		if status, said, err := sh(ctx, r.program.setup, append(env, r.program.env...)); err != nil || status != 0 {
			return errors.Join(err, fmt.Errorf("--setup ended with status %d%s", status, quoted(string(said))))
		}
	}
	if r.mount != "" {
		err = syncFS(r.mount)
	}
	if err = errors.Join(err, r.disk.sync()); err != nil {
		return fmt.Errorf("after --setup: %w", err)
	}
	r.work, err = startWorkload(ctx, r.program.workload, append(env, r.program.env...), r.acks)
	if err != nil {
		return err
	}
	return r.awaitAck(ctx, ackTimeout)
}

// awaitAck waits for an acknowledgement, at most so long, or the end of ctx.
func (r *run) awaitAck(ctx context.Context, most time.Duration) error {
	limit := time.NewTimer(most)
	defer limit.Stop()
	select {
	case <-r.acks.news:
	case <-limit.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-r.work.failed:
		return err
	}
	return nil
}

// moment waits for the moment of the next cut: some time, and for every second cut then
// the next acknowledgement.
func (r *run) moment(ctx context.Context, n uint64) error {
	if e, err := parseEvent(r.config.At); err != nil {
		return err
	} else if e.line != nil {
		return r.awaitLine(ctx, &e)
	}
	pause := time.NewTimer(time.Duration(r.stream.Float64(n, 0) * float64(gap)))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-r.work.failed:
		return err
	}
	if r.stream.Uint64(n, 1)&1 == 0 {
		return nil
	}
	select { // an acknowledgement that has come since the last one is no news
	case <-r.acks.news:
	default:
	}
	return r.awaitAck(ctx, nextTimeout)
}

// inDevice is the event of --at if the drive is to wait for it, else empty. The
// acknowledgements of before are those that must survive.
func (r *run) inDevice() string {
	if e, err := parseEvent(r.config.At); err == nil && e.inDevice() {
		return r.config.At
	}
	return ""
}

// awaitLine waits for a new acknowledgement that matches --at.
func (r *run) awaitLine(ctx context.Context, e *event) error {
	before, begun, err := r.acks.drain()
	for err == nil {
		acked, now, failed := r.acks.drain()
		switch {
		case failed != nil || e.acked(acked.data, len(before.data)):
			return failed
		case now-begun > lineTimeout:
			return fmt.Errorf("--at %s: expected such an acknowledgement within %v", r.config.At, lineTimeout)
		}
		err = r.awaitAck(ctx, nextTimeout)
	}
	return err
}

// seedOf is the seed of cut n, from 0.
func (r *run) seedOf(n uint64) uint64 { return uint64(sim.Seed(r.config.Seed).Sub("cut", n)) }

// cut cuts the power once and judges what that leaves.
func (r *run) cut(ctx context.Context) error {
	n := uint64(r.cell.Cuts)
	if err := r.moment(ctx, n); err != nil {
		return err
	}
	acked, at, err := r.acks.drain()
	if err != nil {
		return err
	}
	image := filepath.Join(Dir, fmt.Sprintf("image-%d", n))
	first := r.cell.FirstFailure == nil // if this fails, it is kept and reduced
	a, err := r.device.ask(order{Seed: r.seedOf(n), Image: r.config.Image, Save: image, At: r.inDevice(), Units: first && r.config.Reduce > 0})
	if err != nil {
		return err
	}
	trial := trial{config: r.config, program: &r.program, image: image, block: r.device.first.Block, acked: acked, at: at}
	verdict, err := trial.judge(ctx)
	if err = errors.Join(err, os.Remove(image)); err != nil {
		return err
	}
	r.record(&verdict, &acked, at, &a)
	if verdict.outcome.failed() && first {
		return r.keep(ctx, &verdict, &trial, &a)
	}
	return nil
}

// record adds a cut's verdict to the cell.
func (r *run) record(v *verdict, acked *journal, at time.Duration, a *answer) {
	c := &r.cell
	c.count(v.outcome)
	c.Acks = acked.lines()
	c.AcksLost = max(c.AcksLost, v.lost)
	c.MaxLostWindowNS = max(c.MaxLostWindowNS, int64(acked.window(v.lost, at)))
	c.Torn += v.torn
	if v.fsck {
		c.Fsck++
	}
	c.MaxExposedBytes = max(c.MaxExposedBytes, a.Exposed)
	c.Reads, c.Writes, c.Flushes, c.Zeroes = a.Counts.Reads, a.Counts.Writes, a.Counts.Flushes, a.Counts.Zeroes
}

// end ends the program and the mounts, as far as that is possible: the namespaces end in
// any case.
func (r *run) end() error {
	var errs []error
	if r.work != nil {
		r.work.stop()
	}
	if r.acks != nil {
		errs = append(errs, r.acks.close())
	}
	if r.mount != "" {
		_, _ = unmount(r.mount) // not mounted, or in use: it ends with the namespace
	}
	if r.disk != nil {
		errs = append(errs, r.disk.close())
	}
	if r.device != nil {
		errs = append(errs, r.device.close())
	}
	return errors.Join(errs...)
}

// trial is the image of a cut that is to be judged.
type trial struct {
	config  *Config
	program *program
	image   string // a file, which the file system's recovery changes
	block   uint32
	acked   journal
	at      time.Duration // of the cut
}

// verdict is what became of a cut.
type verdict struct {
	report
	outcome Outcome
	fsck    bool
}

// judge mounts the image, runs the check, and then fsck.
func (t *trial) judge(ctx context.Context) (v verdict, err error) {
	disk, err := openLoop(t.image, t.block, false)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, disk.close()) }()
	dir := ""
	if fs := t.config.FS; fs != "none" {
		dir = filepath.Join(Dir, "check")
		err := mount(ctx, fs, disk.path, dir, t.config.MountOptions, cloneOptions[fs])
		var m *mountError
		if errors.As(err, &m) && ctx.Err() == nil {
			v.outcome, v.said = Unmountable, m.said
			return v, nil
		}
		if err != nil {
			return v, err
		}
	}
	v, err = t.check(ctx, dir, disk.path)
	if dir == "" {
		return v, err
	}
	busy, failed := unmount(dir)
	if err = errors.Join(err, failed); err != nil || busy {
		return v, err
	}
	if v.fsck = complains(ctx, t.config.FS, disk.path); v.fsck && !v.outcome.failed() {
		v.outcome = Corrupt
	}
	return v, nil
}

// check runs the check, and where something is lost that may be, once more with those
// acknowledgements that must be there.
func (t *trial) check(ctx context.Context, dir, dev string) (v verdict, err error) {
	if v.report, err = t.runCheck(ctx, dir, dev, t.acked.data); err != nil {
		return v, err
	}
	if v.outcome, err = v.report.outcome(); err != nil || v.outcome != Lost || t.config.AllowLoss == 0 {
		return v, err
	}
	old, err := t.runCheck(ctx, dir, dev, t.acked.until(t.at-t.config.AllowLoss))
	if err == nil && old.status == statusKept {
		v.outcome = Bounded
	}
	return v, err
}

// runCheck runs the check with these acknowledgements.
func (t *trial) runCheck(ctx context.Context, dir, dev string, acked []byte) (report, error) {
	path := filepath.Join(Dir, "acked")
	if err := os.WriteFile(path, acked, 0o644); err != nil {
		return report{}, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("--check has not ended after %v", checkTimeout))
	defer cancel()
	env := append([]string{"NBDBENCH_MOUNT=" + dir, "NBDBENCH_DEV=" + dev, "NBDBENCH_ACKED=" + path}, t.program.env...)
	status, said, err := sh(limited, t.program.check, env)
	if limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", stack.ErrInvalid, err)
	}
	return newReport(status, said), err
}
