package nbd

import (
	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/sim"
)

// Plugin is a backend that declares what it can, as an nbdkit plugin does, and
// a device that takes its calls: a write, trim or zero with or without FUA, and
// a flush. A zero may answer ENOTSUP, and is then written.
type Plugin struct {
	fua.Backend
	Device devices.Device
}

// LegacyPlugin is a backend of API version 1, which knows no flags: whatever it
// declares of FUA, native is clamped to emulate.
func LegacyPlugin(loop *sim.Loop, b devices.Legacy) Plugin {
	_, syncs := b.(devices.Syncer)
	return Plugin{Backend: fua.Backend{API: 1, Flush: syncs}, Device: devices.FromLegacy(loop, b)}
}

// PluginExport is an export of p under a fua filter in the given mode. Each
// connection is resolved when it is opened; an error of fua.Resolve refuses it.
func PluginExport(loop *sim.Loop, name string, p Plugin, mode fua.Mode, readOnly bool) *Export {
	e := &Export{Name: name, ReadOnly: readOnly}
	e.Open = func(ConnInfo) (devices.Device, error) {
		r, err := fua.Resolve(p.Backend, mode, readOnly)
		if err != nil {
			return nil, err
		}
		return fua.NewDevice(loop, p.Device, r), nil
	}
	return e
}
