//go:build !linux

package host

import (
	"runtime"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Storage is storage of the host; here there is none.
type Storage struct{}

// Device is a device over a Storage; here there is none.
type Device struct{}

func missing() error {
	return &Missing{What: "a block device or file of the host as a device: expected Linux, got " + runtime.GOOS}
}

// Open returns a Missing.
func Open(string, Config) (*Storage, error) { return nil, missing() }

// Check returns a Missing.
func Check(string) error { return missing() }

// Path is empty.
func (s *Storage) Path() string { return "" }

// Kind is File.
func (s *Storage) Kind() Kind { return File }

// Size is 0.
func (s *Storage) Size() uint64 { return 0 }

// Disk is empty.
func (s *Storage) Disk() Disk { return Disk{} }

// Fill returns a Missing.
func (s *Storage) Fill() (Extents, error) { return Extents{}, missing() }

// Sync does nothing.
func (s *Storage) Sync() error { return nil }

// Close does nothing.
func (s *Storage) Close() error { return nil }

// Device returns a Missing.
func (s *Storage) Device(*sim.Real) (*Device, error) { return nil, missing() }

// Info is empty.
func (d *Device) Info() devices.Info { return devices.Info{} }

// Submit must not be called.
func (d *Device) Submit(*devices.Request) { panic("host: there is no device here") }

// Stats are empty.
func (d *Device) Stats() devices.Stats { return devices.Stats{} }

// Close does nothing.
func (d *Device) Close() error { return nil }

// Asked is empty.
func (d *Device) Asked() Asked { return Asked{} }

// Watch counts what a disk is sent; here it cannot.
type Watch struct{}

// Watch returns a Missing.
func (s *Storage) Watch(Extents) (*Watch, error) { return nil, missing() }

// Why returns a Missing.
func (w *Watch) Why() error { return missing() }

// Begin returns a Missing.
func (w *Watch) Begin() error { return missing() }

// End returns a Missing.
func (w *Watch) End(Asked) (Sent, error) { return Sent{}, missing() }

// Close does nothing.
func (w *Watch) Close() error { return nil }

// Health is empty.
func (s *Storage) Health() Health { return Health{} }
