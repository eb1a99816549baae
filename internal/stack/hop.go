package stack

import (
	"fmt"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/layer"
	"nbdbench/internal/conf"
	"nbdbench/internal/text"
	"nbdbench/sim"
)

// Hop is a proxy in a plan: a server that forwards what it gets to the next one. It holds
// no data, and has as many connections to the next server as it has from its clients.
type Hop struct {
	// Link is what it is reached by; the zero value is unix.
	Link Link `yaml:"link" json:"link"`
	// Strategy is what it does, and has its client do, to make writes durable; empty is
	// pass.
	Strategy string `yaml:"strategy" json:"strategy"`
}

// The defaults of a Hop.
const (
	hopLink     = "unix"
	hopStrategy = "pass"
)

// ParseHop reads LINK:STRATEGY, LINK or :STRATEGY.
func ParseHop(s string) (h Hop, err error) {
	link, strategy, _ := strings.Cut(s, ":")
	if link != "" {
		if h.Link, err = ParseLink(link); err != nil {
			return h, err
		}
	}
	h.Strategy = strategy
	return h, nil
}

// String is what ParseHop reads.
func (h Hop) String() string { return h.Link.Name + ":" + h.Strategy }

// CheckHops checks a chain, and gives hops their defaults. The error is located by the key
// hops.
func CheckHops(hops []Hop) error {
	if n := len(hops); n > devices.MaxHops {
		return conf.At("hops", "expected at most %d, got %d", devices.MaxHops, n)
	}
	for i := range hops {
		h := &hops[i]
		if h.Link.Name == "" {
			h.Link = Links()[hopLink]
		}
		if h.Strategy == "" {
			h.Strategy = hopStrategy
		}
		if _, ok := layer.Lookup(h.Strategy); !ok {
			return conf.At(fmt.Sprintf("hops[%d].strategy", i), "expected one of %s, got %q%s", strings.Join(layer.Names(), ", "), h.Strategy, text.DidYouMean(h.Strategy, layer.Names()))
		}
	}
	return nil
}

// Proxy is a Hop that can be connected: a strategy, and the two directions of a link.
type Proxy struct {
	Strategy layer.Strategy
	Up, Down *sim.Link
}

// Proxies are the hops of a chain that CheckHops has checked, for one stack.
func Proxies(hops []Hop) (out []Proxy) {
	for i := range hops {
		strategy, _ := layer.Lookup(hops[i].Strategy)
		out = append(out, Proxy{strategy, hops[i].Link.One(), hops[i].Link.One()})
	}
	return out
}
