package serve

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/devices/fault"
	"nbdbench/devices/history"
	"nbdbench/devices/image"
	"nbdbench/devices/layer"
	"nbdbench/internal/conf"
	"nbdbench/internal/ordered"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// device is a served device whose power can be cut: the drive of the moment and
// the medium that outlives it. A connection belongs to the drive that it was
// opened on; what it sends after a cut is refused.
type device struct {
	name    string
	config  *Config
	profile *catalog.Profile
	loop    *sim.Loop
	media   drive.Media  // survives
	file    *image.Media // the same, if it is a file; else nil

	model fault.Device
	top   devices.Device // the model under the strategy's half
	fence *fencedMedia
	kept  *superseded // nil where nobody cuts, or nothing is written back on its own
	cuts  uint64
	tap   *history.Tap // nil without a journal
	log   *wireLog
	dm    *history.DMWriter // nil without a log of writes
	dmLog *ordered.Log      // the files of log and of dm; nil without
	wire  *ordered.Log

	volatile bool // a reply alone is no promise

	free    *passing
	held    uint64 // the operation of the image for which a request waited last
	waiting []admission
	replies *heldReply // free ones

	events   *eventLog // nil is silent
	reported bool      // an error of the host
}

// fencedMedia is a Media that a drive writes to until its power is cut: what its timers
// do afterwards has no effect.
type fencedMedia struct {
	drive.Media
	shut bool
	kept *superseded // or nil
}

// Write writes unless the power has been cut.
func (g *fencedMedia) Write(off, n uint64, c drive.Content) {
	if g.shut {
		return
	}
	if g.kept != nil {
		g.kept.before(off, n, c)
	}
	g.Media.Write(off, n, c)
}

// Status is that of the medium.
func (g *fencedMedia) Status(off, n uint64) (run uint64, f devices.StatusFlags) {
	return drive.StatusOf(g.Media, off, n)
}

// takesTime reports whether a reply waits for an instant.
func (l *device) takesTime() bool { return l.config.Delay > 0 || l.profile.TakesTime() }

// newDevice makes a device of the configuration on media.
func newDevice(c *Config, name string, loop *sim.Loop, media drive.Media) (*device, error) {
	profile, err := catalog.Load(c.Device)
	if err != nil {
		return nil, err
	}
	if c.Fault.Has(fault.NoCapacitor) {
		if profile, err = profile.WithoutCapacitor(); err != nil {
			return nil, &layer.Unsupported{Reason: "--fault no-capacitor: " + err.Error()}
		}
	}
	if profile, err = resized(profile, c.Size); err != nil {
		return nil, err
	}
	if c.Image != "" && (profile.HasLog() || profile.HasMirror()) {
		return nil, conf.At("--image", "%s: expected no mirror and no log: a file holds one copy of what is durable, and these have it in two places", profile.Name)
	}
	l := &device{name: name, config: c, profile: profile, loop: loop, media: media}
	if l.media == nil {
		if err := l.openMedia(); err != nil {
			return nil, err
		}
	}
	if err := l.power(); err != nil {
		return nil, errors.Join(err, l.discard())
	}
	return l, nil
}

// resized is the profile with the size that --size asks for.
func resized(p *catalog.Profile, size uint64) (*catalog.Profile, error) {
	q, err := p.Resized(size)
	var field *conf.FieldError
	if errors.As(err, &field) && field.Path == "size" {
		return nil, conf.At("--size", "%s: %s", p.Name, field.Msg)
	}
	return q, err
}

// discard closes the image of a device that was not made, without leaving one
// that was not there before.
func (l *device) discard() error {
	if l.file == nil {
		return nil
	}
	return l.file.Discard()
}

// openMedia opens the medium: a file if the configuration has one.
func (l *device) openMedia() (err error) {
	if l.config.Image == "" {
		l.media = drive.NewMedia(drive.RealBytes)
		return nil
	}
	if l.file, err = image.Open(l.config.Image, image.Options{Size: uint64(l.profile.Size), Sync: l.config.ImageSync, Datasync: l.config.datasync}); err != nil {
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	l.media = l.file
	return nil
}

// ErrImage is for images that cannot be used.
var ErrImage = errors.New("--image")

// power makes the drive of the moment, with an empty cache.
func (l *device) power() error {
	c := l.config
	g := &fencedMedia{Media: l.media}
	seed := sim.Seed(c.Seed).Sub("power", l.cuts)
	if l.cuts == 0 {
		seed = c.Seed
	}
	model, err := l.profile.Open(l.loop, catalog.Options{Mode: drive.RealBytes, Seed: seed, Media: g})
	if err != nil {
		return err
	}
	if err := l.keepSuperseded(model.Info()); err != nil {
		return err
	}
	if g.kept = l.kept; g.kept != nil {
		model = &promising{Device: model, kept: l.kept, lies: l.profile.Lies}
	}
	wrapped, err := c.Fault.Wrap(l.loop, model, seed.Sub("fault", 0))
	if err != nil {
		return &layer.Unsupported{Reason: "--fault: " + err.Error()}
	}
	top, err := c.applyStrategy(l.loop, l.profile.Name, wrapped)
	if err != nil {
		return err
	}
	l.model, l.top, l.fence = wrapped, top, g
	l.volatile = model.Info().Cache == devices.CacheVolatile
	return nil
}

// keepSuperseded begins anew to keep what the drive writes back on its own, where it has
// a cache that a cut empties and somebody may cut.
func (l *device) keepSuperseded(info devices.Info) (err error) {
	switch {
	case l.kept != nil:
		l.kept.flushed()
	case l.profile.HasLog(): // what the pool writes back was promised by the log
	case l.config.KeepSuperseded && (info.Cache == devices.CacheVolatile || l.profile.Lies.Capacitor):
		l.kept, err = newSuperseded(l.media, info.Size)
	}
	return err
}

// record opens the logs that the configuration asks for.
func (l *device) record() error {
	c := l.config
	if c.Log != nil {
		l.wire = ordered.NewLog(c.Log, syncOf(c.Log))
		l.log = &wireLog{encoder: history.NewEncoder(l.wire)}
		l.tap = history.NewTap(currentDrive{l}, l.loop, l.log)
		if c.ImageSync {
			l.log.encoder.SyncWith(l.wire.Datasync)
		}
		if err := l.log.encoder.Commit(false); err != nil {
			return fmt.Errorf("--log: %w", err)
		}
	}
	if c.LogWrites != nil {
		l.dmLog = ordered.NewLog(c.LogWrites, syncOf(c.LogWrites))
		l.dm = history.NewDMWriter(l.dmLog, l.newest)
		if c.ImageSync {
			l.dm.SyncWith(l.dmLog.Datasync)
		}
		if err := l.dm.Commit(); err != nil {
			return fmt.Errorf("--log-writes: %w", err)
		}
	}
	return nil
}

// syncOf is how a file is made durable; one that cannot be has none.
func syncOf(f history.LogFile) func() error {
	if s, ok := f.(interface{ Sync() error }); ok {
		return s.Sync
	}
	return func() error { return nil }
}

// newest is what a READ would answer at this moment. What is past the end is zeros.
func (l *device) newest(off uint64, b []byte) {
	clear(b)
	if size := l.model.Info().Size; off < size {
		l.model.Cut(0).Newest(off, b[:min(uint64(len(b)), size-off)])
	}
}

// currentDrive is whatever drive has power at the moment.
type currentDrive struct{ l *device }

func (n currentDrive) Info() devices.Info        { return n.l.top.Info() }
func (n currentDrive) Submit(r *devices.Request) { n.l.submit(r) }

// export is what clients connect to.
func (l *device) export() *nbd.Export {
	return &nbd.Export{
		Name: l.name, Description: l.config.Device + ", " + l.config.Strategy, ReadOnly: l.config.ReadOnly,
		Open: func(nbd.ConnInfo) (devices.Device, error) { return &client{l, l.fence}, nil },
	}
}

// client is the device of one connection.
type client struct {
	l     *device
	fence *fencedMedia // of the drive that it was opened on
}

// Info is the drive's.
func (s *client) Info() devices.Info { return s.l.top.Info() }

// Submit forwards r, or refuses it if the power has been cut since.
func (s *client) Submit(r *devices.Request) {
	switch {
	case s.fence.shut:
		s.l.refuse(r, devices.ESHUTDOWN)
	case s.l.broken() && (r.Op.Modifies() || r.Op == devices.OpFlush):
		s.l.report()
		s.l.refuse(r, devices.EIO)
	case r.Op.Modifies() && s.l.full():
		s.l.waiting = append(s.l.waiting, admission{s, r})
	case s.l.tap != nil:
		s.l.replyOnceLogged(r)
		s.l.tap.Submit(r)
	default:
		s.l.submit(r)
	}
}

// broken reports whether there is such an error as failed says.
func (l *device) broken() bool {
	return l.file != nil && l.file.Err() != nil || l.log != nil && l.wireErr() != nil || l.dm != nil && l.dmErr() != nil
}

// wireErr is the first error of the log at the wire, which there is.
func (l *device) wireErr() error { return cmp.Or(l.log.Err(), l.wire.Err()) }

// dmErr is the first error of the log of writes, which there is.
func (l *device) dmErr() error { return cmp.Or(l.dm.Err(), l.dmLog.Err()) }

// report says once that l is broken.
func (l *device) report() {
	if !l.reported {
		l.reported = true
		l.events.event(slog.LevelError, fmt.Sprintf("export %q: %v: writes get EIO from now on", l.name, l.failed()),
			"writes get EIO from now on", "export", l.name, "error", l.failed().Error())
	}
}

// failed is the error of the host after which nothing can be stored or recorded any
// more.
func (l *device) failed() error {
	switch {
	case l.file != nil && l.file.Err() != nil:
		return fmt.Errorf("--image: %w", l.file.Err())
	case l.log != nil && l.wireErr() != nil:
		return fmt.Errorf("--log: %w", l.wireErr())
	case l.dm != nil && l.dmErr() != nil:
		return fmt.Errorf("--log-writes: %w", l.dmErr())
	}
	return nil
}

// refuse ends a request with an error, without the device.
func (l *device) refuse(r *devices.Request, e devices.Errno) {
	r.Timer.Owner = r
	l.loop.After(&r.Timer, 0, refusal(e))
}

// refusal is the error of a request that does not reach the device.
type refusal devices.Errno

func (e refusal) Fire(t *sim.Timer) { t.Owner.(*devices.Request).Finish(devices.Errno(e)) }

// passing is a request on its way through the drive.
type passing struct {
	l         *device
	fence     *fencedMedia // of the drive that it is in
	completer devices.Completer
	next      *passing

	request *devices.Request // while it waits for a worker
	stage   stage
}

// submit numbers what is written, and has an error of the host fail a request
// that would else have been a promise.
func (l *device) submit(r *devices.Request) {
	if r.Op.Modifies() && l.log != nil {
		r.Stamp = l.log.stamp
	}
	a := l.free
	if a == nil {
		a = &passing{l: l}
	} else {
		l.free = a.next
	}
	a.completer, r.Completer = r.Completer, a
	a.fence = l.fence
	if l.dm != nil {
		l.dm.Begin(r)
	}
	l.top.Submit(r)
}

// Done is called by the drive. Where the image has a worker, r may have to wait for it.
func (a *passing) Done(r *devices.Request) {
	if a.l.awaitsImage(r) {
		a.request, a.stage = r, storing
		a.l.file.Worker().After(a.l.held, a)
		return
	}
	a.stored(r)
}

// stored has r in the log of writes, now that the image has it.
func (a *passing) stored(r *devices.Request) {
	l := a.l
	if l.file != nil && l.file.Err() != nil && r.Errno == devices.OK && l.inDoubt(r) {
		r.Errno = devices.EIO
	}
	if l.dm != nil && !a.fence.shut {
		l.dm.End(r, r.Bytes)
		if promises(r) {
			if l.dm.Commit() != nil {
				r.Errno = devices.EIO
			} else if seq, waits := awaits(l.dmLog); waits {
				a.request, a.stage = r, logging
				l.dmLog.Worker().After(seq, a)
				return
			}
		}
	}
	a.end(r)
}

// end gives r its completer back.
func (a *passing) end(r *devices.Request) {
	l := a.l
	r.Completer, a.completer = a.completer, nil
	a.next, l.free = l.free, a
	r.Completer.Done(r)
}

// inDoubt reports whether r, which is done, cannot have gone well after an error of
// the image: what was to be stored is not known to be, and some cannot be read.
func (l *device) inDoubt(r *devices.Request) bool {
	l.report()
	return r.Op.Modifies() || r.Op == devices.OpFlush || r.Op == devices.OpRead && l.file.Lost(r.Offset, r.Length)
}

// promises reports whether r, which is done, has promised anything: before the
// client is answered, the logs have it.
func promises(r *devices.Request) bool {
	return r.Errno == devices.OK && (r.Op == devices.OpFlush || r.Durable())
}

// wireLog records what is said to clients, and gives each write its version.
type wireLog struct {
	encoder *history.Encoder
	stamp   devices.Stamp
}

// Observe writes an event. What was written is in the file before the reply.
func (s *wireLog) Observe(e *history.Event) {
	writes := e.Op.Modifies()
	if e.Kind == history.Submit && writes && s.stamp < history.MaxStamp {
		s.stamp++
		e.Stamp = s.stamp
	}
	s.encoder.Observe(e)
	switch {
	case e.Kind == history.PowerCut:
		_ = s.encoder.Commit(true) // the error stays
	case e.Kind == history.Done && e.Errno == devices.OK && (writes || e.Op == devices.OpFlush):
		_ = s.encoder.Commit(!writes || e.Flags&devices.FUA != 0)
	}
}

// Err is the first error of the file.
func (s *wireLog) Err() error { return s.encoder.Err() }

// lostPower is what a cut did.
type lostPower struct {
	Export       string `json:"export"`
	Cut          uint64 `json:"cut"` // its number, from 1
	Seed         uint64 `json:"seed"`
	Image        string `json:"image"`
	ExposedBytes uint64 `json:"exposed_bytes"` // acknowledged and not durable
	// SupersededBytes had been written back with no FLUSH and no FUA, and were taken back
	// or may have been; Full says that there were more, which counted as durable.
	SupersededBytes uint64 `json:"superseded_bytes,omitempty"`
	SupersededFull  bool   `json:"superseded_full,omitempty"`
}

// The images that a cut may leave: what this drive makes of it, what is durable
// and nothing else, or with more of what is only acknowledged, by the seed.
const (
	imageDevice = "device"
	imageWorst  = "worst"
	imageRandom = "random"
)

var images = []string{imageDevice, imageWorst, imageRandom}

// cutAs says what a cut now leaves. In the loop.
func (l *device) cutAs(name string, seed sim.Seed, image string) (*drive.Cut, lostPower) {
	l.cuts++
	k := l.model.Cut(seed)
	switch image {
	case imageWorst:
		k.Worst()
	case imageRandom:
		k.Random(seed)
	}
	out := lostPower{Export: name, Cut: l.cuts, Seed: uint64(seed), Image: image, ExposedBytes: k.ExposedBytes()}
	if l.kept != nil && image != imageDevice {
		out.SupersededBytes, out.SupersededFull = uint64(len(l.kept.pages))*keptPage, l.kept.full
	}
	return k, out
}

// leftBy is a copy of the medium as a cut leaves it.
func (l *device) leftBy(k *drive.Cut, seed sim.Seed, image string) (drive.Media, error) {
	if l.kept == nil || image == imageDevice {
		return k.Media(), nil
	}
	m := l.media.Clone()
	err := l.takeBack(m, seed, image)
	k.Land(m)
	return m, err
}

// cut cuts the power and gives it back. In the loop.
func (l *device) cut(seed sim.Seed, image string) (lostPower, error) {
	k, out := l.cutAs(l.name, seed, image)
	if err := l.lose(k, seed, image); err != nil {
		return out, err
	}
	return out, l.power()
}

// lose does to the medium what a power cut does, and has it in the logs.
func (l *device) lose(k *drive.Cut, seed sim.Seed, image string) error {
	l.fence.shut = true
	err := l.takeBack(l.media, seed, image)
	k.Land(l.media)
	if l.dm != nil {
		left := l.left()
		left.Exposed = func(visit func(off, end uint64)) {
			k.Exposed(0, left.Size, visit)
			if l.kept != nil && image != imageDevice {
				l.kept.visit(visit)
			}
		}
		l.dm.Cut(left)
		_ = l.dm.Commit() // the error stays
	}
	if l.tap != nil {
		l.tap.Cut()
	}
	return err
}

// left is what the medium has.
func (l *device) left() history.Left {
	return history.Left{Media: l.media, Size: l.model.Info().Size}
}

// end ends the export, as its drive would at an orderly shutdown: without its
// delays all that was acknowledged is made durable; or as a power cut does. It
// returns how much was acknowledged and not durable. In the loop.
func (l *device) end(powerCut bool) lostPower {
	k, out := l.cutAs(l.name, l.nextSeed(), imageDevice)
	if powerCut {
		_ = l.lose(k, 0, imageDevice) // which takes nothing back
		return out
	}
	k.Save(l.media)
	l.fence.shut = true
	if l.tap != nil {
		l.tap.Abandon()
	}
	return out
}

// close closes the logs and the image, and returns what went wrong with them.
func (l *device) close() error {
	var errs []error
	note := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("export %q: %s: %w", l.name, flag, err))
		}
	}
	if l.log != nil {
		note("--log", cmp.Or(l.log.encoder.Commit(true), l.wire.Err()))
	}
	if l.dm != nil {
		note("--log-writes", cmp.Or(l.dm.Close(l.left()), l.dmLog.Err()))
	}
	if l.file != nil {
		note("--image", l.file.Close())
	}
	if l.kept != nil {
		note("superseded versions", l.kept.close())
	}
	return errors.Join(errs...)
}

// nextSeed is the seed of the next cut.
func (l *device) nextSeed() sim.Seed { return sim.Seed(l.config.Seed).Sub("live cut", l.cuts) }

// clone is another device, on what a cut now would leave. In the loop.
func (l *device) clone(name string, seed sim.Seed, which string) (*device, lostPower, error) {
	if l.file != nil {
		if used, err := l.file.Used(); err != nil || used > image.MaxClone {
			return nil, lostPower{}, errors.Join(err, fmt.Errorf("the image has %d bytes of data, expected at most %d: a clone is kept in memory", used, uint64(image.MaxClone)))
		}
	}
	k, out := l.cutAs(name, seed, which)
	c := *l.config
	c.Image, c.Log, c.LogWrites = "", nil, nil
	m, err := l.leftBy(k, seed, which)
	if err != nil {
		return nil, out, err
	}
	other, err := newDevice(&c, name, l.loop, m)
	return other, out, err
}
