package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
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
	LogWrites io.WriteSeeker   // what is written, as dm-log-writes does; nil is none
	// Drain is how long requests in flight may take once ctx has ended.
	Drain time.Duration
}

// Serve serves until ctx ends and then drains. Once it listens it writes the
// URI to ready, alone on a line; at the end it tells on talk what it has served.
func Serve(ctx context.Context, c ServeConfig, ready, talk io.Writer) error {
	loop := sim.NewLoop()
	device, err := newLive(&c, "", loop, nil)
	if err != nil {
		return err
	}
	defer device.close(talk)
	uri, l, cleanup, err := c.listen()
	if err != nil {
		return err
	}
	defer cleanup()
	device.name = uri.Export
	real, err := sim.NewReal(loop)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := nbd.NewServer(real, device.export())
	closeControl, err := c.control(&console{real: real, server: server, talk: talk, lives: []*live{device}})
	if err != nil {
		return errors.Join(err, l.Close(), real.Close())
	}
	defer closeControl()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	if _, err := fmt.Fprintln(ready, uri); err != nil {
		return errors.Join(err, server.Close(), real.Close())
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

// dress puts on a model what is served of it.
func (c *ServeConfig) dress(loop *sim.Loop, model devices.Device) (devices.Device, error) {
	strategy, ok := layer.Lookup(c.Strategy)
	if !ok {
		return nil, fmt.Errorf("strategy %q: expected one of %v", c.Strategy, StrategyNames())
	}
	d, err := strategy.Server(model, layer.Options{Loop: loop, Depth: c.Depth})
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Strategy, c.Device, err)
	}
	if c.Advertise != nil {
		d = layer.Advertise(d, *c.Advertise)
	}
	if c.Delay > 0 {
		d = layer.Delay(d, loop, layer.ServerSide, c.Delay)
	}
	return d, nil
}

// listen opens the socket that the URI names; cleanup removes what it made.
func (c *ServeConfig) listen() (u nbd.URI, l net.Listener, cleanup func(), err error) {
	cleanup = func() {}
	if c.Listen == "" {
		dir, err := os.MkdirTemp("", "nbdbench")
		if err != nil {
			return u, nil, cleanup, err
		}
		cleanup = func() { _ = os.RemoveAll(dir) } // nothing of it is missed
		u = nbd.URI{Network: "unix", Address: filepath.Join(dir, "socket")}
	} else if u, err = nbd.ParseURI(c.Listen); err != nil {
		return u, nil, cleanup, err
	}
	if u.TLS {
		return u, nil, cleanup, nbd.ErrNoTLS
	}
	l, u, err = nbd.Listen(u)
	return u, l, cleanup, err
}
