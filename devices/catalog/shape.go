package catalog

import (
	"fmt"
	"strings"
	"time"

	"nbdbench/devices/ssd"
)

// FlushShape has what sets FLUSH apart from FUA on a flash drive, ssd.FlushShape.
type FlushShape struct {
	Servers         int           `yaml:"servers"`
	Sigma           float64       `yaml:"sigma"`
	SlowShare       float64       `yaml:"slow_share"`
	Slow            time.Duration `yaml:"slow"`
	TailProbability float64       `yaml:"tail_probability"`
	Tail            time.Duration `yaml:"tail"`
	Reserve         int           `yaml:"reserve"`
	Exhausted       time.Duration `yaml:"exhausted"`
	Refill          time.Duration `yaml:"refill"`
}

func (f *FlushShape) config() ssd.FlushShape {
	if f == nil {
		return ssd.FlushShape{}
	}
	return ssd.FlushShape{
		Servers: f.Servers, Sigma: f.Sigma,
		SlowShare: f.SlowShare, Slow: f.Slow, TailProbability: f.TailProbability, Tail: f.Tail,
		Reserve: f.Reserve, Exhausted: f.Exhausted, Refill: f.Refill,
	}
}

// text says in words how FLUSHes differ from each other.
func (f *FlushShape) text() string {
	if f == nil {
		return ""
	}
	var b strings.Builder
	if f.SlowShare > 0 {
		fmt.Fprintf(&b, ";%s%.3g%% of them take %v more", showIndent, 100*f.SlowShare, f.Slow)
	}
	if f.TailProbability > 0 {
		fmt.Fprintf(&b, ";%s%.3g%% of them take %v more", showIndent, 100*f.TailProbability, f.Tail)
	}
	if f.Reserve > 0 {
		fmt.Fprintf(&b, ";%safter %d of them hardly with a rest each takes %v, until %v without one", showIndent, f.Reserve, f.Exhausted, f.Refill)
	}
	return b.String()
}
