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
	"nbdbench/devices/catalog"
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
	// Drain is how long requests in flight may take once ctx has ended.
	Drain time.Duration
}

// Serve serves until ctx ends and then drains. Once it listens it writes the
// URI to ready, alone on a line; at the end it tells on talk what it has served.
func Serve(ctx context.Context, c ServeConfig, ready, talk io.Writer) error {
	loop := sim.NewLoop()
	device, err := c.device(loop)
	if err != nil {
		return err
	}
	uri, l, cleanup, err := c.listen()
	if err != nil {
		return err
	}
	defer cleanup()
	real, err := sim.NewReal(loop)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := nbd.NewServer(real, &nbd.Export{Name: uri.Export, Description: c.Device + ", " + c.Strategy, Device: device, ReadOnly: c.ReadOnly})
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

// device is what is exported, from the model outwards.
func (c *ServeConfig) device(loop *sim.Loop) (devices.Device, error) {
	profile, err := catalog.Load(c.Device)
	if err != nil {
		return nil, err
	}
	model, err := profile.Open(loop, catalog.Options{Mode: devices.RealBytes, Size: c.Size, Seed: c.Seed})
	if err != nil {
		return nil, err
	}
	strategy, ok := layer.Lookup(c.Strategy)
	if !ok {
		return nil, fmt.Errorf("strategy %q: expected one of %v", c.Strategy, StrategyNames())
	}
	d, err := strategy.Server(model, layer.Options{Loop: loop, Depth: c.Depth})
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", c.Strategy, profile.Name, err)
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
	l, u, err = nbd.Listen(u)
	return u, l, cleanup, err
}
