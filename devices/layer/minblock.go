package layer

import "nbdbench/devices"

type minBlock struct {
	devices.Device
	bytes uint32
}

// MinBlock has inner advertise a minimum block of bytes, a power of two up to 64 KiB:
// who serves it refuses requests that are not whole blocks of that. A device whose own
// minimum is larger keeps it.
func MinBlock(inner devices.Device, bytes uint32) devices.Device {
	if bytes&(bytes-1) != 0 || bytes > 64<<10 {
		panic("layer: a minimum block is a power of two up to 64 KiB")
	}
	if bytes <= inner.Info().MinIO {
		return inner
	}
	return &minBlock{inner, bytes}
}

func (m *minBlock) Info() devices.Info {
	i := m.Device.Info()
	i.MinIO, i.PreferredIO = m.bytes, max(i.PreferredIO, m.bytes)
	return i
}
