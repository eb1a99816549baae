package ssd

import (
	"errors"
	"fmt"

	"nbdbench/devices"
	"nbdbench/sim"
)

// FlushShape is what sets FLUSH apart from FUA beside FlushBase: how many there are at
// once, and how long one of dirty data takes from case to case. The zero value is one at
// a time, spread as FUA is.
type FlushShape struct {
	// Servers is how many of Config.Servers FLUSH and destage have at once; 0 is 1, and
	// with FUAPrograms all of them.
	Servers int
	// Sigma is the lognormal spread of FLUSH around its mean; 0 is Config.Sigma.
	Sigma float64

	// SlowShare of FLUSHes, from 0 to 1, take Slow more than the others, and
	// TailProbability of them Tail more.
	SlowShare       float64
	Slow            sim.Duration
	TailProbability float64
	Tail            sim.Duration

	// Reserve is how many FLUSHes the drive has prepared room for; 0 is without limit.
	// When they are used up, each takes Exhausted in place of FlushBase. Time without a
	// FLUSH gives them back, all of them in Refill.
	Reserve   int
	Exhausted sim.Duration
	Refill    sim.Duration
}

// MaxReserve bounds FlushShape.Reserve.
const MaxReserve = 1 << 30

// validate says what is wrong with s on a drive with servers units whose FLUSH takes
// base.
func (s *FlushShape) validate(servers int, base sim.Duration) error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(s.Servers >= 0 && s.Servers <= max(servers, 1), "flush.servers is %d, want at most the servers, %d", s.Servers, max(servers, 1))
	want(s.Sigma >= 0 && s.Sigma <= 3, "flush.sigma is %g, want 0 to 3", s.Sigma)
	want(s.SlowShare >= 0 && s.TailProbability >= 0 && s.SlowShare+s.TailProbability <= 1,
		"flush.slow_share is %g and flush.tail_probability %g, want at least 0 and at most 1 together", s.SlowShare, s.TailProbability)
	want(s.Slow >= 0 && s.Tail >= 0, "flush.slow is %v and flush.tail %v, want at least 0", s.Slow, s.Tail)
	want(s.Reserve >= 0 && s.Reserve <= MaxReserve, "flush.reserve is %d, want 0 to %d", s.Reserve, MaxReserve)
	want(s.Reserve == 0 || s.Exhausted >= base && s.Refill > 0,
		"flush.exhausted is %v and flush.refill %v, want with flush.reserve at least flush_base, %v, and more than 0", s.Exhausted, s.Refill, base)
	want(s.Reserve > 0 || s.Exhausted == 0 && s.Refill == 0, "flush.exhausted or flush.refill is given without flush.reserve")
	return errors.Join(errs...)
}

// flushes is what a drive remembers of its FLUSHes.
type flushes struct {
	noise sim.Dist   // multiplies a mean of 1 s
	cases sim.Stream // which FLUSHes are slow
	turn  uint64     // requests without a transaction that drew from it
	used  float64    // of the reserve
	ended sim.Time   // the last FLUSH of dirty data
}

func (d *Device) newFlushes(seed sim.Seed) flushes {
	sigma := d.cfg.Flush.Sigma
	if sigma == 0 {
		sigma = d.cfg.Sigma
	}
	return flushes{noise: sim.LognormalDist(1e9, sigma), cases: seed.Stream("ssd.flush")}
}

// flushBase is what FLUSH r of dirty data takes beside what it writes, before its
// spread.
func (d *Device) flushBase(r *devices.Request) sim.Duration {
	s, f := &d.cfg.Flush, &d.flushes
	base := d.cfg.FlushBase
	if s.Reserve > 0 {
		rest := float64(d.loop.Now().Sub(f.ended)) / float64(s.Refill)
		f.used = max(0, f.used-rest*float64(s.Reserve))
		if f.used >= float64(s.Reserve) {
			base = s.Exhausted
		} else {
			f.used++
		}
	}
	if s.SlowShare == 0 && s.TailProbability == 0 {
		return base
	}
	u := 0.0
	if r.Txn == 0 {
		f.turn++
		u = f.cases.Float64(f.turn, anonymous)
	} else {
		u = f.cases.Float64(r.Txn, uint64(r.Step))
	}
	switch {
	case u < s.TailProbability:
		base += s.Tail
	case u < s.TailProbability+s.SlowShare:
		base += s.Slow
	}
	return base
}
