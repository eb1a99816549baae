package serve

import (
	"errors"
	"fmt"

	"nbdbench/devices"
	"nbdbench/devices/host"
	"nbdbench/internal/stack"
	"nbdbench/nbd"
	"nbdbench/sim"
)

// isModel reports whether a device's name is that of a simulated device.
func isModel(device string) bool { return !stack.IsPlugin(device) && !stack.IsStorage(device) }

// stored is a served storage of the host.
type stored struct {
	name    string
	storage *host.Storage
	device  *host.Device
	top     devices.Device // the device under the strategy's half
}

// storages opens the devices that are storage of the host.
func (c *Config) storages(first string, real *sim.Real) (out []stored, err error) {
	for _, m := range c.named(first) {
		if !stack.IsStorage(m.Device) {
			continue
		}
		s := stored{name: m.Name}
		if s.storage, err = host.Open(m.Device, host.Config{Size: c.Size, Direct: c.Direct, ReadOnly: c.ReadOnly}); err != nil {
			return out, err
		}
		if s.device, err = s.storage.Device(real); err != nil {
			return out, errors.Join(err, s.storage.Close())
		}
		out = append(out, s)
		if out[len(out)-1].top, err = c.applyStrategy(real.Loop(), m.Device, s.device); err != nil {
			return out, err
		}
	}
	return out, nil
}

// closeStorages makes durable what was written and closes all, before the loop ends.
func closeStorages(all []stored) error {
	var errs []error
	for _, s := range all {
		if err := errors.Join(s.device.Close(), s.storage.Sync(), s.storage.Close()); err != nil {
			errs = append(errs, fmt.Errorf("export %q: %w", s.name, err))
		}
	}
	return errors.Join(errs...)
}

// export is what clients connect to.
func (s stored) export(c *Config) *nbd.Export {
	return &nbd.Export{Name: s.name, Description: s.storage.Path() + ", " + c.Strategy, ReadOnly: c.ReadOnly, Device: s.top}
}

// storageStats are those of one storage, for the control socket.
type storageStats struct {
	Export  string `json:"export"`
	Path    string `json:"path"`
	Flushes uint64 `json:"flushes"`
	Written uint64 `json:"host_written_bytes"`
}

// stats counts what was asked of the storage. In the loop.
func (s stored) stats() storageStats {
	n := s.device.Stats()
	return storageStats{s.name, s.storage.Path(), n.Flushes, n.HostWrittenBytes}
}

// uncut is why its power is not cut.
func (s stored) uncut() error {
	return fmt.Errorf("export %q is %s: the power of the host's storage is not cut", s.name, s.storage.Path())
}
