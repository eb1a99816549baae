package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/fault"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// ServeConfig is one simulated device served to any NBD client.
type ServeConfig struct {
	Device    string // a profile's name or path
	Strategy  string // its server half goes around the device
	Listen    string // an NBD URI; empty is a Unix socket of its own
	Advertise *layer.Advertised
	Size      uint64 // bytes; 0 is the profile's own
	Seed      sim.Seed
	ReadOnly  bool
	Delay     time.Duration // added to every command
	// More are exports besides the first, each a device of its own under the same
	// strategy.
	More []NamedDevice
	// Secure is whether clients may or must use TLS, by the certificates of TLS.
	Secure nbd.TLSPolicy
	TLS    nbd.TLSFiles
	// Depth bounds the requests in progress on a connection under emulate; 0 is
	// no limit.
	Depth int
	// Image is the file that holds what is durable; empty is memory. ImageSync
	// waits until each write is on the host's disk.
	Image     string
	ImageSync bool
	Fault     fault.Plan
	Control   string           // the path of a Unix socket for commands; empty is none
	Cuts      <-chan os.Signal // each cuts the power
	Log       io.Writer        // the history at the wire; nil is none
	LogWrites history.LogFile  // what is written, as dm-log-writes does; nil is none
	// Drain is how long requests in flight may take once ctx has ended.
	Drain time.Duration
}

// Validate says whether the exports' names can be told apart.
func (c *ServeConfig) Validate() error {
	u, _ := nbd.ParseURI(c.Listen) // who listens says what is wrong with it
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
type NamedDevice struct{ Name, Device string }

// Serve serves until ctx ends and then drains. Once it listens it writes the
// URI to ready, alone on a line; at the end it tells on talk what it has served.
func Serve(ctx context.Context, c ServeConfig, ready, talk io.Writer) error {
	loop := sim.NewLoop()
	uris, listeners, cleanup, err := c.listen()
	if err != nil {
		return err
	}
	defer cleanup()
	lives, err := c.lives(loop, uris[0].Export)
	defer func() { closeLives(lives, talk) }()
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	real, err := sim.NewReal(loop)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	server := nbd.NewServer(real, exportsOf(lives)...)
	if runtime.GOMAXPROCS(0) < 2 { // the reader that blocks needs one
		runtime.GOMAXPROCS(2)
	}
	scheduleServer(slices.ContainsFunc(lives, (*live).takesTime), server.WhenCrowded)
	server.BlockWhenAlone()
	if err := c.secure(server); err != nil {
		return errors.Join(err, closeAll(listeners), real.Close())
	}
	closeControl, err := c.control(&console{real: real, server: server, talk: talk, lives: lives, own: len(lives)})
	if err != nil {
		return errors.Join(err, closeAll(listeners), real.Close())
	}
	defer closeControl()
	served := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { served <- server.Serve(l) }()
	}
	for _, uri := range uris {
		if _, err := fmt.Fprintln(ready, uri); err != nil {
			return errors.Join(err, server.Close(), real.Close())
		}
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Drain)
		defer cancel()
		err = server.Shutdown(drain)
	}
	n := server.Counts()
	fmt.Fprintf(talk, "served %d reads, %d writes, %d FUA writes, %d flushes; replies late: %v\n", n.Read, n.Write, n.WriteFUA, n.Flush, server.Lateness())
	if errors.Is(err, nbd.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, server.Close(), real.Close())
}

func closeAll(ls []net.Listener) error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// lives are the first device under this name and the others under theirs. The
// image is the first's; the others are in memory.
func (c *ServeConfig) lives(loop *sim.Loop, first string) (out []*live, err error) {
	for i, m := range append([]NamedDevice{{first, c.Device}}, c.More...) {
		one := *c
		one.Device = m.Device
		if i > 0 {
			one.Image = ""
			one.Seed = sim.Seed(c.Seed.Stream("export." + m.Name)) // drives of their own
		}
		l, err := newLive(&one, m.Name, loop, nil)
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	return out, nil
}

func exportsOf(lives []*live) (out []*nbd.Export) {
	for _, l := range lives {
		out = append(out, l.export())
	}
	return out
}

func closeLives(lives []*live, talk io.Writer) {
	for _, l := range lives {
		l.close(talk)
	}
}

func (c *ServeConfig) secure(server *nbd.Server) error {
	if c.Secure == nbd.NoTLS {
		return nil
	}
	config, err := c.TLS.Server()
	if err == nil {
		server.UseTLS(c.Secure, config)
	}
	return err
}

// control opens what else than clients there is: the control socket, signals and
// the journal.
func (c *ServeConfig) control(con *console) (end func(), err error) {
	var logs []interface{ Close() error }
	if c.Log != nil {
		encoder := history.NewEncoder(c.Log)
		con.lives[0].journal(encoder)
		logs = append(logs, encoder)
	}
	if c.LogWrites != nil {
		con.lives[0].dm = history.NewDMWriter(c.LogWrites)
		logs = append(logs, con.lives[0].dm)
	}
	closes := func() {
		con.real.Do(func() {
			for _, log := range logs {
				if err := log.Close(); err != nil {
					fmt.Fprintln(con.talk, "the log:", err)
				}
			}
		})
	}
	if c.Cuts != nil {
		go con.watch(c.Cuts)
	}
	if c.Control == "" {
		return closes, nil
	}
	l, err := net.Listen("unix", c.Control)
	if err != nil {
		return closes, fmt.Errorf("--control: %w", err)
	}
	go con.listen(l)
	return func() { _ = l.Close(); closes() }, nil
}

// close closes the image.
func (l *live) close(talk io.Writer) {
	if l.file == nil {
		return
	}
	if err := l.file.Close(); err != nil {
		fmt.Fprintln(talk, err)
	}
}

// dress puts on the model of that name what is served of it.
func (c *ServeConfig) dress(loop *sim.Loop, name string, model devices.Device) (devices.Device, error) {
	strategy, ok := layer.Lookup(c.Strategy)
	if !ok {
		return nil, fmt.Errorf("strategy %q: expected one of %v", c.Strategy, StrategyNames())
	}
	d, err := strategy.Server(model, layer.Options{Loop: loop, Depth: c.Depth})
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Strategy, name, err)
	}
	if c.Advertise != nil {
		d = layer.Advertise(d, *c.Advertise)
	}
	if c.Delay > 0 {
		d = layer.Delay(d, loop, layer.ServerSide, c.Delay)
	}
	return d, nil
}

// listen opens the socket that the URI names, or takes those that the process
// was started with. cleanup removes what it made.
func (c *ServeConfig) listen() (us []nbd.URI, ls []net.Listener, cleanup func(), err error) {
	cleanup = func() {}
	u := nbd.URI{Network: "unix"}
	if c.Listen != "" {
		if u, err = nbd.ParseURI(c.Listen); err != nil {
			return nil, nil, cleanup, err
		}
	} else {
		if ls, err = nbd.Activated(); err != nil {
			return nil, nil, cleanup, err
		}
		for _, l := range ls {
			a := nbd.URIOf(l)
			a.TLS = c.Secure == nbd.ForcedTLS
			us = append(us, a)
		}
		if len(ls) > 0 {
			return us, ls, cleanup, nil
		}
		dir, err := os.MkdirTemp("", "nbdbench")
		if err != nil {
			return nil, nil, cleanup, err
		}
		cleanup = func() { _ = os.RemoveAll(dir) } // nothing of it is missed
		u.Address = filepath.Join(dir, "socket")
	}
	u.TLS = c.Secure == nbd.ForcedTLS
	l, u, err := nbd.Listen(u)
	if err != nil {
		cleanup()
		return nil, nil, func() {}, err
	}
	return []nbd.URI{u}, []net.Listener{l}, cleanup, nil
}
