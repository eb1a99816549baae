package serve

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/layer"
	"nbdbench/devices/plugin"
	"nbdbench/internal/stack"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// ErrPlugin is for plugins that cannot be had.
var ErrPlugin = errors.New("plugin")

// plugged is a served plugin.
type plugged struct {
	name, device string
	host         *plugin.Host
	unload       func() error
}

// Devices are all of them, the first under this name.
func (c *Config) named(first string) []NamedDevice {
	return append([]NamedDevice{{first, c.Device, c.Files}}, c.More...)
}

// plugins are the devices that are plugins, to be ended by unloadAll.
func (c *Config) plugins(ctx context.Context, first string, real *sim.Real, say func(string)) (out []plugged, err error) {
	words := c.Words
	for _, m := range c.named(first) {
		if !stack.IsPlugin(m.Device) {
			continue
		}
		p, unload, err := stack.OpenPlugin(ctx, m.Device, words, c.PluginTimeout)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrPlugin, err), unloadAll(out))
		}
		words = nil // they are the first device's
		host := plugin.NewHost(p, plugin.Options{
			Loop: real.Loop(), Real: real, Mode: c.FUAMode, ReadOnly: c.ReadOnly, Timeout: c.PluginTimeout, Report: say,
		})
		out = append(out, plugged{m.Name, m.Device, host, unload})
	}
	return out, nil
}

// unloadAll ends plugins of which no connection is open.
func unloadAll(plugins []plugged) error {
	var errs []error
	for _, p := range plugins {
		errs = append(errs, p.unload())
	}
	return errors.Join(errs...)
}

// exports are those of all devices, in the order in which they were named.
func (c *Config) exports(loop *sim.Loop, first string, served []*device, plugins []plugged, storages []stored) (out []*nbd.Export) {
	for _, m := range c.named(first) {
		switch {
		case stack.IsPlugin(m.Device):
			out = append(out, c.plug(loop, plugins[0]))
			plugins = plugins[1:]
		case len(storages) > 0 && storages[0].name == m.Name:
			out = append(out, storages[0].export(c))
			storages = storages[1:]
		default:
			out = append(out, served[0].export())
			served = served[1:]
		}
	}
	return out
}

// plug is a plugin's export, with what is served of it: the strategy's half and the
// delay of each connection, and what is advertised of it against its own answers.
func (c *Config) plug(loop *sim.Loop, p plugged) *nbd.Export {
	e := nbd.HostExport(p.name, p.device+", "+c.Strategy, p.host)
	e.ReadOnly = c.ReadOnly
	connect := e.Connect
	e.Connect = func(ctx context.Context, info nbd.ConnInfo) (nbd.Session, error) {
		s, err := connect(ctx, info)
		if err != nil {
			return s, err
		}
		inner := *c
		inner.Advertise, inner.FUAMode = nil, fua.ModeAbsent // the export and the host have them
		if s.Device, err = inner.applyStrategy(loop, p.device, s.Device); err != nil {
			p.host.Release(s.Close)
			return nbd.Session{}, err
		}
		return s, nil
	}
	if a := c.Advertise; a != nil {
		e.Set, e.Clear = overridden(*a)
	}
	return e
}

// overridden are the flags that an override sets and clears.
func overridden(a layer.Advertised) (set, clear nbd.TransmissionFlags) {
	for _, x := range []struct {
		on   bool
		flag nbd.TransmissionFlags
	}{{a.Flush, nbd.SendFlush}, {a.FUA, nbd.SendFUA}} {
		if x.on {
			set |= x.flag
		} else {
			clear |= x.flag
		}
	}
	return set, clear
}

// backendOf declares what a device can, as a plugin would.
func backendOf(d devices.Info) fua.Backend {
	yes := map[bool]fua.Answer{false: fua.No, true: fua.Yes}
	b := fua.Backend{
		API: 2, Flush: d.CanFlush, Trim: d.CanTrim, Zero: d.CanZero, CanZero: fua.No, CanFUA: fua.Answer(d.FUA) + fua.No,
		CanFastZero: yes[d.CanFastZero], CanCache: yes[d.CanCache], CanMultiConn: yes[d.MultiConn],
	}
	if d.CanZero {
		b.CanZero = fua.Native
	}
	return b
}

// callsOf says how many calls of each kind a plugin got.
func callsOf(h *plugin.Host) string {
	var words []string
	for c, n := range h.Calls() {
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %v", n, fua.Call(c)))
		}
	}
	if len(words) == 0 {
		return "no calls that write"
	}
	return strings.Join(words, ", ")
}

// pluginStats are those of one plugin, for the control socket.
type pluginStats struct {
	Export string            `json:"export"`
	Device string            `json:"device"`
	Calls  map[string]uint64 `json:"plugin_calls"`
}

func (p plugged) stats() pluginStats {
	s := pluginStats{p.name, p.device, map[string]uint64{}}
	for c, n := range p.host.Calls() {
		s.Calls[stack.CallKeys[c]] = n
	}
	return s
}

// uncut is why p's power is not cut.
func (p plugged) uncut() error {
	return fmt.Errorf("export %q is the plugin %s: the power of a plugin is not cut while it is served", p.name, p.device)
}

// DeviceNames are the names of all devices that are served.
func (c *Config) DeviceNames() (out []string) {
	for _, m := range c.named("") {
		out = append(out, m.Device)
	}
	return out
}
