package devices

import "nbdbench/sim"

// MaxHops bounds the proxies between a client and the server of its device.
const MaxHops = 8

// HopTime is the part of a request's Stages that was charged from one server of a chain
// of proxies on, up to the device: at that server, and at those behind it.
type HopTime struct {
	Client sim.Duration `json:"client_queue"` // as a client of the next server
	Link   sim.Duration `json:"link"`         // between that server and who called it, and behind it
	Server sim.Duration `json:"server_queue"`
}

// HopTimes has the servers of a chain: the proxies from the client on, and the
// device's own.
type HopTimes [MaxHops + 1]HopTime

// Add adds t to h.
func (h *HopTimes) Add(t *HopTimes) {
	for i := range h {
		h[i].Client += t[i].Client
		h[i].Link += t[i].Link
		h[i].Server += t[i].Server
	}
}

// Hops is what r's time was at the servers of a chain, or nil without one. The request
// owns it.
func (r *Request) Hops() *HopTimes { return r.hops }

// PassServer takes note, before r's reply, of what was charged to it from server n of a
// chain on.
func (r *Request) PassServer(n int) {
	h := r.ownHops()
	h[n].Client, h[n].Server = r.Stages[ClientQueue], r.Stages[ServerQueue]
}

// PassLink takes note, when r's reply from server n has come, of the time on links.
func (r *Request) PassLink(n int) { r.ownHops()[n].Link = r.Stages[Wire] }

func (r *Request) ownHops() *HopTimes {
	if r.hops == nil {
		r.hops = new(HopTimes)
	}
	return r.hops
}
