package layer

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// hide is an export that does not advertise FUA and refuses it.
type hide struct{ base }

// HideFUA hides the device's FUA, whatever it is, and refuses the flag with
// EINVAL, as a server must that did not advertise it. The client has to flush.
func HideFUA(inner devices.Device, loop *sim.Loop, side Side) (devices.Device, error) {
	if err := needFlush(inner); err != nil {
		return nil, err
	}
	h := &hide{newBase(inner, loop, side)}
	h.info.FUA = devices.FUANone
	return h, nil
}

func (h *hide) Submit(r *devices.Request) {
	if r.Durable() {
		h.later(r, devices.EINVAL)
		return
	}
	h.inner.Submit(r)
}
