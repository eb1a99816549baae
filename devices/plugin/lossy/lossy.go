// Package lossy is a plugin that is wrong on purpose: it declares that its FUA is
// native and makes nothing durable by it. FLUSH does what it should. A client that
// relies on FUA loses commits with the power; crash finds that.
package lossy

import (
	"context"
	"net/url"

	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/devices/plugin/memory"
	"nbdbench/internal/units"
)

// Register registers the plugin as go:lossy.
func Register() { plugin.Register("lossy", Open) }

// Open makes a plugin of the key size (64MiB).
func Open(args url.Values) (plugin.Plugin, error) {
	if err := plugin.CheckKeys(args, "size"); err != nil {
		return plugin.Plugin{}, err
	}
	size, err := plugin.Size(args, "size", 64*units.MiB, 16*units.GiB)
	if err != nil {
		return plugin.Plugin{}, err
	}
	d := memory.New(size, func(context.Context) (fua.Answer, error) { return fua.Native, nil })
	return plugin.Plugin{Name: "lossy", Thread: plugin.Parallel, Open: func(context.Context, plugin.ConnInfo) (*plugin.Conn, error) {
		return forgetful(d.Conn()), nil
	}}, nil
}

// forgetful drops FUA from the calls: a filter that copies a Conn.
func forgetful(inner *plugin.Conn) *plugin.Conn {
	c := *inner
	c.PWrite = func(ctx context.Context, b []byte, off uint64, f plugin.Flags) error {
		return inner.PWrite(ctx, b, off, f&^plugin.FUA)
	}
	c.PZero = func(ctx context.Context, n, off uint64, f plugin.Flags) error {
		return inner.PZero(ctx, n, off, f&^plugin.FUA)
	}
	c.PTrim = func(ctx context.Context, n, off uint64, f plugin.Flags) error {
		return inner.PTrim(ctx, n, off, f&^plugin.FUA)
	}
	return &c
}
