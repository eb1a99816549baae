package workloads

import (
	"math"

	"nbdbench/internal/units"
	"nbdbench/sim"
)

// ClosedLoop is the closed loop: each of the queue depth's slots begins its next
// transaction when its last one has ended and it has thought. It answers what a
// fixed number of waiting users see.
type ClosedLoop struct{ Think sim.Duration }

// Due is when a slot that became free at freed begins again.
func (c ClosedLoop) Due(freed sim.Time) sim.Time { return freed.Add(c.Think) }

// OpenLoop is an open loop: transactions become due by the clock, whether or not
// the device keeps up, and wait for a free slot. Due is a pure function: the
// instant of transaction n, given that of n-1 (for n = 0, that of the start).
type OpenLoop interface {
	Due(n uint64, previous sim.Time) sim.Time
}

// Constant is due at even intervals, the first at Start. Rounding does not add
// up: transaction n is due at Start + n/Rate, to the nanosecond.
type Constant struct {
	Start sim.Time
	Rate  units.Rate
}

// Due is Start + n/Rate.
func (c Constant) Due(n uint64, _ sim.Time) sim.Time {
	return c.Start.Add(sim.Duration(math.Round(float64(n) * 1e9 / float64(c.Rate))))
}

// Poisson is due after independent, exponentially distributed gaps: the
// arrivals of many users who do not know of each other.
type Poisson struct {
	Rate  units.Rate
	Draws sim.Stream // nobody else's
}

// Due is gap n after previous. The gap is not a sim.Dist's, because the mean of
// a high rate is not a whole number of nanoseconds.
func (p Poisson) Due(n uint64, previous sim.Time) sim.Time {
	gap := -math.Log(1-p.Draws.Float64(n, 0)) * 1e9 / float64(p.Rate)
	return previous.Add(sim.Duration(math.Round(gap)))
}

// Bursts is due as Poisson is while it is on, and never while it is off. It is
// on first, from Start.
type Bursts struct {
	Poisson
	Start   sim.Time
	On, Off sim.Duration
}

// Due is gap n after previous, in time that is on.
func (b Bursts) Due(n uint64, previous sim.Time) sim.Time {
	whole := b.On + b.Off
	since := previous.Sub(b.Start)
	on := since/whole*b.On + min(since%whole, b.On)
	on = b.Poisson.Due(n, sim.Time(on)).Sub(0)
	return b.Start.Add(on/b.On*whole + on%b.On)
}

// opens returns the load's open loop from start on, with draws of that name; nil
// for a closed one.
func (l Load) opens(start sim.Time, seed sim.Seed, name string) OpenLoop {
	switch l.Arrival {
	case ArrivalConstant:
		return Constant{start, l.Rate}
	case ArrivalPoisson:
		return Poisson{l.Rate, seed.Stream(name)}
	case ArrivalBursts:
		return Bursts{Poisson{l.Rate, seed.Stream(name)}, start, l.On.Std(), l.Off.Std()}
	}
	return nil
}
