package workloads

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"nbdbench/internal/conf"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

// Stream is one of several loads that a profile runs at the same time.
type Stream struct {
	Name string `yaml:"name"`
	// Count is how many copies of it there are; 0 is 1. Each has a queue depth,
	// arrivals and draws of its own, and where a step goes through a region in
	// order, an equal share of that region.
	Count uint32 `yaml:"count"`

	Load `yaml:",inline"`

	// Connections is how many of the run's connections each copy has to itself, as
	// far as there are enough; 0 is all that there are.
	Connections uint32 `yaml:"connections"`
	// StartDelay is how long after the beginning of its phase a stream begins.
	StartDelay units.Duration `yaml:"start_delay"`
	// Transactions is how many each copy begins at most; 0 is no bound but the run's.
	Transactions uint64 `yaml:"transactions"`

	Transaction []Step `yaml:"transaction"`
	Between     []Step `yaml:"between"`
}

// Phase is a part of a run: streams that run at the same time. It ends when all
// of them have ended.
type Phase struct {
	Streams []string `yaml:"streams"`
}

// The bounds of streams.
const (
	MaxStreams = 64
	MaxCopies  = 1 << 10 // of one stream
	MaxPhases  = 64
)

// All are the profile's streams: of a profile that has no list of them, the one
// that it is, without a name.
func (p *Profile) All() []Stream {
	if len(p.Streams) > 0 {
		return p.Streams
	}
	return []Stream{{Load: p.Load, Transaction: p.Transaction, Between: p.Between}}
}

// EachPhase lists, for each phase, the indices of its streams in All.
func (p *Profile) EachPhase() [][]int {
	all := p.All()
	if len(p.Phases) == 0 {
		one := make([]int, len(all))
		for i := range one {
			one[i] = i
		}
		return [][]int{one}
	}
	out := make([][]int, len(p.Phases))
	for i, phase := range p.Phases {
		for _, name := range phase.Streams {
			out[i] = append(out[i], slices.IndexFunc(all, func(s Stream) bool { return s.Name == name }))
		}
	}
	return out
}

// Bounded reports, for each phase, whether it ends by itself: each of its streams
// begins no more than a number of transactions, or those of a trace.
func (p *Profile) Bounded() []bool {
	all, phases := p.All(), p.EachPhase()
	out := make([]bool, len(phases))
	for i, phase := range phases {
		out[i] = !slices.ContainsFunc(phase, func(k int) bool { return all[k].Transactions == 0 && all[k].replays() == nil })
	}
	return out
}

// Steps are all steps of all streams.
func (p *Profile) Steps() []Step {
	var all []Step
	for _, s := range p.All() {
		all = append(append(all, s.Transaction...), s.Between...)
	}
	return all
}

// Depth is how many transactions may be in progress in the phase that has the
// most of them.
func (p *Profile) Depth() uint64 {
	all, most := p.All(), uint64(0)
	for _, phase := range p.EachPhase() {
		sum := uint64(0)
		for _, i := range phase {
			sum += uint64(all[i].depth()) * uint64(all[i].copies())
		}
		most = max(most, sum)
	}
	return most
}

// Commits reports whether the stream's transactions are commits: they have a
// step that makes something durable.
func (s *Stream) Commits() bool { return commits(s.Transaction) }

// HasCommits reports whether any stream's transactions are commits.
func (p *Profile) HasCommits() bool {
	for _, s := range p.All() {
		if s.Commits() {
			return true
		}
	}
	return false
}

// IsCommit reports whether transactions with that number in Commit.Stream are
// commits.
func (p *Profile) IsCommit(stream uint32) bool {
	all := p.All()
	return stream%2 == 0 && stream/2 < uint32(len(all)) && all[stream/2].Commits()
}

// ArrivalMixed is the arrival of streams that have different ones.
const ArrivalMixed Arrival = "mixed"

// Arrivals is the arrival of all streams, or ArrivalMixed.
func (p *Profile) Arrivals() Arrival {
	all := p.All()
	first := cmp.Or(all[0].Arrival, ArrivalClosed)
	for _, s := range all {
		if cmp.Or(s.Arrival, ArrivalClosed) != first {
			return ArrivalMixed
		}
	}
	return first
}

// Open reports whether any stream's transactions are due by the clock.
func (p *Profile) Open() bool {
	for _, s := range p.All() {
		if s.Load.Open() {
			return true
		}
	}
	return false
}

func commits(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool { return s.Durable || s.Op == ActionFlush || s.Op == ActionCommit })
}

// streamNames are the names of the profile's streams in words, for errors.
func (p *Profile) streamNames() string {
	if len(p.Streams) == 0 {
		return "no name, for the profile is one stream"
	}
	names := make([]string, len(p.Streams))
	for i := range p.Streams {
		names[i] = p.Streams[i].Name
	}
	return "one of " + strings.Join(names, ", ")
}

func (s *Stream) copies() uint32 { return max(s.Count, 1) }

// label names one copy of a stream, for its draws.
func (s *Stream) label(copied uint32) string {
	if s.Name == "" {
		return "workload"
	}
	return fmt.Sprintf("workload/%s/%d", s.Name, copied)
}

// validateStreams checks the streams of a profile that has a list of them.
func (p *Profile) validateStreams() error {
	switch {
	case p.Load != Load{}:
		return conf.At(p.loadKey(), "expected none for a profile of several streams: say which, as in %s=4", p.Streams[0].Name)
	case len(p.Transaction) > 0 || len(p.Between) > 0:
		return conf.At("transaction", "expected none beside streams, which have their own")
	case len(p.Streams) > MaxStreams:
		return conf.At("streams", "expected at most %d, got %d", MaxStreams, len(p.Streams))
	case p.Invariant != "":
		return conf.At("invariant", "expected none with streams: it is about the transactions of one load")
	}
	names := map[string]bool{}
	for i := range p.Streams {
		s, at := &p.Streams[i], fmt.Sprintf("streams[%d]", i)
		if !properStreamName(s.Name) || names[s.Name] {
			return conf.At(at+".name", "expected a name of its own for each stream, of at most %d bytes without blanks, =, commas and slashes, got %q", maxName, s.Name)
		}
		names[s.Name] = true
		if err := p.validateStream(s); err != nil {
			return conf.Under(at, err)
		}
	}
	return p.validatePhases(names)
}

func properStreamName(name string) bool {
	return name != "" && len(name) <= maxName && text.Line(name) == name && !strings.ContainsAny(name, "=,/ \t\n")
}

// loadKey is the first key of the profile's own load that says something.
func (p *Profile) loadKey() string {
	switch {
	case p.QueueDepth != 0:
		return "queue_depth"
	case p.Arrival != "":
		return "arrival"
	case p.Rate != 0:
		return "rate"
	case p.Think != 0:
		return "think"
	}
	return "on"
}

func (p *Profile) validateStream(s *Stream) error {
	switch {
	case s.Count > MaxCopies:
		return conf.At("count", "expected at most %d, got %d", MaxCopies, s.Count)
	case s.Connections > MaxConnections:
		return conf.At("connections", "expected at most %d, got %d", MaxConnections, s.Connections)
	case s.StartDelay < 0:
		return conf.At("start_delay", "expected no negative pause, got %v", s.StartDelay)
	case s.Transactions > MaxCommits:
		return conf.At("transactions", "expected at most %d, got %d", uint64(MaxCommits), s.Transactions)
	}
	if err := s.Load.Validate(); err != nil {
		return err
	}
	if len(s.Transaction) == 0 {
		return conf.At("transaction", "expected at least one step")
	}
	if err := p.validateSteps(s.Transaction); err != nil {
		return conf.Under("transaction", err)
	}
	if err := p.validateSteps(s.Between); err != nil {
		return conf.Under("between", err)
	}
	return s.Load.validateReplays(s.Transaction, s.Between)
}

func (p *Profile) validatePhases(names map[string]bool) error {
	if len(p.Phases) > MaxPhases {
		return conf.At("phases", "expected at most %d, got %d", MaxPhases, len(p.Phases))
	}
	used := map[string]bool{}
	for i, phase := range p.Phases {
		at := fmt.Sprintf("phases[%d].streams", i)
		if len(phase.Streams) == 0 {
			return conf.At(at, "expected at least one stream")
		}
		for k, name := range phase.Streams {
			if !names[name] || used[name] {
				return conf.At(fmt.Sprintf("%s[%d]", at, k), "expected a stream of the profile, each in one phase, got %q", name)
			}
			used[name] = true
		}
	}
	for i := range p.Streams {
		if len(p.Phases) > 0 && !used[p.Streams[i].Name] {
			return conf.At(fmt.Sprintf("streams[%d].name", i), "expected %s in one of the phases", p.Streams[i].Name)
		}
	}
	return nil
}
