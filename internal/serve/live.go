package serve

import (
	"fmt"
	"slices"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/layer"
	"nbdbench/sim"
)

// Live is a device as Serve serves it, for who serves it in another way than by NBD.
// It belongs to its loop.
type Live struct {
	l   *device
	top devices.Device
}

// NewLive makes the device of c, of which Device, Strategy, Advertise, Size, Seed,
// Delay, Depth, Fault and FUAMode count. What it holds is in memory. With no NBD client
// around it, it has the client half of its strategy too.
func NewLive(c Config, loop *sim.Loop) (*Live, error) {
	c.Files = Files{}
	l, err := newDevice(&c, c.Device, loop, nil)
	if err != nil {
		return nil, err
	}
	v := &Live{l: l, top: &client{l, l.fence}}
	strategy, _ := layer.Lookup(c.Strategy) // newDevice has found it
	if strategy.Client != nil {
		if v.top, err = strategy.Client(v.top, layer.Options{Loop: loop, Depth: c.Depth}); err != nil {
			return nil, fmt.Errorf("%s on %s: %w", c.Strategy, c.Device, err)
		}
	}
	return v, nil
}

// Device is the drive under its strategy.
func (v *Live) Device() devices.Device { return v.top }

// Images are what a power cut may leave, as the --image of a cut names them.
func Images() []string { return slices.Clone(images) }

// Image is a copy of what a power cut at this moment would leave, one of Images, and
// how many bytes were acknowledged and not durable. The device goes on.
func (v *Live) Image(seed sim.Seed, which string) (drive.Media, uint64, error) {
	if !slices.Contains(images, which) {
		return nil, 0, fmt.Errorf("--image: expected one of %s, got %q", strings.Join(images, ", "), which)
	}
	k, out := v.l.cutAs(v.l.name, seed, which)
	m, err := v.l.leftBy(k, seed, which)
	if err == nil && out.SupersededFull {
		err = fmt.Errorf("--image %s: expected at most %d bytes that the drive writes back between two FLUSHes that it carries out; --image device has no such bound", which, uint64(maxKeptFile))
	}
	return m, out.ExposedBytes, err
}
