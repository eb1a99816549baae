package sim

import (
	"math"
	"math/bits"
)

// Seed is the one number from which a run's randomness comes.
type Seed uint64

// Stream is a named source of randomness. A draw is a pure function of the
// stream and the two counters that it is asked for, so consumers that draw a
// different number of times still meet the same values: common random numbers.
type Stream uint64

// Stream names a source. Two names are two independent sources.
func (s Seed) Stream(name string) Stream {
	h := mix(uint64(s) ^ 0x9e3779b97f4a7c15)
	for i := 0; i < len(name); i++ {
		h = mix(h ^ uint64(name[i])*0x100000001b3)
	}
	return Stream(h)
}

// Sub is the seed of part n of what s seeds: run n of a cell, cut n of a run.
func (s Seed) Sub(name string, n uint64) Seed {
	return Seed(s.Stream(name).Uint64(n, 0))
}

// Uint64 is the draw numbered (a, b).
func (s Stream) Uint64(a, b uint64) uint64 {
	return mix(mix(uint64(s)+a*0x9e3779b97f4a7c15) + b*0xd1b54a32d192ed03)
}

// Float64 is the draw numbered (a, b), uniform in [0, 1).
func (s Stream) Float64(a, b uint64) float64 {
	return float64(s.Uint64(a, b)>>11) / (1 << 53)
}

// Uint64N is the draw numbered (a, b), uniform in [0, n). n must not be 0. Its
// bias is below n/2^64, by multiplication instead of a remainder (Lemire 2019,
// without the rejection, which would need a second draw).
func (s Stream) Uint64N(n, a, b uint64) uint64 {
	hi, _ := bits.Mul64(s.Uint64(a, b), n)
	return hi
}

// Normal is the draw numbered (a, b) from the standard normal distribution: the
// quantile of one uniform draw in (0, 1), by math.Erfinv (Wichura's AS 241).
func (s Stream) Normal(a, b uint64) float64 {
	u := (float64(s.Uint64(a, b)>>12) + 0.5) / (1 << 52)
	return math.Sqrt2 * math.Erfinv(2*u-1)
}

// mix is the finaliser of splitmix64 (Steele, Lea and Flood 2014, variant 13 of
// Stafford's): a bijection in which each input bit moves about half of the output.
func mix(x uint64) uint64 {
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}
