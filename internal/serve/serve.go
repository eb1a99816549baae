package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/fault"
	"nbdbench/devices/fua"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/internal/text"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// Config is one device served to any NBD client.
type Config struct {
	Device    string // a profile's name or path, a plugin, or storage of the host
	Strategy  string // its server half goes around the device
	Listen    string // an NBD URI; empty is a Unix socket of its own
	Advertise *layer.Advertised
	Size      uint64 // bytes; 0 is the profile's own
	Seed      sim.Seed
	ReadOnly  bool
	Direct    bool          // storage of the host past the page cache
	Delay     time.Duration // added to every command
	// More are exports besides the first, each a device of its own under the same
	// strategy.
	More []NamedDevice
	// Secure is whether clients may or must use TLS, by the certificates of TLS.
	Secure nbd.TLSPolicy
	TLS    socket.TLSFiles
	// MinBlock is the least that clients may ask for, a power of two up to 64 KiB; 0 is
	// what each device has.
	MinBlock uint32
	// Depth bounds the requests in progress on a connection under emulate; 0 is
	// no limit.
	Depth int
	// Files are the first device's. ImageSync waits until each write, and before a
	// reply that promises something each log, is on the host's disk.
	Files
	ImageSync bool
	Fault     fault.Plan
	Control   string // the path of a Unix socket for commands; empty is none
	Metrics   string // a TCP address at which counters are read; empty is none
	// Ready is called with the first URI once clients can connect; nil is nothing.
	Ready func(uri socket.URI)
	Cuts  <-chan os.Signal // each cuts the power
	// KeepSuperseded keeps, within a bound, what a drive with a volatile cache replaces on
	// its medium with no FLUSH and no FUA, so that cuts with the images worst and random
	// do not count it as durable. Serve sets it where there is a Control.
	KeepSuperseded bool
	// Drain is how long requests in flight may take once ctx has ended.
	Drain time.Duration
	// Memory is how many bytes all clients together may have the server hold, at
	// least socket.MinMemory; 0 is DefaultMemory.
	Memory int64
	// FUAMode is what nbdkit's fua filter would be over the devices; it goes with the
	// strategy pass alone.
	FUAMode fua.Mode
	// Words are further arguments of Device, which is a script then.
	Words []string
	// PluginTimeout bounds each call of a plugin; 0 is no bound.
	PluginTimeout time.Duration
	// LogFormat is how events are written to talk: by log/slog as "text" or "json", or if
	// it is empty as plain lines. Verbose adds connections that open and close.
	LogFormat string
	Verbose   bool
	// PowerCut has the devices lose their power at the end; else they are shut down
	// in order, with all that was acknowledged made durable.
	PowerCut bool

	datasync func(*os.File) error // of images, for tests; nil is the host's
}

// Files are where what a device holds and does is kept. The zero value is memory,
// and no logs.
type Files struct {
	Image     string          // the file that holds what is durable
	Log       history.LogFile // the history at the wire
	LogWrites history.LogFile // what is written, as dm-log-writes does
}

// Validate reports whether the exports' names are distinct.
func (c *Config) Validate() error {
	u, _ := socket.ParseURI(c.Listen) // who listens says what is wrong with it
	names := map[string]bool{u.Export: true}
	for _, m := range c.More {
		if names[m.Name] {
			return fmt.Errorf("two exports are named %q", m.Name)
		}
		names[m.Name] = true
	}
	if len(names) > nbd.MaxExports {
		return fmt.Errorf("%d exports, expected at most %d", len(names), nbd.MaxExports)
	}
	return nil
}

// NamedDevice is a profile's name or path, served as the export of this name.
type NamedDevice struct {
	Name, Device string
	Files
}

// Serve serves until ctx ends, then drains and ends the devices. Once it listens it
// writes the URI to ready, alone on a line; at the end it says on talk what it has
// served. With sockets that the process was started with, who did so knows the URI,
// and may have stdout for something else: then it goes to talk. It is an error if an
// image or a log does not have what it should.
func Serve(ctx context.Context, c Config, ready, talk io.Writer) (err error) {
	loop := sim.NewLoop()
	c.KeepSuperseded = c.KeepSuperseded || c.Control != ""
	events := newEventLog(talk, c.LogFormat, c.Verbose)
	at, err := c.listen()
	if err != nil {
		return err
	}
	defer at.cleanup()
	if at.activated {
		ready = talk
	}
	served, err := c.drives(loop, at.uris[0].Export, events)
	defer func() { err = errors.Join(err, closeDevices(served)) }()
	if err != nil {
		return errors.Join(err, closeAll(at.sockets))
	}
	real, err := sim.NewReal(loop)
	if err != nil {
		return errors.Join(err, closeAll(at.sockets))
	}
	plugins, err := c.plugins(ctx, at.uris[0].Export, real, events.line)
	defer func() { err = errors.Join(err, unloadAll(plugins)) }()
	if err != nil {
		return errors.Join(err, closeAll(at.sockets), real.Close())
	}
	storages, err := c.storages(at.uris[0].Export, real)
	if err != nil {
		return errors.Join(err, closeStorages(storages), closeAll(at.sockets), real.Close())
	}
	defer func() { err = errors.Join(err, closeStorages(storages), real.Close()) }()
	startWorkers(real, served)
	defer stopWorkers(served)
	server := socket.NewServer(real, c.exports(loop, at.uris[0].Export, served, plugins, storages)...)
	if runtime.GOMAXPROCS(0) < 2 { // the reader that blocks needs one
		runtime.GOMAXPROCS(2)
	}
	scheduleServer(len(plugins)+len(storages) > 0 || slices.ContainsFunc(served, (*device).takesTime), server.OnContention)
	server.UseDedicatedReader()
	server.Notify(events.notices())
	server.LimitMemory(cmp.Or(c.Memory, DefaultMemory()))
	if err := c.secure(server); err != nil {
		return errors.Join(err, closeAll(at.sockets))
	}
	con := &console{real: real, server: server, log: events, served: served, own: len(served), plugins: plugins, storages: storages}
	closeControl, err := c.control(con)
	if err != nil {
		return errors.Join(err, closeAll(at.sockets))
	}
	defer closeControl()
	ended := make(chan error, len(at.sockets))
	for _, l := range at.sockets {
		go func() { ended <- server.Serve(l) }()
	}
	c.warnOfPlaintext(at.sockets, events)
	if err := c.announce(ready, at.uris); err != nil {
		return errors.Join(err, server.Close())
	}
	err = c.serveUntil(ctx, server, ended)
	err = errors.Join(err, closePlugins(ctx, plugins, c.Drain, events))
	con.end(c.PowerCut)
	summarize(server, events)
	if errors.Is(err, socket.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, server.Close())
}

// serveUntil waits for ctx, and drains the server; or for a socket that fails.
func (c *Config) serveUntil(ctx context.Context, server *socket.Server, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Drain)
	defer cancel()
	err := server.Shutdown(drain)
	if errors.As(err, new(*socket.DrainError)) {
		err = fmt.Errorf("after --drain %v: %w", c.Drain, err)
	}
	return err
}

// closePlugins waits until the plugins have closed all connections.
func closePlugins(ctx context.Context, plugins []plugged, most time.Duration, events *eventLog) (err error) {
	if len(plugins) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	for _, p := range plugins {
		err = errors.Join(err, p.host.Close(ctx))
		events.event(slog.LevelInfo, text.Line(p.device)+": "+callsOf(p.host), "plugin closed", "device", p.device, "calls", callsOf(p.host))
	}
	return err
}

// summarize says what has been served.
func summarize(server *socket.Server, events *eventLog) {
	n := server.Counts()
	events.event(slog.LevelInfo, fmt.Sprintf("served %d reads, %d writes, %d FUA writes, %d flushes; replies late: %v", n.Read, n.Write, n.WriteFUA, n.Flush, server.Lateness()),
		"served", "reads", n.Read, "writes", n.Write, "fua_writes", n.WriteFUA, "flushes", n.Flush, "late", server.Lateness().String())
	if n := server.LackingPayloadLen(); n > 0 {
		events.event(slog.LevelInfo, fmt.Sprintf("%d writes came under extended headers without NBD_CMD_FLAG_PAYLOAD_LEN", n),
			"writes without NBD_CMD_FLAG_PAYLOAD_LEN", "count", n)
	}
}

// warnOfPlaintext says so if other machines can connect without TLS.
func (c *Config) warnOfPlaintext(ls []net.Listener, events *eventLog) {
	if c.Secure == nbd.ForcedTLS {
		return
	}
	for _, l := range ls {
		if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			events.event(slog.LevelWarn, fmt.Sprintf("warning: whoever reaches %v reads and writes all exports, without TLS: expected a loopback address, or --tls-cert with --tls-ca", a),
				"anyone who reaches this address reads and writes all exports, without TLS", "address", a.String())
			return
		}
	}
}

func closeAll(ls []net.Listener) error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// served are the first device under this name and the others under theirs, each with
// its own files.
func (c *Config) drives(loop *sim.Loop, first string, events *eventLog) (out []*device, err error) {
	for i, m := range c.named(first) {
		if !isModel(m.Device) {
			continue
		}
		one := *c
		one.Device, one.Files = m.Device, m.Files
		if i > 0 {
			one.Seed = sim.Seed(c.Seed.Stream("export." + m.Name)) // drives of their own
		}
		l, err := newDevice(&one, m.Name, loop, nil)
		if err != nil {
			for _, l := range out {
				err = errors.Join(err, l.discard())
			}
			return nil, err
		}
		l.events = events
		out = append(out, l)
		if err := l.record(); err != nil {
			l.log, l.dm = nil, nil
			return out, fmt.Errorf("export %q: %w", m.Name, err)
		}
	}
	return out, nil
}

func closeDevices(served []*device) error {
	var errs []error
	for _, l := range served {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

func (c *Config) secure(server *socket.Server) error {
	if c.Secure == nbd.NoTLS {
		return nil
	}
	config, err := c.TLS.Server()
	if err == nil {
		server.UseTLS(c.Secure, config)
	}
	return err
}

// control opens what else than clients there is: the control socket and signals.
func (c *Config) control(con *console) (end func(), err error) {
	if c.Cuts != nil {
		go con.watch(c.Cuts)
	}
	endMetrics, err := c.metrics(con)
	if err != nil || c.Control == "" {
		return endMetrics, err
	}
	l, err := net.Listen("unix", c.Control)
	if err != nil {
		endMetrics()
		return func() {}, fmt.Errorf("--control: %w", err)
	}
	go con.listen(l)
	return func() { endMetrics(); _ = l.Close() }, nil
}

// applyStrategy puts on the model of that name what is served of it.
func (c *Config) applyStrategy(loop *sim.Loop, name string, model devices.Device) (devices.Device, error) {
	strategy, ok := layer.Lookup(c.Strategy)
	if !ok {
		return nil, fmt.Errorf("strategy %q: expected one of %v", c.Strategy, layer.Names())
	}
	if c.FUAMode != fua.ModeAbsent {
		r, err := fua.Resolve(backendOf(model.Info()), c.FUAMode, c.ReadOnly)
		if err != nil {
			return nil, &layer.Unsupported{Reason: fmt.Sprintf("--fuamode on %s: %v", name, err)}
		}
		model = fua.NewDevice(loop, model, r)
	}
	d, err := strategy.Server(model, layer.Options{Loop: loop, Depth: c.Depth})
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Strategy, name, err)
	}
	if c.Advertise != nil {
		d = layer.Advertise(d, *c.Advertise)
	}
	if c.MinBlock > 0 {
		d = layer.MinBlock(d, c.MinBlock)
	}
	if c.Delay > 0 {
		d = layer.Delay(d, loop, layer.ServerSide, c.Delay)
	}
	return d, nil
}

// listening is where clients come in.
type listening struct {
	uris      []socket.URI
	sockets   []net.Listener
	activated bool   // the process was started with them
	cleanup   func() // removes what listen made
}

// listen opens the socket that the URI names, or takes those that the process
// was started with.
func (c *Config) listen() (listening, error) {
	at := listening{cleanup: func() {}}
	u := socket.URI{Network: "unix"}
	if c.Listen != "" {
		var err error
		if u, err = socket.ParseURI(c.Listen); err != nil {
			return at, err
		}
	} else {
		if err := at.activate(c.Secure == nbd.ForcedTLS); err != nil || at.activated {
			return at, err
		}
		dir, err := os.MkdirTemp("", "nbdbench")
		if err != nil {
			return at, err
		}
		at.cleanup = func() { _ = os.RemoveAll(dir) } // nothing of it is missed
		u.Address = filepath.Join(dir, "socket")
	}
	u.TLS = c.Secure == nbd.ForcedTLS
	l, u, err := socket.Listen(u)
	if err != nil {
		at.cleanup()
		return at, err
	}
	at.uris, at.sockets = []socket.URI{u}, []net.Listener{l}
	return at, nil
}

// activate takes the sockets that the process was started with, if there are any.
func (at *listening) activate(secure bool) error {
	ls, err := socket.Activated()
	for _, l := range ls {
		u := socket.URIOf(l)
		u.TLS = secure
		at.uris = append(at.uris, u)
	}
	at.sockets, at.activated = ls, len(ls) > 0
	return err
}
