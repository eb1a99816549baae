package stack

import (
	"fmt"
	"strings"
	"time"

	"nbdbench/internal/units"
	"nbdbench/sim"
)

// Link is the wire between client and server, in each direction alike.
type Link struct {
	Name      string
	Latency   time.Duration   // one way
	Bandwidth units.Bandwidth // 0 is unlimited
}

// Links are those that have a name. The map is the caller's.
func Links() map[string]Link {
	return map[string]Link{
		"none": {Name: "none"},
		"unix": {Name: "unix", Latency: 15 * time.Microsecond, Bandwidth: 4e9},
		"lan":  {Name: "lan", Latency: 50 * time.Microsecond, Bandwidth: 10e9 / 8},
		"wan":  {Name: "wan", Latency: 5 * time.Millisecond, Bandwidth: 1e9 / 8},
	}
}

// unlimited is how a link without a bound on its bandwidth is written.
const unlimited = "0"

// ParseLink reads a link's name or LATENCY,BANDWIDTH, where bandwidth 0 is
// unlimited.
func ParseLink(s string) (Link, error) {
	if l, ok := Links()[s]; ok {
		return l, nil
	}
	latency, bandwidth, ok := strings.Cut(s, ",")
	if !ok {
		return Link{}, fmt.Errorf("expected none, unix, lan, wan or LATENCY,BANDWIDTH, got %q", s)
	}
	d, err := units.ParseDuration(latency)
	if err != nil {
		return Link{}, fmt.Errorf("latency of link %q: %w", s, err)
	}
	if d < 0 {
		return Link{}, fmt.Errorf("latency of link %q: expected at least 0", s)
	}
	if bandwidth == unlimited {
		return Link{Name: d.String() + "," + unlimited, Latency: d.Std()}, nil
	}
	b, err := units.ParseBandwidth(bandwidth)
	if err != nil {
		return Link{}, fmt.Errorf("bandwidth of link %q: %w", s, err)
	}
	return Link{Name: d.String() + "," + b.String(), Latency: d.Std(), Bandwidth: b}, nil
}

func (l Link) String() string { return l.Name }

// UnmarshalText reads what ParseLink reads.
func (l *Link) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLink(string(text))
	return err
}

// MarshalText writes what ParseLink reads.
func (l Link) MarshalText() ([]byte, error) { return []byte(l.Name), nil }

// One makes one direction of the link.
func (l Link) One() *sim.Link { return sim.NewLink(l.Latency, float64(l.Bandwidth)) }
