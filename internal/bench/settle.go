package bench

import (
	"fmt"
	"math"
	"time"

	"nbdbench/devices/drive"
	"nbdbench/internal/stack"
	"nbdbench/internal/units"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// MaxWarmup bounds the time that a cell is given to settle.
const MaxWarmup = 15 * time.Minute

// The bounds of a pilot run, and of what counts as settled.
const (
	pilotTime     = 2 * MaxWarmup // virtual
	pilotRequests = 2 << 20       // of the workload
	// timelessRequests are enough to know that a run stays at its first instant.
	timelessRequests = 1 << 16
	boundsEvery      = 1 << 10 // events

	leastWarmup  = 100 * time.Millisecond
	leastCommits = 100 // in the second half of the pilot

	maxSamples = 512 // of a gauge: then every other one is dropped
	maxGauges  = 16
	checkEvery = 16               // samples
	maxLeft    = 1000 * time.Hour // more is not distinguished
	// A pilot that has gone on for this part of a bound may see that it cannot settle.
	enoughSeen = 1.0 / 8
	batches    = 8 // parts of a quarter, from which the noise of its rate is estimated

	// From one quarter to the next, the mean of a gauge may change by mostTrend of its
	// scale. It may change by no more than mostDrift of its standard deviation, and
	// the means of eighths may differ by no more than mostSwing of it, unless the
	// change at this pace would be less than mostTrend of the scale in all of the
	// longest run that can follow. With 128 samples of white noise in a quarter,
	// these are 2.8 and 2.7 standard errors; a ramp changes by 1.7 deviations.
	mostTrend = 0.05
	mostDrift = 0.35
	mostSwing = 0.7
	// A rate may change by this part of it and by its own noise, of which no more
	// is allowed than another part.
	mostRate  = 0.10
	mostNoise = 0.20
)

// settling is what a pilot run found of a cell.
type settling struct {
	// Warmup is how long the cell takes to settle, a round number; 0 if it has not.
	Warmup  sim.Duration
	Settled bool
	Reason  string // why it has not settled
	Bounded bool   // it ends by itself
	Elapsed sim.Duration
	Commits uint64  // in all of Elapsed
	Rate    float64 // commits a second in the second half of Elapsed; 0 if they take no time
}

// settle is settlePhases of the last phase.
func settle(p *Plan, c *Cell, stop func() bool) (settling, error) {
	phases, err := settlePhases(p, c, stop)
	if err != nil {
		return settling{}, err
	}
	return phases[len(phases)-1], nil
}

// settlePhases decides when a cell has settled, by a pilot run in virtual time without
// power cuts. That is at half of the earliest instant t at which, from t/2 to t,
// no gauge of the device has a trend and commits have the same rate in both halves
// of that time. The state comes first: the rate alone is as steady on the plateau
// before a cache is full.
//
// Each phase begins where the one before it has settled, or where it has ended by
// itself: such a phase has no steady state, and needs no warm-up.
func settlePhases(p *Plan, c *Cell, stop func() bool) ([]settling, error) {
	q := *p
	q.Cuts, q.Commits, q.Duration = 0, 0, pilotTime
	seed := sim.Seed(p.Seed).Sub("settle", 0)
	w, err := newWorld(&q, c, seed)
	if err != nil {
		return nil, err
	}
	defer w.close()
	s := newPilot(w, c, seed)
	w.runner.Start()
	var out []settling
	bounded := c.Workload.Bounded()
	for phase, ends := range bounded {
		if err := s.runPhase(ends, stop); err != nil {
			return nil, err
		}
		out = append(out, s.found)
		if phase == len(bounded)-1 {
			break
		}
		if end := s.next(phase, stop); end == interrupted {
			return nil, stack.ErrNotRun
		} else if end != goesOn {
			return unreached(out, bounded), nil
		}
	}
	return out, nil
}

// unreached adds the phases that a pilot has not come to.
func unreached(out []settling, bounded []bool) []settling {
	reason := fmt.Sprintf("the pilot has not come to the end of phase %d", max(len(out), 1))
	for len(out) < len(bounded) {
		out = append(out, settling{Bounded: bounded[len(out)], Reason: reason})
	}
	return out
}

// pilot is one pilot run and what it has seen: one sample for each step of time.
type pilot struct {
	w     *world
	found settling
	what  string   // its transactions are, to people
	from  sim.Time // of the phase, and what there was before it
	base  workloads.Stats
	// each and between are the requests of a transaction and of what follows it; of
	// several streams they are counted.
	each, between uint64

	step    sim.Duration
	n       int // samples
	now     []drive.Gauge
	gauges  [][maxSamples]float64
	commits [maxSamples]uint64 // so far, at the end of the step
	bytes   [maxSamples]uint64 // that the host has written so far
	draw    sim.Stream
	drawn   uint64
	events  uint64
}

func newPilot(w *world, c *Cell, seed sim.Seed) *pilot {
	s := &pilot{w: w, what: "commits", step: 4 * leastWarmup / maxSamples, draw: seed.Stream("samples")}
	if !c.Workload.HasCommits() {
		s.what = "operations"
	}
	if len(c.Workload.Streams) == 0 {
		s.each, s.between = requestsOf(c.Workload.Transaction), requestsOf(c.Workload.Between)
	}
	s.now = w.model.Gauges(make([]drive.Gauge, 0, maxGauges))
	if len(s.now) > maxGauges {
		panic(fmt.Sprintf("bench: %s has %d gauges, want at most %d", c.Device, len(s.now), maxGauges))
	}
	s.gauges = make([][maxSamples]float64, len(s.now))
	return s
}

func requestsOf(steps []workloads.Step) (n uint64) {
	for i := range steps {
		n += uint64(max(steps[i].Count, 1))
	}
	return n
}

// why is how a stretch of the pilot ended.
type why uint8

const (
	goesOn why = iota
	interrupted
	outOfRequests
	timeless // nothing takes any time
	runnerEnded
)

// runPhase samples until the cell has settled in the phase or the pilot is at a bound. Of
// a phase that ends by itself nothing is found.
func (s *pilot) runPhase(bounded bool, stop func() bool) error {
	s.found, s.n, s.step = settling{Bounded: bounded}, 0, 4*leastWarmup/maxSamples
	s.from, s.base = s.w.loop.Now(), s.w.runner.Stats()
	if bounded {
		return nil
	}
	for {
		end := s.sample(stop)
		switch {
		case end == interrupted:
			return stack.ErrNotRun
		case end == timeless:
			s.found.Settled, s.found.Commits = true, s.w.runner.Stats().Commits-s.base.Commits
			return nil
		case end != goesOn:
			s.giveUp(end)
			return nil
		}
		if s.n >= maxSamples/2 && s.n%checkEvery == 0 && s.check() {
			return nil
		}
		if s.n == maxSamples {
			s.thin()
		}
	}
}

// next goes on to the next phase: at once, or when a phase that ends by itself has
// ended. It says why there is none, or that it goes on.
func (s *pilot) next(phase int, stop func() bool) why {
	if s.w.runner.Phase() == phase && !s.found.Bounded {
		s.w.runner.EndPhase()
	}
	for s.w.runner.Phase() == phase {
		s.events++
		switch {
		case s.events%stack.InterruptEvery == 0 && stop():
			return interrupted
		case s.w.runner.Stats().Requests-s.base.Requests > pilotRequests:
			return outOfRequests
		case s.w.runner.Err() != nil || !s.w.loop.Step():
			return runnerEnded
		}
	}
	return goesOn
}

// sample runs one step. Gauges are read at a random instant within it, so that
// the grid does not beat with what is regular in the run.
func (s *pilot) sample(stop func() bool) why {
	begin := s.w.loop.Now()
	at := begin.Add(sim.Duration(s.draw.Float64(s.drawn, 0) * float64(s.step)))
	s.drawn++
	if end := s.advance(at, stop); end != goesOn {
		return end
	}
	s.now = s.w.model.Gauges(s.now[:0])
	for i := range s.now {
		s.gauges[i][s.n] = s.now[i].Value
	}
	if end := s.advance(begin.Add(s.step), stop); end != goesOn {
		return end
	}
	s.commits[s.n] = s.w.runner.Stats().Commits
	s.bytes[s.n] = s.w.model.Stats().HostWrittenBytes
	s.n++
	return goesOn
}

// advance runs all events up to an instant.
func (s *pilot) advance(until sim.Time, stop func() bool) why {
	loop, runner := s.w.loop, s.w.runner
	for loop.Next() <= until {
		loop.Step()
		s.events++
		if s.events%stack.InterruptEvery == 0 && stop() {
			return interrupted
		}
		if s.events%boundsEvery == 0 {
			switch requests := s.requests(); {
			case requests > pilotRequests:
				return outOfRequests
			case requests > timelessRequests && loop.Now() == s.from:
				return timeless
			}
		}
	}
	if runner.Finished() {
		return runnerEnded
	}
	loop.Run(until)
	return goesOn
}

func (s *pilot) requests() uint64 {
	stats := s.w.runner.Stats()
	if s.each == 0 {
		return stats.Requests - s.base.Requests
	}
	return stats.Begun*s.each + stats.Between*s.between
}

// thin drops every other sample: the grid becomes twice as wide.
func (s *pilot) thin() {
	s.n /= 2
	s.step *= 2
	for i := range s.n {
		for g := range s.gauges {
			s.gauges[g][i] = s.gauges[g][2*i]
		}
		s.commits[i], s.bytes[i] = s.commits[2*i+1], s.bytes[2*i+1]
	}
}

// check reports whether there is nothing more to find out: the cell has settled, or
// will not. It notes what is known of it by now.
func (s *pilot) check() bool {
	f := &s.found
	f.Elapsed = sim.Duration(s.n) * s.step
	f.Commits = s.commits[s.n-1] - s.base.Commits
	half := f.Elapsed / 2
	done := s.commits[s.n-1] - s.commits[s.n/2-1]
	f.Rate = float64(done) / half.Seconds()
	trending := s.trend()
	if trending && s.outlasts() {
		return true
	}
	if f.Reason == "" && done < leastCommits {
		f.Reason = fmt.Sprintf("there were only %d %s in the last %v", done, s.what, half)
	}
	if f.Reason == "" {
		f.Reason = s.rate(s.what, s.commits[:s.n])
	}
	if f.Reason == "" {
		f.Reason = s.rate("bytes written", s.bytes[:s.n])
	}
	if f.Reason != "" {
		return false
	}
	f.Settled, f.Warmup = true, roundUp(half)
	return true
}

// trend reports whether a gauge has a trend, and says which.
func (s *pilot) trend() bool {
	s.found.Reason = ""
	for i := range s.gauges {
		g, v := &s.now[i], view(s.gauges[i][:s.n], sim.Duration(s.n)*s.step)
		if v.trending(g.Scale) {
			s.found.Reason = changed(g.Name, part(v.a, g), part(v.b, g)+of(g), v.b > v.a, v.quarter)
			return true
		}
		if v.cycling(g.Scale) {
			s.found.Reason = fmt.Sprintf("%s went up and down between %s and %s%s within %v", g.Name, part(v.low, g), part(v.high, g), of(g), units.Rough(2*v.quarter))
			return true
		}
	}
	return false
}

// outlasts reports whether a gauge goes so evenly towards the end of its scale, and
// has so far to go, that it will not be there within MaxWarmup. Then the reason
// says when it will.
func (s *pilot) outlasts() bool {
	f := &s.found
	if f.Elapsed.Seconds() < enoughSeen*pilotTime.Seconds() && float64(s.requests()) < enoughSeen*pilotRequests {
		return false
	}
	for i := range s.gauges {
		g, v := &s.now[i], view(s.gauges[i][:s.n], f.Elapsed)
		if !g.Ends || !v.trending(g.Scale) || !v.even() {
			continue
		}
		if left := v.left(g.Scale); f.Elapsed+left > MaxWarmup {
			f.Reason = changed(g.Name, part(v.a, g), part(v.b, g)+of(g), v.b > v.a, v.quarter) +
				fmt.Sprintf("; it takes %v more to the end of it", left.Round(time.Minute))
			return true
		}
	}
	return false
}

// seen is the second half of what was seen of a gauge.
type seen struct {
	a, b      float64    // means of its two quarters
	means     [4]float64 // of its four eighths
	low, high float64    // the least and the greatest of them
	sd        float64    // standard deviation, from the mean of all
	quarter   sim.Duration
}

func view(values []float64, elapsed sim.Duration) seen {
	half := values[len(values)/2:]
	v := seen{low: math.Inf(1), high: math.Inf(-1), quarter: elapsed / 4}
	n := len(half) / 4
	for i := range v.means {
		for _, x := range half[i*n : (i+1)*n] {
			v.means[i] += x / float64(n)
		}
		v.low, v.high = min(v.low, v.means[i]), max(v.high, v.means[i])
	}
	v.a, v.b = (v.means[0]+v.means[1])/2, (v.means[2]+v.means[3])/2
	sum := 0.0
	for _, x := range half {
		sum += (x - (v.a+v.b)/2) * (x - (v.a+v.b)/2)
	}
	v.sd = math.Sqrt(sum / float64(len(half)))
	return v
}

// trending reports whether the change from one quarter to the next is a trend.
func (v *seen) trending(scale float64) bool {
	change := math.Abs(v.b - v.a)
	if scale > 0 && change > mostTrend*scale {
		return true
	}
	return change > mostDrift*v.sd && v.matters(change, scale)
}

// cycling reports whether the gauge goes up and down so slowly that what was seen
// of it is less than some periods: a part of one says nothing of what follows.
func (v *seen) cycling(scale float64) bool {
	change := v.high - v.low
	return change > mostSwing*v.sd && v.matters(change, scale)
}

// matters reports whether a change that goes on at this pace would be one of the
// state within the longest run that can follow.
func (v *seen) matters(change, scale float64) bool {
	return scale == 0 || change*(MaxVirtual.Seconds()/v.quarter.Seconds()) > mostTrend*scale
}

// even reports whether the change from one eighth to the next is always the same,
// within a tenth.
func (v *seen) even() bool {
	each := (v.means[3] - v.means[0]) / 3
	for i := range 3 {
		if math.Abs(v.means[i+1]-v.means[i]-each) > 0.1*math.Abs(each) {
			return false
		}
	}
	return true
}

// left is how long the gauge takes to the end of its scale at this pace.
func (v *seen) left(scale float64) sim.Duration {
	way := v.means[3]
	if v.b > v.a {
		way = scale - v.means[3]
	}
	seconds := way / math.Abs(v.b-v.a) * v.quarter.Seconds()
	return sim.Duration(min(seconds, maxLeft.Seconds()) * 1e9)
}

// rate says that what is counted has not the same rate in the last two quarters,
// if that is so.
func (s *pilot) rate(what string, counts []uint64) string {
	quarter := sim.Duration(s.n/4) * s.step
	a, varA := s.batches(counts, s.n/2)
	b, varB := s.batches(counts, s.n/2+s.n/4)
	mean := (a + b) / 2
	noise := min(2*math.Sqrt((varA+varB)/batches), mostNoise*mean)
	if math.Abs(b-a) <= mostRate*mean+noise {
		return ""
	}
	return changed(what, perSecond(a), perSecond(b), b > a, quarter)
}

// batches is the rate in the quarter that begins with a sample, and the variance
// of the rates in its parts.
func (s *pilot) batches(counts []uint64, from int) (rate, variance float64) {
	n := s.n / 4
	var rates [batches]float64
	for i := range rates {
		begin, end := from+i*n/batches-1, from+(i+1)*n/batches-1
		rates[i] = float64(counts[end]-counts[begin]) / (sim.Duration(end-begin) * s.step).Seconds()
	}
	rate = float64(counts[from+n-1]-counts[from-1]) / (sim.Duration(n) * s.step).Seconds()
	for _, r := range rates {
		variance += (r - rate) * (r - rate) / (batches - 1)
	}
	return rate, variance
}

// giveUp is the end of a pilot in which the cell has not settled.
func (s *pilot) giveUp(end why) {
	f := &s.found
	f.Elapsed, f.Commits = s.w.loop.Now().Sub(s.from), s.w.runner.Stats().Commits-s.base.Commits
	if err := s.w.runner.Err(); err != nil { // it does not keep up, or fails: the runs say so too
		f.Reason = err.Error()
		return
	}
	if f.Reason == "" {
		f.Reason = fmt.Sprintf("there were only %d %s in %v", f.Commits, s.what, f.Elapsed)
	}
	if end == outOfRequests {
		f.Reason += fmt.Sprintf("; the pilot ended after %d requests, %v", s.requests(), f.Elapsed.Round(time.Millisecond))
	}
}

// changed says that something rose or fell within a time.
func changed(what, from, to string, up bool, within sim.Duration) string {
	verb := "fell"
	if up {
		verb = "rose"
	}
	return fmt.Sprintf("%s %s from %s to %s within %v", what, verb, from, to, units.Rough(within))
}

// part is a gauge's value as a part of its scale.
func part(v float64, g *drive.Gauge) string {
	if g.Scale == 0 {
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%.3g%%", 100*v/g.Scale)
}

func of(g *drive.Gauge) string {
	if g.Scale == 0 {
		return ""
	}
	return " of " + g.Of
}

func perSecond(rate float64) string { return fmt.Sprintf("%.3g/s", rate) }

// roundNumbers are the warm-up times that there are.
var roundNumbers = roundTimes()

// roundTimes are some round numbers of each decade of milliseconds, then of
// seconds and minutes.
func roundTimes() []sim.Duration {
	var list []sim.Duration
	for _, unit := range []sim.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
		for _, x := range []sim.Duration{10, 12, 15, 20, 25, 30, 40, 50, 60, 80} {
			if t := x * unit / 10; t < time.Minute {
				list = append(list, t)
			}
		}
	}
	for t := time.Minute; t <= MaxWarmup; t += 15 * time.Second {
		list = append(list, t)
	}
	return list
}

// roundUp is the next round number.
func roundUp(d sim.Duration) sim.Duration {
	for _, t := range roundNumbers {
		if d <= t {
			return t
		}
	}
	return MaxWarmup
}
