package stack

import (
	"context"
	"time"

	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/devices/plugin/sh"
)

// IsPlugin reports whether a device's name is that of a plugin, in Go or a script.
func IsPlugin(device string) bool { return plugin.IsDevice(device) || sh.IsDevice(device) }

// OpenPlugin makes the plugin of a device's name, which unload ends. A script gets the
// words besides the arguments in its name. The timeout is for each of its calls, and 0
// is no bound; calls of Go are bounded by their host.
func OpenPlugin(ctx context.Context, device string, words []string, timeout time.Duration) (p plugin.Plugin, unload func() error, err error) {
	if !sh.IsDevice(device) {
		p, err = plugin.Lookup(device)
		return p, func() error { return nil }, err
	}
	o, err := sh.Parse(device)
	if err != nil {
		return p, nil, err
	}
	o.Args, o.Timeout = append(o.Args, words...), timeout
	s, err := sh.Load(ctx, o)
	if err != nil {
		return p, nil, err
	}
	return s.Plugin(), s.Unload, nil
}

// CheckPlugin says what is wrong with a plugin's name or arguments. External reports
// whether its calls reach what is outside of this process: a script's do. A script is
// not run: it says itself what is wrong when it is.
func CheckPlugin(device string) (external bool, err error) {
	if sh.IsDevice(device) {
		o, err := sh.Parse(device)
		if err != nil {
			return true, err
		}
		return true, o.Check()
	}
	p, err := plugin.Lookup(device)
	return p.External, err
}

// CallKeys are the names of a plugin's calls in JSON.
var CallKeys = [...]string{
	fua.CallWrite: "pwrite", fua.CallWriteFUA: "pwrite_fua", fua.CallTrim: "trim", fua.CallTrimFUA: "trim_fua",
	fua.CallZero: "zero", fua.CallZeroFUA: "zero_fua", fua.CallFlush: "flush",
}
