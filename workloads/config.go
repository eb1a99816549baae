package workloads

import (
	"fmt"
	"slices"

	"nbdbench/devices"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// Config is one run of a profile.
type Config struct {
	Profile Profile
	// QueueDepth replaces the profile's; 0 does not.
	QueueDepth uint32
	// Connections is how many connections share the slots: slot s uses
	// connection s modulo Connections. 0 is 1.
	Connections uint32
	Seed        sim.Seed
	// Commits is how many measured commits to begin, over all streams, or where no
	// stream has commits, transactions; 0 is no bound but MaxCommits. Those that are due within Warmup come on top. The window ends
	// when the next one after them is due.
	Commits uint64
	// Duration is how long transactions may become due, after Warmup; 0 is no
	// bound. One of Commits and Duration must be given. On a device that takes
	// no time at all, only Commits ends a closed loop.
	Duration sim.Duration
	// Warmup is how long from the start on nothing is measured; see
	// Runner.Measured. The Observer receives all events all the same.
	Warmup sim.Duration
	// Warmups, if not nil, are those of the profile's phases, in place of Warmup.
	Warmups []sim.Duration
	Content Content
	// Sustain keeps the load up after the window has ended: transactions that are
	// not measured go on being begun until the last measured one is done, so that
	// none of them runs beside idle slots.
	Sustain bool
	// Ends, if not nil, is called on the loop as soon as it is known when the window
	// ends, which may lie ahead, or which its last transaction is, and again when
	// more is known: see Runner.Measured. Until then they are sim.Never and the
	// highest number.
	Ends func(at sim.Time, last uint64)
	// Phase, if not nil, is called on the loop when a further phase of the profile
	// begins, with its number, from 1, and the instant of its window's beginning.
	// Commits, Duration and Warmup are those of each phase, Warmups one for each.
	Phase func(n int, from sim.Time)
	// Observer may be nil.
	Observer Observer
}

// warmup is that of a phase.
func (c *Config) warmup(phase int) sim.Duration {
	if c.Warmups != nil {
		return c.Warmups[phase]
	}
	return c.Warmup
}

// MaxCommits bounds a run that has only a Duration.
const MaxCommits = 1 << 40

// Validate checks the run against the device it is meant for.
func (c *Config) Validate(info devices.Info) error {
	p := c.Profile.With(Override{QueueDepth: c.QueueDepth})
	if err := p.Fits(info); err != nil {
		return fmt.Errorf("workload %s: %w", p.Name, err)
	}
	switch {
	case c.Commits == 0 && c.Duration == 0:
		return fmt.Errorf("workload %s: expected a number of commits or a duration", p.Name)
	case c.Commits > MaxCommits:
		return fmt.Errorf("workload %s: commits: expected at most %d, got %d", p.Name, uint64(MaxCommits), c.Commits)
	case c.Duration < 0 || c.Warmup < 0 || slices.ContainsFunc(c.Warmups, func(d sim.Duration) bool { return d < 0 }):
		return fmt.Errorf("workload %s: expected no negative duration or warm-up, got %v and %v", p.Name, c.Duration, c.Warmup)
	case c.Warmups != nil && len(c.Warmups) != len(p.EachPhase()):
		return fmt.Errorf("workload %s: expected a warm-up for each of %d phases, got %d", p.Name, len(p.EachPhase()), len(c.Warmups))
	case c.Connections > MaxConnections:
		return fmt.Errorf("workload %s: connections: expected at most %d, got %d", p.Name, MaxConnections, c.Connections)
	}
	return c.validateMemory(&p, info)
}

// validateMemory bounds what a run keeps in flight: in its slots, and of payload.
func (c *Config) validateMemory(p *Profile, info devices.Info) error {
	requests, bytes := uint64(0), uint64(0)
	for _, s := range p.All() {
		slots := uint64(s.depth()) * uint64(s.copies())
		width, payload := s.inFlight()
		requests += slots * width
		bytes += slots * payload
		if slots > MaxQueueDepth {
			return fmt.Errorf("workload %s: expected at most %d transactions in progress, got %d", p.Name, MaxQueueDepth, slots)
		}
	}
	for _, name := range p.logNames() {
		requests++
		bytes += p.groupBytes(name, info)
	}
	if requests > MaxInFlight {
		return fmt.Errorf("workload %s: expected at most %d requests in flight, got %d", p.Name, MaxInFlight, requests)
	}
	if c.Content == Bytes && bytes > MaxBuffers {
		return fmt.Errorf("workload %s: expected at most %v of payload in flight, got %v", p.Name, units.Size(MaxBuffers), units.Size(bytes))
	}
	return nil
}

// inFlight is how many requests, and how many bytes of them, one transaction of the
// stream has in flight at most.
func (s *Stream) inFlight() (width, bytes uint64) {
	width = 1
	for _, steps := range [][]Step{s.Transaction, s.Between} {
		for i := range steps {
			together := uint64(1)
			if steps[i].Parallel {
				together = uint64(steps[i].count())
			}
			width = max(width, together)
			bytes = max(bytes, steps[i].longest()*together)
		}
	}
	return width, bytes
}
