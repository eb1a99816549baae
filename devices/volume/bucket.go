package volume

import (
	"fmt"
	"math"
	"math/bits"

	"nbdbench/sim"
)

// Limit is a rate with burst credit. The zero value is no limit.
type Limit struct {
	// Rate is how many tokens come in per second; 0 is unlimited.
	Rate uint64
	// Burst is how many tokens are saved up while less is used. With 0, I/Os are
	// spaced evenly at Rate.
	Burst uint64
	// Peak is how many tokens per second may be used while the credit lasts; 0 is
	// unlimited.
	Peak uint64
}

const (
	second = uint64(1e9) // ns
	// maxRate bounds the tokens per second, maxTake those of one request: their
	// products with a second's nanoseconds fit 64 bits.
	maxRate = uint64(1) << 40
	maxTake = uint64(1) << 33
	// maxSaved bounds how many seconds' worth of tokens a bucket holds: 30 years.
	maxSaved = 1e9
)

func (l *Limit) validate(name string, least uint64) error {
	switch {
	case l.Rate == 0 && l.Burst == 0 && l.Peak == 0:
		return nil
	case l.Rate < least || l.Rate > maxRate:
		return fmt.Errorf("%s: rate is %d per second, want %d to %d, or no burst and no peak", name, l.Rate, least, maxRate)
	case float64(l.Burst) > maxSaved*float64(l.Rate):
		return fmt.Errorf("%s: burst is %d, want at most %g seconds of rate", name, l.Burst, maxSaved)
	case l.Peak != 0 && (l.Peak < l.Rate || l.Peak > maxRate):
		return fmt.Errorf("%s: peak is %d per second, want the rate %d to %d, or 0 for unlimited", name, l.Peak, l.Rate, maxRate)
	}
	return nil
}

// bucket holds tokens that come in at a rate. It is kept as the instant at which
// it was, or will be, empty, so that a rate is exact however it divides.
type bucket struct {
	rate  uint64 // per second; 0 is unlimited
	size  uint64 // what it holds, and in any case as much as one request takes
	saved sim.Duration
	empty sim.Time
	rest  uint64 // of the last division: parts of a nanosecond, in 1/rate
}

// newBucket returns a full bucket.
func newBucket(rate, size uint64) bucket {
	b := bucket{rate: rate, size: size, empty: math.MinInt64 / 2}
	if rate > 0 {
		hi, lo := bits.Mul64(size, second)
		ns, _ := bits.Div64(hi, lo, rate)
		b.saved = sim.Duration(ns)
	}
	return b
}

// take takes n tokens for a request that comes at now, behind all that came
// before, and returns when they are there.
func (b *bucket) take(now sim.Time, n uint64) sim.Time {
	if b.rate == 0 || n == 0 {
		return now
	}
	need := min(n, maxTake) * second
	saved := max(b.saved, sim.Duration(need/b.rate))
	if full := now.Add(-saved); b.empty < full {
		b.empty, b.rest = full, 0
	}
	b.empty = b.empty.Add(sim.Duration((need + b.rest) / b.rate))
	b.rest = (need + b.rest) % b.rate
	return max(now, b.empty)
}

// throttle is a Limit at work.
type throttle struct{ base, peak bucket }

func newThrottle(l Limit) throttle {
	return throttle{newBucket(l.Rate, l.Burst), newBucket(l.Peak, 0)}
}

func (t *throttle) take(now sim.Time, n uint64) sim.Time {
	return max(t.base.take(now, n), t.peak.take(now, n))
}
