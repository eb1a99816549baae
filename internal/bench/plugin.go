package bench

import (
	"fmt"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/fua"
	"nbdbench/devices/layer"
	"nbdbench/devices/plugin"
	"nbdbench/devices/plugin/sh"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/results"
	"nbdbench/sim"
)

// externalPlugin is the first of the plan's devices whose data is not this process's: a
// script, or a Go plugin that says so; empty if there is none, or none that is valid.
func (p *Plan) externalPlugin() string {
	for _, d := range p.Devices {
		if !stack.IsPlugin(d) {
			continue
		}
		if external, err := stack.CheckPlugin(d); external && err == nil || sh.IsDevice(d) {
			return d
		}
	}
	return ""
}

// UseClockOfPlugins sets real time and its defaults if a device needs it.
func (p *Plan) UseClockOfPlugins() {
	if p.externalPlugin() != "" {
		p.UseClock("real")
	}
}

// validatePlugins checks the plan's devices that are plugins.
func (p *Plan) validatePlugins() error {
	for i, d := range p.Devices {
		if !stack.IsPlugin(d) {
			continue
		}
		if p.Via == ViaKernel {
			return conf.At("via", "expected userspace for the plugin %s", d)
		}
		if _, err := stack.CheckPlugin(d); err != nil {
			return conf.Under(fmt.Sprintf("devices[%d]", i), err)
		}
	}
	if d := p.externalPlugin(); d != "" && p.Clock == "virtual" {
		return conf.At("clock", "expected real for %s, got virtual: it is outside of this process, and what its calls take cannot be known in virtual time", d)
	}
	return nil
}

// pluginProfile stands for a plugin among profiles: it has a name for ids and no
// parameters.
func pluginProfile(device string) *catalog.Profile {
	return &catalog.Profile{Name: strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		}
		return '-'
	}, device), "-")}
}

// openModel opens the cell's device in virtual time. The drive is nil unless it is a
// plugin.
func (c *Cell) openModel(p *Plan, loop *sim.Loop, seed sim.Seed) (catalog.Device, *plugin.Drive, error) {
	if c.Plugin == "" {
		model, err := c.Profile.Open(loop, catalog.Options{Seed: seed})
		return model, nil, err
	}
	d, err := plugin.OpenDrive(loop, c.Plugin)
	if err != nil {
		return nil, nil, err
	}
	if p.Cuts == 0 || !d.CanCut() {
		d.Forget()
	}
	if c.Connections > 1 && !d.Info().MultiConn {
		d.Close()
		return nil, nil, errOneConnection
	}
	return d, d, nil
}

// errOneConnection is for plugins of which FLUSH and FUA hold for a connection alone.
var errOneConnection = &layer.Unsupported{Reason: "the plugin does not advertise multi-conn: a FLUSH would not cover other connections"}

// level is what a connection to a plugin is promised of FUA.
func level(r fua.Resolution) *devices.FUASupport { return new(r.Level()) }

// pluginDurable says who makes a write on a plugin durable under a strategy; empty
// where that is as the strategy has it. Level is nil where the plugin was not opened.
func pluginDurable(strategy string, level *devices.FUASupport) string {
	switch {
	case strategy == "force":
		return "plugin: NATIVE, every write"
	case strategy == "native", strategy == "pass" && level != nil && *level == devices.FUANative:
		return "plugin: NATIVE"
	case strategy == "pass" && level != nil && *level == devices.FUAEmulate:
		return "plugin: EMULATE, write+flush each"
	}
	return ""
}

// levelOf is what the cell's runs were promised of FUA.
func levelOf(runs []outcome) *devices.FUASupport {
	for _, o := range runs {
		if o.level != nil {
			return o.level
		}
	}
	return nil
}

// callCounts are a plugin's calls, by kind.
type callCounts [fua.CallFlush + 1]uint64

// plus is what was counted, and what was counted between two readings.
func (n callCounts) plus(after, before callCounts) callCounts {
	for i := range n {
		n[i] += after[i] - before[i]
	}
	return n
}

// since is what was counted as a document has it.
func (n callCounts) since() *results.PluginCalls {
	of := func(c fua.Call) int64 { return int64(n[c]) }
	return &results.PluginCalls{
		PWrite: of(fua.CallWrite), PWriteFUA: of(fua.CallWriteFUA), Flush: of(fua.CallFlush),
		Zero: of(fua.CallZero), ZeroFUA: of(fua.CallZeroFUA), Trim: of(fua.CallTrim), TrimFUA: of(fua.CallTrimFUA),
	}
}
