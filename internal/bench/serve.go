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
	// More are exports besides the first, each a device of its own under the same
	// strategy.
	More []NamedDevice
	// Secure is whether clients may or must use TLS, by the certificates of TLS.
	Secure nbd.TLSPolicy
	TLS    nbd.TLSFiles
	// Depth bounds the requests in progress on a connection under emulate; 0 is
	// no limit.
	Depth int
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
	exports, err := c.exports(loop, uris[0].Export)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	real, err := sim.NewReal(loop)
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	server := nbd.NewServer(real, exports...)
	if err := c.secure(server); err != nil {
		return errors.Join(err, closeAll(listeners), real.Close())
	}
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

// exports are the first device under this name and the others under theirs.
func (c *ServeConfig) exports(loop *sim.Loop, first string) (out []*nbd.Export, err error) {
	for i, m := range append([]NamedDevice{{first, c.Device}}, c.More...) {
		one := *c
		one.Device = m.Device
		if i > 0 {
			one.Seed = sim.Seed(c.Seed.Stream("export." + m.Name)) // drives of their own
		}
		d, err := one.device(loop)
		if err != nil {
			return nil, err
		}
		out = append(out, &nbd.Export{Name: m.Name, Description: m.Device + ", " + c.Strategy, Device: d, ReadOnly: c.ReadOnly})
	}
	return out, nil
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
