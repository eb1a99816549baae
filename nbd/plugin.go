package nbd

import (
	"context"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/sim"
)

// Plugin is a backend that declares what it can, as an nbdkit plugin does, and
// a device that takes its calls: a write, trim or zero with or without FUA, and
// a flush. A zero may answer ENOTSUP, and is then written.
type Plugin struct {
	fua.Backend
	Device devices.Device
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

// HostExport is an export of the plugin that h runs. Each connection opens it anew,
// whatever name it asks for if name is empty; the plugin gets that name.
func HostExport(name, description string, h *plugin.Host) *Export {
	e := &Export{Name: name, Description: description, AnyName: name == ""}
	e.Connect = func(ctx context.Context, c ConnInfo) (Session, error) {
		d, err := h.Open(ctx, plugin.ConnInfo{ID: c.ID, Export: c.Export}, c.Fail)
		if err != nil {
			return Session{}, err
		}
		return Session{Device: d, Description: d.Description(), Close: d.Close}, nil
	}
	if h.Lists() {
		e.List = func(ctx context.Context) (out []ExportName, err error) {
			list, err := h.List(ctx)
			for _, x := range list {
				out = append(out, ExportName(x))
			}
			return out, err
		}
	}
	return e
}
