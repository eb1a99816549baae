package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/layer"
	"nbdbench/devices/plugin"
	"nbdbench/internal/stack"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// plugged is a plugin in real time, served for one run.
type plugged struct {
	host   *plugin.Host
	unload func() error

	mu      sync.Mutex // connections open, and calls fail, on goroutines of their own
	level   *devices.FUASupport
	refused error    // why a connection cannot have the strategy
	said    []string // what was reported, at most maxSaid lines
}

// maxSaid is how many of a plugin's reports the reason of an invalid cell may have.
const maxSaid = 4

// pluginEnd is how long a plugin may take to close its connections after a run.
const pluginEnd = 10 * time.Second

// plug opens the cell's plugin on a loop.
func plug(ctx context.Context, p *Plan, c *Cell, real *sim.Real) (*plugged, error) {
	timeout := p.Timeout
	if timeout == 0 {
		timeout = stack.DefaultTimeout
	}
	opened, unload, err := stack.OpenPlugin(ctx, c.Plugin, nil, timeout)
	if err != nil {
		return nil, err
	}
	if c.Connections > 1 && opened.Thread == plugin.SerializeConnections {
		return nil, errors.Join(errOneConnection, unload())
	}
	x := &plugged{unload: unload}
	x.host = plugin.NewHost(opened, plugin.Options{Loop: real.Loop(), Real: real, Timeout: timeout, Report: x.report})
	return x, nil
}

// report keeps what an operator must know.
func (x *plugged) report(line string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.said) < maxSaid {
		x.said = append(x.said, line)
	}
}

// export is what the client connects to: for each connection the plugin, with the
// strategy's server half around it.
func (x *plugged) export(c *Cell, loop *sim.Loop) *nbd.Export {
	e := nbd.HostExport("", "", x.host)
	connect := e.Connect
	e.Connect = func(ctx context.Context, info nbd.ConnInfo) (nbd.Session, error) {
		s, err := connect(ctx, info)
		if err != nil {
			return s, err
		}
		promised := level(s.Device.(*plugin.Handle).Resolution())
		s.Device, err = c.Strategy.Server(s.Device, layer.Options{Loop: loop})
		x.mu.Lock()
		x.level, x.refused = promised, err
		x.mu.Unlock()
		if err != nil {
			x.host.Release(s.Close)
			return nbd.Session{}, err
		}
		return s, nil
	}
	return e
}

// explain is what the plugin promises of FUA, and err with what the plugin said: why
// its strategy cannot be had, or what was reported of calls that failed.
func (x *plugged) explain(err error) (*devices.FUASupport, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.refused != nil:
		return x.level, x.refused
	case err != nil && !errors.Is(err, layer.ErrUnsupported) && len(x.said) > 0:
		return x.level, fmt.Errorf("%w (%s)", err, strings.Join(x.said, "; "))
	}
	return x.level, err
}

// calls are those that have begun; none of a device that is no plugin.
func (x *plugged) calls() (n [fua.CallFlush + 1]uint64) {
	if x == nil {
		return n
	}
	return x.host.Calls()
}

// close ends the plugin, whose server is closed.
func (x *plugged) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pluginEnd)
	defer cancel()
	return errors.Join(x.host.Close(ctx), x.unload())
}
