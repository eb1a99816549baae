package workloads

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
)

// Profile says what is asked of a device. The zero value of each field has a
// meaning, so a profile names only what matters to it.
type Profile struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Source      string `yaml:"source"` // where the pattern comes from

	// PerCommit is what one commit asks of the device, where it is alone: there is
	// nothing else to share it with. Nil is not stated.
	PerCommit *PerCommit `yaml:"per_commit"`

	Load `yaml:",inline"`

	Regions     []Region `yaml:"regions"`
	Transaction []Step   `yaml:"transaction"` // its latency is the commit's
	Between     []Step   `yaml:"between"`     // run by each slot between two commits

	// Logs are those that commit steps share, by name.
	Logs map[string]Log `yaml:"logs"`

	// Streams are several loads at once, in place of Load, Transaction and Between,
	// which are one. Phases run them in series; without any, all run together.
	Streams []Stream `yaml:"streams"`
	Phases  []Phase  `yaml:"phases"`

	// Invariant is what must hold of any image that a power cut leaves; empty is
	// nothing beyond the commits.
	Invariant Invariant `yaml:"invariant"`
}

// PerCommit counts the requests that make one commit durable: means, where commits
// differ, of at most MaxOps, and Bytes of at most MaxOps requests of MaxTransfer.
type PerCommit struct {
	Flushes float64 `yaml:"flushes"`
	FUAs    float64 `yaml:"fuas"` // writes with FUA
	// Bytes are written, with and without FUA; 0 is not stated.
	Bytes uint64 `yaml:"bytes,omitzero"`
}

// Invariant is what a workload's application relies on when it recovers.
type Invariant string

// The invariants. They are of transactions, not of what runs between them.
const (
	// InvariantPrefix is a log's: where a record is there, so is every record that
	// was acknowledged before it was begun. Recovery reads up to the first hole.
	InvariantPrefix Invariant = "prefix"
	// InvariantCommitRecord is a journal's: the last write of a transaction is its
	// commit record, and where that is there, so is all that the transaction wrote
	// before it.
	InvariantCommitRecord Invariant = "commit-record"
	// InvariantDoublewrite is a page store's: the first write of a transaction is
	// a copy of the second, and where the page is torn the copy is whole.
	InvariantDoublewrite Invariant = "doublewrite"
)

// Load says how often transactions begin.
type Load struct {
	// QueueDepth is how many transactions are in progress at most; 0 is 1.
	QueueDepth uint32 `yaml:"queue_depth"`
	// Arrival is ArrivalClosed if empty.
	Arrival Arrival `yaml:"arrival"`
	// Rate is how often transactions become due, only for the open arrivals.
	Rate units.Rate `yaml:"rate"`
	// Think is the pause between two transactions of one slot, for
	// only with ArrivalClosed.
	Think units.Duration `yaml:"think"`
	// Speed is how much faster than recorded the requests of a trace become due, for
	// only with ArrivalReplayed; 0 is 1.
	Speed float64 `yaml:"speed,omitzero"`
	// On and Off are how long transactions become due at Rate, and how long none
	// do, in alternation; for ArrivalBursts alone.
	On  units.Duration `yaml:"on,omitzero"`
	Off units.Duration `yaml:"off,omitzero"`
}

// Arrival is what makes the next transaction due.
type Arrival string

// The arrivals.
const (
	ArrivalClosed   Arrival = "closed"   // the end of the one before it
	ArrivalConstant Arrival = "constant" // the clock, at even intervals
	ArrivalPoisson  Arrival = "poisson"  // the clock, as independent users do
	ArrivalReplayed Arrival = "replayed" // the clock, as the requests of a trace were
	ArrivalBursts   Arrival = "bursts"   // the clock, as independent users do who come and go together
)

// Region is a part of the device that steps refer to by name.
type Region struct {
	Name   string     `yaml:"name"`
	Offset Amount     `yaml:"offset"`
	Size   *Amount    `yaml:"size"`    // nil is all from Offset to the end
	AtMost units.Size `yaml:"at_most"` // a bound on Size; 0 is none
}

// Action is what a step asks for.
type Action string

// The actions.
const (
	ActionWrite       Action = "write"
	ActionRead        Action = "read"
	ActionFlush       Action = "flush"
	ActionTrim        Action = "trim"
	ActionWriteZeroes Action = "write_zeroes"
	// ActionReplay is the next request of the trace File, from the beginning of Region
	// on. Such a stream ends with its trace, and its transactions are no commits.
	ActionReplay Action = "replay"
	// ActionMix is one of them for each request, drawn by the weights of Step.Mix.
	ActionMix Action = "mix"
	// ActionCommit has Log make a record durable, in a group with those of others.
	ActionCommit Action = "commit"
)

// Pattern is how a step chooses where.
type Pattern string

// The patterns.
const (
	// PatternSequential goes through its region block after block, and begins
	// again when the next transaction would not fit. The steps of a stream that
	// share a region share its position.
	PatternSequential Pattern = "sequential"
	// PatternRandom takes any block of the region, all alike.
	PatternRandom Pattern = "random"
	// PatternZipf takes some blocks of the region far more often than others.
	PatternZipf Pattern = "zipf"
	// PatternAppend writes the blocks that hold a record of Record bytes, which
	// follows the record before it; the block that both touch is written again.
	PatternAppend Pattern = "append"
	// PatternShuffled takes each block of the region once, in random order, and then
	// all of them again in another.
	PatternShuffled Pattern = "shuffled"
	// PatternPareto takes few blocks of the region most of the time: of H = 0.2, a
	// fifth of the blocks four fifths of the time.
	PatternPareto Pattern = "pareto"
	// PatternNormal takes blocks around the middle of the region.
	PatternNormal Pattern = "normal"
	// PatternZoned takes any block of one of Zones, which divide the region.
	PatternZoned Pattern = "zoned"
	// PatternStride goes through its region in steps of Stride bytes, and again from
	// one block later.
	PatternStride Pattern = "stride"
)

// Step is one request, or Count of them.
type Step struct {
	Op      Action `yaml:"op"`
	Durable bool   `yaml:"durable"` // done only once the data is durable: FUA
	// Preflush has the device write its cache back before the write, which is one request:
	// REQ_PREFLUSH of Linux.
	Preflush bool       `yaml:"preflush,omitzero"`
	NoHole   bool       `yaml:"no_hole,omitzero"` // of ActionWriteZeroes: the zeros are to take up room, and are no hole
	Size     units.Size `yaml:"size"`             // bytes of one request
	Count    uint32     `yaml:"count"`            // how many; 0 is 1
	// Parallel puts all Count requests in flight together. Without it, each
	// waits for the one before it.
	Parallel bool       `yaml:"parallel"`
	Region   string     `yaml:"region"`  // empty is the whole device
	Pattern  Pattern    `yaml:"pattern"` // empty is PatternSequential
	Record   units.Size `yaml:"record"`  // bytes of one record, for PatternAppend
	Theta    float64    `yaml:"theta"`   // the skew of PatternZipf, between 0 and 1; 0 is 0.99

	File     string    `yaml:"file"` // of ActionReplay: what nbdbench import has written
	Requests *Requests `yaml:"-"`    // of ActionReplay: what File has

	// Mix are the weights of ActionMix. Durable is then about what modifies.
	Mix *Mix `yaml:"mix"`
	// MaxSize has each request's size drawn, evenly from the multiples of Size up to
	// it, and Split by weights, in place of Size.
	MaxSize units.Size  `yaml:"max_size,omitzero"`
	Split   []SizeShare `yaml:"split"`
	// Block is what a Size that is no multiple of 512 bytes is rounded out to: such a
	// request is the whole blocks that hold its bytes. 0 is then 4 KiB.
	Block units.Size `yaml:"block,omitzero"`

	H         float64    `yaml:"h,omitzero"`         // of PatternPareto, between 0 and 0.5; 0 is then 0.2
	Deviation float64    `yaml:"deviation,omitzero"` // of PatternNormal, in percent of the region; 0 is then 10
	Zones     []Zone     `yaml:"zones"`              // of PatternZoned; none is 80% of all in 20% of the region
	Stride    units.Size `yaml:"stride,omitzero"`    // of PatternStride
	// RandomPercent is how many of a hundred requests of PatternSequential go to any
	// block instead.
	RandomPercent float64 `yaml:"random_percent,omitzero"`

	// Log is that of ActionCommit, to which it adds Record bytes, or to a journal
	// Blocks.
	Log    string `yaml:"log"`
	Blocks uint32 `yaml:"blocks,omitzero"`
}

// Mix are the weights of the operations of ActionMix, each at least 0.
type Mix struct {
	Read        float64 `yaml:"read"`
	Write       float64 `yaml:"write"`
	Trim        float64 `yaml:"trim"`
	WriteZeroes float64 `yaml:"write_zeroes"`
}

// SizeShare is a size of a Split, and its weight, above 0.
type SizeShare struct {
	Size   units.Size `yaml:"size"`
	Weight float64    `yaml:"weight"`
}

// Zone is a part of a region, in percent of it, and the weight, at least 0, with
// which requests go there.
type Zone struct {
	Percent float64 `yaml:"percent"`
	Weight  float64 `yaml:"weight"`
}

// Override replaces parts of a profile's Load; zero fields replace nothing.
type Override = Load

// With returns the profile under another load. An override with a rate makes a
// closed profile open, with constant arrivals unless it says which; one that
// makes an open profile closed drops its rate. A profile of several streams is not
// valid with one: see WithStream.
func (p Profile) With(o Override) Profile {
	p.Load = p.Load.with(o)
	return p
}

// WithoutTrims returns the profile without the trims of its transactions, for a device
// that has none. Steps of a mix stay as they are.
func (p Profile) WithoutTrims() Profile {
	p.Transaction = slices.DeleteFunc(slices.Clone(p.Transaction), func(s Step) bool { return s.Op == ActionTrim })
	return p
}

// WithStream returns the profile with the named stream under another load. The
// error is a *conf.FieldError.
func (p Profile) WithStream(name string, o Override) (Profile, error) {
	p.Streams = slices.Clone(p.Streams)
	for i := range p.Streams {
		if s := &p.Streams[i]; s.Name == name {
			s.Load = s.Load.with(o)
			return p, nil
		}
	}
	return p, conf.At("streams", "expected %s, got %q", p.streamNames(), name)
}

// WithStreams is WithStream for several.
func (p Profile) WithStreams(loads map[string]Override) (_ Profile, err error) {
	for _, name := range slices.Sorted(maps.Keys(loads)) {
		if p, err = p.WithStream(name, loads[name]); err != nil {
			return p, err
		}
	}
	return p, nil
}

// HasStream reports whether one of the profile's streams has that name.
func (p *Profile) HasStream(name string) bool {
	return slices.ContainsFunc(p.Streams, func(s Stream) bool { return s.Name == name })
}

// with is the load with what o says in its place.
func (l Load) with(o Override) Load {
	if o.QueueDepth != 0 {
		l.QueueDepth = o.QueueDepth
	}
	if o.Arrival == "" && o.Rate != 0 && !l.Open() {
		o.Arrival = ArrivalConstant
	}
	if o.Arrival != "" {
		l.Arrival = o.Arrival
		if l.Open() {
			l.Think = 0
		} else {
			l.Rate = 0
		}
	}
	if o.Rate != 0 {
		l.Rate = o.Rate
	}
	if l.Arrival == ArrivalReplayed {
		l.Rate = 0
	} else {
		l.Speed = 0
	}
	if o.Think != 0 {
		l.Think = o.Think
	}
	if o.On != 0 || o.Off != 0 {
		l.On, l.Off = o.On, o.Off
	}
	if l.Arrival != ArrivalBursts {
		l.On, l.Off = 0, 0
	}
	return l
}

// Durable reports whether each transaction with a durable step, once done, has
// asked for all that it wrote to be durable, and whether there is one: each write
// is durable itself or a later step flushes.
func (p *Profile) Durable() bool {
	some := false
	for _, s := range p.All() {
		if !commits(s.Transaction) {
			continue
		}
		if !durable(s.Transaction, p.Logs) {
			return false
		}
		some = true
	}
	return some
}

func durable(steps []Step, logs map[string]Log) bool {
	pending, wrote := false, false
	for i := range steps {
		switch s := &steps[i]; {
		case s.Op == ActionFlush:
			pending = false
		case s.Op == ActionCommit:
			wrote = true
			l := logs[s.Log]
			pending = pending && s.Blocks == 0 && l.Finish == FinishFUA && l.Journal == ""
		case s.modifies():
			pending = pending && !s.Preflush || !s.Durable
			wrote = true
		}
	}
	return wrote && !pending
}

// Open reports whether transactions are due by the clock.
func (l Load) Open() bool {
	return l.Arrival == ArrivalReplayed || l.Arrival == ArrivalConstant || l.Arrival == ArrivalPoisson || l.Arrival == ArrivalBursts
}

// mean is the mean rate of an open loop.
func (l Load) mean() float64 {
	if l.Arrival == ArrivalBursts {
		return float64(l.Rate) * float64(l.On) / float64(l.On+l.Off)
	}
	return float64(l.Rate)
}

func (l Load) depth() uint32 { return max(l.QueueDepth, 1) }

func (s *Step) count() uint32 { return max(s.Count, 1) }

func (s *Step) pattern() Pattern {
	if s.Pattern == "" {
		return PatternSequential
	}
	return s.Pattern
}

func (s *Step) theta() float64 {
	if s.Theta == 0 {
		return defaultTheta
	}
	return s.Theta
}

// defaultTheta is that of YCSB (Cooper et al. 2010).
const defaultTheta = 0.99

func (s *Step) h() float64 { return cmp.Or(s.H, 0.2) }

func (s *Step) deviation() float64 { return cmp.Or(s.Deviation, 10) }

// placed reports whether the step's requests have a place of their own.
func (s *Step) placed() bool {
	return s.Op != ActionFlush && s.Op != ActionCommit && s.Op != ActionReplay
}

// same reports whether two steps say the same.
func (s *Step) same(o *Step) bool { return reflect.DeepEqual(*s, *o) }

// hotCold are the zones of a step that names none.
var hotCold = []Zone{{Percent: 20, Weight: 80}, {Percent: 80, Weight: 20}}

func (s *Step) zones() []Zone {
	if len(s.Zones) == 0 {
		return hotCold
	}
	return s.Zones
}

func (s *Step) modifies() bool {
	if s.Op == ActionMix {
		return s.Mix != nil && s.Mix.Write+s.Mix.Trim+s.Mix.WriteZeroes > 0
	}
	return s.Op == ActionWrite || s.Op == ActionTrim || s.Op == ActionWriteZeroes
}

// has reports whether a request of the step may be of that kind.
func (s *Step) has(a Action) bool {
	if s.Op != ActionMix || s.Mix == nil {
		return s.Op == a
	}
	return map[Action]float64{
		ActionRead: s.Mix.Read, ActionWrite: s.Mix.Write, ActionTrim: s.Mix.Trim, ActionWriteZeroes: s.Mix.WriteZeroes,
	}[a] > 0
}

// ordered reports whether the step goes through its region in order.
func (s *Step) ordered() bool {
	switch s.pattern() {
	case PatternSequential, PatternAppend, PatternStride:
		return true
	}
	return false
}

// inBytes reports whether the step's size is one of bytes within blocks.
func (s *Step) inBytes() bool { return s.Size%devices.Sector != 0 }

// drawsSize reports whether requests of the step differ in size.
func (s *Step) drawsSize() bool { return s.MaxSize != 0 || len(s.Split) > 0 }

// record is the length in bytes of what the step appends or takes within blocks of
// that many bytes; 0 if requests are whole blocks.
func (s *Step) record() (record, block uint64) {
	switch {
	case s.Op != ActionCommit && s.pattern() == PatternAppend && s.Record != 0:
		return uint64(s.Record), uint64(s.Size)
	case s.inBytes():
		return uint64(s.Size), uint64(cmp.Or(s.Block, 4*units.KiB))
	}
	return 0, 0
}

// longest is the length of the step's longest request.
func (s *Step) longest() uint64 {
	if s.Requests != nil {
		return s.Requests.payload
	}
	if record, block := s.record(); record != 0 {
		return recordSpan(record, block)
	}
	longest := max(s.Size, s.MaxSize/max(s.Size, 1)*s.Size)
	for _, share := range s.Split {
		longest = max(longest, share.Size)
	}
	return uint64(longest)
}

// Aligned reports whether all requests of the step are multiples of so many bytes.
func (s *Step) Aligned(grain uint64) bool {
	if record, block := s.record(); record != 0 {
		return block%grain == 0
	}
	for _, share := range s.Split {
		if uint64(share.Size)%grain != 0 {
			return false
		}
	}
	return uint64(s.Size)%grain == 0
}
