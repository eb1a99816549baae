package nbd

import (
	"context"

	"nbdbench/devices/plugin"
)

// HostExport is an export of the plugin that h runs. Each connection opens it anew,
// whatever name it asks for if name is empty; the plugin gets that name.
func HostExport(name, description string, h *plugin.Host) *Export {
	e := &Export{Name: name, Description: description, AnyName: name == ""}
	e.Connect = func(ctx context.Context, c ConnInfo) (Session, error) {
		d, err := h.Open(ctx, plugin.ConnInfo{ID: c.ID, Export: c.Export, TLS: c.TLS}, c.Fail)
		if err != nil {
			return Session{}, err
		}
		return Session{Device: d, Description: d.Description(), Close: d.Close}, nil
	}
	if h.Lists() {
		e.List = func(ctx context.Context, c ConnInfo) (out []ExportName, err error) {
			list, err := h.List(ctx, plugin.ConnInfo{ID: c.ID, TLS: c.TLS})
			for _, x := range list {
				out = append(out, ExportName(x))
			}
			return out, err
		}
	}
	return e
}
