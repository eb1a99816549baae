package sim

import (
	"fmt"
	"math"
	"sort"
)

// DistKind names a distribution.
type DistKind uint8

// The distributions.
const (
	Constant    DistKind = iota // always the mean
	Uniform                     // between Low and High
	Exponential                 // memoryless, with a mean
	Lognormal                   // with a mean and the sigma of its logarithm
	Empirical                   // measured quantiles, linear in between
)

// Dist is a distribution of durations, never negative. The zero value is the
// constant 0. Make one with the functions below; they check their arguments.
type Dist struct {
	kind     DistKind
	mean     float64 // ns; Uniform: the lower end
	spread   float64 // Uniform: High-Low; Lognormal: sigma
	location float64 // Lognormal: mu
	points   []Quantile
}

// Quantile is one point of an empirical distribution: the value below which a
// fraction P of the samples lies.
type Quantile struct {
	P     float64
	Value Duration
}

// ConstantDist is always d.
func ConstantDist(d Duration) Dist { return Dist{mean: float64(d)} }

// UniformDist lies evenly between low and high.
func UniformDist(low, high Duration) Dist {
	if low < 0 || high < low {
		panic(fmt.Sprintf("sim: uniform distribution from %v to %v", low, high))
	}
	return Dist{kind: Uniform, mean: float64(low), spread: float64(high - low)}
}

// ExponentialDist is memoryless with the given mean.
func ExponentialDist(mean Duration) Dist {
	return Dist{kind: Exponential, mean: float64(mean)}
}

// LognormalDist has the given mean; sigma is the standard deviation of its
// natural logarithm. The median is mean*exp(-sigma^2/2).
func LognormalDist(mean Duration, sigma float64) Dist {
	if sigma <= 0 || mean <= 0 {
		return ConstantDist(mean)
	}
	return Dist{kind: Lognormal, mean: float64(mean), spread: sigma, location: math.Log(float64(mean)) - sigma*sigma/2}
}

// EmpiricalDist goes through the given quantiles, linear in between. The
// points must rise in P from 0 to 1 and must not fall in Value.
func EmpiricalDist(points []Quantile) (Dist, error) {
	if len(points) < 2 || points[0].P != 0 || points[len(points)-1].P != 1 {
		return Dist{}, fmt.Errorf("an empirical distribution needs points from P=0 to P=1, got %d points", len(points))
	}
	var mean float64
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if b.P <= a.P || b.Value < a.Value || a.Value < 0 {
			return Dist{}, fmt.Errorf("empirical distribution: point %d (%g, %v) does not rise from (%g, %v)", i, b.P, b.Value, a.P, a.Value)
		}
		mean += (b.P - a.P) * float64(a.Value+b.Value) / 2
	}
	return Dist{kind: Empirical, mean: mean, points: append([]Quantile(nil), points...)}, nil
}

// Mean is the distribution's mean.
func (d Dist) Mean() Duration {
	if d.kind == Uniform {
		return Duration(d.mean + d.spread/2)
	}
	return Duration(d.mean)
}

// Sample is the draw numbered (a, b) of stream s, in whole nanoseconds.
func (d Dist) Sample(s Stream, a, b uint64) Duration {
	switch d.kind {
	case Uniform:
		return Duration(d.mean + d.spread*s.Float64(a, b))
	case Exponential:
		return Duration(-d.mean * math.Log(1-s.Float64(a, b)))
	case Lognormal:
		return Duration(math.Exp(d.location + d.spread*s.Normal(a, b)))
	case Empirical:
		return d.quantile(s.Float64(a, b))
	default:
		return Duration(d.mean)
	}
}

func (d Dist) quantile(p float64) Duration {
	i := sort.Search(len(d.points), func(i int) bool { return d.points[i].P > p })
	if i == len(d.points) {
		return d.points[i-1].Value
	}
	a, b := d.points[i-1], d.points[i]
	return a.Value + Duration(float64(b.Value-a.Value)*(p-a.P)/(b.P-a.P))
}
