package bench

import (
	"context"
	"errors"

	"nbdbench/devices"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
	"nbdbench/nbd/kernel"
	"nbdbench/results"
	"nbdbench/sim"
)

// The ways from the client to the server.
const (
	ViaUserspace = "userspace" // our own client
	ViaKernel    = "kernel"    // the kernel's, /dev/nbdN
)

// clientHalf is what goes around the client's device. The kernel makes a write
// durable as the export lets it, so its strategies have no half of ours; what
// nobody makes durable is not asked of it.
func clientHalf(p *Plan, c *Cell) layer.Wrap {
	if p.Via != ViaKernel {
		return c.Strategy.Client
	}
	switch c.Strategy.Name {
	case "none-unsafe":
		return c.Strategy.Client
	case "none-grouped":
		return func(devices.Device, layer.Options) (devices.Device, error) {
			return nil, &layer.Unsupported{Reason: "the kernel groups flushes by itself: through it none is this"}
		}
	}
	return func(inner devices.Device, _ layer.Options) (devices.Device, error) { return inner, nil }
}

// driveKernel is the client half through the kernel: it attaches the socket's
// export as /dev/nbdN and runs the workload on that.
func (o *outcome) driveKernel(ctx context.Context, p *Plan, c *Cell, seed sim.Seed, s *cellServer) {
	a, err := kernel.Attach(ctx, s.uri, kernel.Config{Connections: int(c.Connections)})
	if err != nil {
		o.err = err
		return
	}
	defer func() { o.err = errors.Join(o.err, a.Detach()) }()
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		o.err = err
		return
	}
	defer func() { o.err = errors.Join(o.err, real.Close()) }()
	disk, err := kernel.OpenDisk(a.Path, real, kernel.DiskConfig{})
	if err != nil {
		o.err = err
		return
	}
	defer func() { o.err = errors.Join(o.err, disk.Close()) }()
	o.export = advertised(a.Export.Info())
	o.measure(ctx, p, c, seed, s, real, disk)
}

// wireOf is what the server received since before.
func wireOf(n, before nbd.Counts) results.Wire {
	since := func(a, b uint64) int64 { return int64(a - b) }
	return results.Wire{
		Read: since(n.Read, before.Read), Write: since(n.Write, before.Write), WriteFUA: since(n.WriteFUA, before.WriteFUA),
		Flush: since(n.Flush, before.Flush), Trim: since(n.Trim, before.Trim), TrimFUA: since(n.TrimFUA, before.TrimFUA),
		WriteZeroes: since(n.WriteZeroes, before.WriteZeroes), WriteZeroesFUA: since(n.WriteZeroesFUA, before.WriteZeroesFUA),
	}
}
