package workloads

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

// The bounds of a profile and of a run.
const (
	maxName        = 200 // bytes; it becomes part of files' names
	MaxRegions     = 64
	MaxSteps       = 256       // of one stream
	MaxOps         = 4096      // requests of one transaction
	MaxQueueDepth  = 1 << 14   // transactions in progress
	MaxInFlight    = 1 << 18   // requests that a run may have in flight
	MaxConnections = 1 << 10   // connections to one device
	MaxTransfer    = 32 << 20  // bytes of one read or write: NBD's customary bound
	MaxBuffers     = 1 << 30   // bytes of all payloads in flight
	MaxExtent      = 1<<32 - 1 // bytes of one trim or write_zeroes: 32 bits on the wire

	maxWeight = 1e6
	maxShares = 64                             // sizes of a split, and zones
	maxStride = 1 << 50                        // bytes
	maxBurst  = units.Duration(24 * time.Hour) // of on, and of off
)

var (
	arrivals = []Arrival{ArrivalClosed, ArrivalConstant, ArrivalPoisson, ArrivalBursts, ArrivalReplayed}
	actions  = []Action{ActionWrite, ActionRead, ActionFlush, ActionTrim, ActionWriteZeroes, ActionMix, ActionCommit, ActionReplay}
	patterns = []Pattern{
		PatternSequential, PatternRandom, PatternZipf, PatternAppend, PatternShuffled, PatternPareto, PatternNormal, PatternZoned, PatternStride,
	}
)

// Validate checks the profile by itself. The error is a *conf.FieldError.
func (p *Profile) Validate() error {
	if p.Name == "" || strings.ContainsAny(p.Name, "/ \t\n") || text.Line(p.Name) != p.Name || len(p.Name) > maxName {
		return conf.At("name", "expected a name of at most %d bytes without blanks, slashes or control characters, got %q", maxName, p.Name)
	}
	if err := p.PerCommit.validate(); err != nil {
		return conf.Under("per_commit", err)
	}
	if err := p.validateRegions(); err != nil {
		return err
	}
	if err := p.validateLogs(); err != nil {
		return err
	}
	if len(p.Streams) > 0 {
		return p.validateStreams()
	}
	if len(p.Phases) > 0 {
		return conf.At("phases", "expected none without streams, whose names they list")
	}
	if err := p.Load.Validate(); err != nil {
		return err
	}
	if len(p.Transaction) == 0 {
		return conf.At("transaction", "expected at least one step")
	}
	if err := p.validateSteps(p.Transaction); err != nil {
		return conf.Under("transaction", err)
	}
	if err := p.validateSteps(p.Between); err != nil {
		return conf.Under("between", err)
	}
	if err := p.Load.validateReplays(p.Transaction, p.Between); err != nil {
		return err
	}
	return p.validateInvariant()
}

// validate checks that there is no more than a transaction can ask for.
func (c *PerCommit) validate() error {
	inRange := func(n float64) bool { return n >= 0 && n <= MaxOps }
	switch {
	case c == nil:
	case !inRange(c.Flushes):
		return conf.At("flushes", "expected at least 0 and at most %d, got %v", MaxOps, c.Flushes)
	case !inRange(c.FUAs):
		return conf.At("fuas", "expected at least 0 and at most %d, got %v", MaxOps, c.FUAs)
	case c.Bytes > MaxOps*MaxTransfer:
		return conf.At("bytes", "expected at most %d, got %d", uint64(MaxOps*MaxTransfer), c.Bytes)
	}
	return nil
}

var invariants = []Invariant{InvariantPrefix, InvariantCommitRecord, InvariantDoublewrite}

// validateInvariant checks that the transaction has the writes that its
// invariant is of.
func (p *Profile) validateInvariant() error {
	var sizes []units.Size
	for i := range p.Transaction {
		if s := &p.Transaction[i]; s.Op == ActionWrite {
			for range s.count() {
				sizes = append(sizes, s.Size)
			}
		}
	}
	switch {
	case p.Invariant == "" || p.Invariant == InvariantPrefix && len(sizes) > 0:
		return nil // a prefix is of whatever was written
	case !slices.Contains(invariants, p.Invariant):
		return conf.At("invariant", "expected %s, got %q", oneOf(invariants), p.Invariant)
	case len(sizes) < 2:
		return conf.At("invariant", "expected a transaction of at least two writes for %s, got %d", p.Invariant, len(sizes))
	case p.Invariant == InvariantDoublewrite && (len(sizes) != 2 || sizes[0] != sizes[1]):
		return conf.At("invariant", "expected a transaction of two writes of one size for %s", p.Invariant)
	case slices.ContainsFunc(p.Transaction, func(s Step) bool { return s.Op == ActionMix || s.drawsSize() }):
		return conf.At("invariant", "expected a transaction of which nothing is drawn but places")
	}
	return nil
}

// Validate checks the load by itself. The error is a *conf.FieldError.
func (l Load) Validate() error {
	switch {
	case l.QueueDepth > MaxQueueDepth:
		return conf.At("queue_depth", "expected at most %d, got %d", MaxQueueDepth, l.QueueDepth)
	case l.Arrival != "" && !slices.Contains(arrivals, l.Arrival):
		return conf.At("arrival", "expected %s, got %q", oneOf(arrivals), l.Arrival)
	case l.Open() && l.Arrival != ArrivalReplayed && !(l.Rate > 0 && l.Rate <= units.MaxRate):
		return conf.At("rate", "expected a rate above 0 and at most %v with %s arrivals, got %v", units.MaxRate, l.Arrival, l.Rate)
	case (!l.Open() || l.Arrival == ArrivalReplayed) && l.Rate != 0:
		return conf.At("rate", "expected none in a closed loop; say arrival: constant or poisson, or drop it")
	case l.Speed != 0 && (l.Arrival != ArrivalReplayed || !(l.Speed > 0 && l.Speed <= maxSpeed)):
		return conf.At("speed", "expected above 0 and at most %v, and only with arrival replayed, got %v", maxSpeed, l.Speed)
	case l.Open() && l.Think != 0:
		return conf.At("think", "expected none with %s arrivals, which do not wait for replies", l.Arrival)
	case l.Think < 0:
		return conf.At("think", "expected no negative pause, got %v", l.Think)
	case l.Arrival == ArrivalBursts && (l.On <= 0 || l.Off <= 0 || l.On > maxBurst || l.Off > maxBurst):
		return conf.At("on", "expected on and off above 0 and at most %v with arrival bursts, got %v and %v", maxBurst, l.On, l.Off)
	case l.Arrival != ArrivalBursts && (l.On != 0 || l.Off != 0):
		return conf.At("on", "expected on and off only with arrival bursts")
	}
	return nil
}

func (p *Profile) validateRegions() error {
	if len(p.Regions) > MaxRegions {
		return conf.At("regions", "expected at most %d, got %d", MaxRegions, len(p.Regions))
	}
	for i := range p.Regions {
		r, at := &p.Regions[i], fmt.Sprintf("regions[%d]", i)
		if r.Name == "" || p.region(r.Name) != r || text.Line(r.Name) != r.Name {
			return conf.At(at+".name", "expected a name of its own for each region, got %q", r.Name)
		}
		if r.Offset.Bytes%devices.Sector != 0 {
			return conf.At(at+".offset", "expected a multiple of %d bytes, got %v", devices.Sector, r.Offset)
		}
		if r.Size != nil && (r.Size.Bytes%devices.Sector != 0 || *r.Size == Amount{}) {
			return conf.At(at+".size", "expected a multiple of %d bytes, above 0, got %v", devices.Sector, r.Size)
		}
		if r.AtMost%devices.Sector != 0 {
			return conf.At(at+".at_most", "expected a multiple of %d bytes, got %v", devices.Sector, r.AtMost)
		}
	}
	return nil
}

// region finds a region by name, or nil.
func (p *Profile) region(name string) *Region {
	for i := range p.Regions {
		if p.Regions[i].Name == name {
			return &p.Regions[i]
		}
	}
	return nil
}

func (p *Profile) validateSteps(steps []Step) error {
	if len(steps) > MaxSteps {
		return conf.At("", "expected at most %d steps, got %d", MaxSteps, len(steps))
	}
	ops := uint64(0)
	for i := range steps {
		s := &steps[i]
		if ops += uint64(s.count()); ops > MaxOps {
			return conf.At(fmt.Sprintf("[%d].count", i), "expected at most %d requests in a transaction", MaxOps)
		}
		if _, ok := p.Logs[s.Log]; s.Op == ActionCommit && !ok {
			return conf.At(fmt.Sprintf("[%d].log", i), "expected one of the profile's logs, got %q", s.Log)
		}
		if s.Region != "" && p.region(s.Region) == nil {
			return conf.At(fmt.Sprintf("[%d].region", i), "expected one of the profile's regions, got %q", s.Region)
		}
		if err := s.validate(); err != nil {
			return conf.Under(fmt.Sprintf("[%d]", i), err)
		}
	}
	return nil
}

func (s *Step) validate() error {
	switch {
	case !slices.Contains(actions, s.Op):
		return conf.At("op", "expected %s, got %q", oneOf(actions), s.Op)
	case s.Op == ActionFlush:
		return s.validateFlush()
	case s.Op == ActionCommit:
		return s.validateCommit()
	case s.Op == ActionReplay:
		return s.validateReplay()
	case s.File != "":
		return conf.At("file", "expected only with op replay")
	case s.Log != "" || s.Blocks != 0:
		return conf.At("log", "expected log and blocks only with op commit")
	case s.Durable && !s.modifies():
		return conf.At("durable", "expected only on write, trim and write_zeroes, got it on %s", s.Op)
	case s.Preflush && s.Op != ActionWrite:
		return conf.At("preflush", "expected only on write, got it on %s", s.Op)
	case s.NoHole && s.Op != ActionWriteZeroes:
		return conf.At("no_hole", "expected only on write_zeroes, got it on %s", s.Op)
	case !slices.Contains(patterns, s.pattern()):
		return conf.At("pattern", "expected %s, got %q", oneOf(patterns), s.Pattern)
	case (s.Op == ActionMix) != (s.Mix != nil):
		return conf.At("mix", "expected with op mix, and only there")
	}
	for _, check := range []func() error{s.validateMix, s.validateSize, s.validatePattern} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Step) validateMix() error {
	if s.Mix == nil {
		return nil
	}
	sum := 0.0
	for _, w := range []float64{s.Mix.Read, s.Mix.Write, s.Mix.Trim, s.Mix.WriteZeroes} {
		if !(w >= 0 && w <= maxWeight) {
			return conf.At("mix", "expected weights from 0 to %v, got %v", maxWeight, w)
		}
		sum += w
	}
	if sum == 0 {
		return conf.At("mix", "expected a weight above 0, such as {read: 60, write: 40}")
	}
	return nil
}

// validateSize checks a request's size, and what has it drawn.
func (s *Step) validateSize() error {
	switch {
	case len(s.Split) > 0:
		if err := s.validateSplit(); err != nil {
			return err
		}
	case s.Size == 0:
		return conf.At("size", "expected a size above 0, got %v", s.Size)
	case s.Block != 0 && (!s.inBytes() || s.Block%devices.Sector != 0):
		return conf.At("block", "expected a multiple of %d bytes, beside a size that is none", devices.Sector)
	case s.MaxSize != 0 && (s.MaxSize < s.Size || s.inBytes()):
		return conf.At("max_size", "expected at least size, and that a multiple of %d bytes, got %v", devices.Sector, s.MaxSize)
	case s.inBytes() && (s.Record != 0 || s.Op == ActionTrim || s.Op == ActionWriteZeroes || s.has(ActionTrim) || s.has(ActionWriteZeroes)):
		return conf.At("size", "expected a multiple of %d bytes of a trim, write_zeroes or block, got %v", devices.Sector, s.Size)
	}
	if uint64(s.Size) > s.bound() || uint64(s.Record) > s.bound() || uint64(s.Block) > s.bound() || uint64(s.MaxSize) > s.bound() || s.longest() > s.bound() {
		return conf.At("size", "expected at most %v in one %s", units.Size(s.bound()), s.Op)
	}
	return nil
}

func (s *Step) validateSplit() error {
	if s.Size != 0 || s.MaxSize != 0 || s.Block != 0 || len(s.Split) > maxShares {
		return conf.At("split", "expected in place of size, max_size and block, of at most %d sizes", maxShares)
	}
	for i, share := range s.Split {
		at := fmt.Sprintf("split[%d]", i)
		switch {
		case share.Size == 0 || share.Size%devices.Sector != 0:
			return conf.At(at+".size", "expected a multiple of %d bytes, above 0, got %v", devices.Sector, share.Size)
		case !(share.Weight > 0 && share.Weight <= maxWeight):
			return conf.At(at+".weight", "expected a weight above 0 and at most %v, got %v", maxWeight, share.Weight)
		}
	}
	return nil
}

// validatePattern checks what patterns need, and that no other has it.
func (s *Step) validatePattern() error {
	only := func(p Pattern, given, ok bool) bool { return given && (s.pattern() != p || !ok) }
	switch {
	case s.pattern() == PatternAppend && (s.Record != 0) == s.inBytes(), s.pattern() != PatternAppend && s.Record != 0:
		return conf.At("record", "expected with pattern append, and only there")
	case s.pattern() == PatternAppend && s.drawsSize():
		return conf.At("pattern", "expected records of one size with append")
	case only(PatternZipf, s.Theta != 0, s.Theta > 0 && s.Theta < 1):
		return conf.At("theta", "expected between 0 and 1, and only with pattern zipf, got %v", s.Theta)
	case only(PatternPareto, s.H != 0, s.H > 0 && s.H < 0.5):
		return conf.At("h", "expected between 0 and 0.5, and only with pattern pareto, got %v", s.H)
	case only(PatternNormal, s.Deviation != 0, s.Deviation > 0 && s.Deviation <= 100):
		return conf.At("deviation", "expected above 0 and at most 100 percent, and only with pattern normal, got %v", s.Deviation)
	case only(PatternSequential, s.RandomPercent != 0, s.RandomPercent > 0 && s.RandomPercent <= 100 && !s.inBytes()):
		return conf.At("random_percent", "expected above 0 and at most 100, and only with pattern sequential, got %v", s.RandomPercent)
	case s.pattern() == PatternShuffled && s.drawsSize():
		return conf.At("pattern", "expected requests of one size with shuffled")
	case (s.pattern() == PatternStride) != (s.Stride != 0), s.Stride%devices.Sector != 0 || s.Stride > maxStride || s.Stride != 0 && (uint64(s.Stride) < s.longest() || s.inBytes() || s.drawsSize()):
		return conf.At("stride", "expected with pattern stride, a multiple of %d bytes and at least a request's one size, got %v", devices.Sector, s.Stride)
	}
	return s.validateZones()
}

func (s *Step) validateZones() error {
	if len(s.Zones) == 0 {
		return nil
	}
	if s.pattern() != PatternZoned || len(s.Zones) > maxShares {
		return conf.At("zones", "expected at most %d, and only with pattern zoned", maxShares)
	}
	percent, weight := 0.0, 0.0
	for i, z := range s.Zones {
		if !(z.Percent > 0 && z.Percent <= 100) || !(z.Weight >= 0 && z.Weight <= maxWeight) {
			return conf.At(fmt.Sprintf("zones[%d]", i), "expected percent above 0 and a weight from 0 to %v, got %v and %v", maxWeight, z.Percent, z.Weight)
		}
		percent, weight = percent+z.Percent, weight+z.Weight
	}
	if math.Abs(percent-100) > 0.01 || weight == 0 {
		return conf.At("zones", "expected 100 percent in all and a weight above 0, got %v percent", percent)
	}
	return nil
}

// validateFlush checks that a flush, which is about the whole device, has no
// place and no size.
func (s *Step) validateFlush() error {
	if !s.same(&Step{Op: ActionFlush, Count: s.Count}) {
		return conf.At("op", "expected only flush, without durable, size, parallel, region or pattern")
	}
	return nil
}

// bound is the length that one request of the step may have.
func (s *Step) bound() uint64 {
	if !s.has(ActionRead) && !s.has(ActionWrite) {
		return MaxExtent
	}
	return MaxTransfer
}

// Fits checks that the profile can run on a device: that it is valid, that its
// regions lie within the device and hold a transaction, and that the device
// has the commands. The error is a *conf.FieldError.
func (p *Profile) Fits(info devices.Info) error {
	if err := p.Validate(); err != nil {
		return err
	}
	for i := range p.Regions {
		s := p.Regions[i].on(info.Size)
		if s.length == 0 || s.length > info.Size || s.start > info.Size-s.length {
			return conf.At(fmt.Sprintf("regions[%d]", i), "expected within the device's %v, got %v at %v",
				units.Size(info.Size), units.Size(s.length), units.Size(s.start))
		}
	}
	if err := p.logsFit(info); err != nil {
		return err
	}
	for i, s := range p.All() {
		at := ""
		if len(p.Streams) > 0 {
			at = fmt.Sprintf("streams[%d]", i)
		}
		err := conf.Under("transaction", p.stepsFit(s.Transaction, s.copies(), info))
		if err == nil {
			err = conf.Under("between", p.stepsFit(s.Between, s.copies(), info))
		}
		if err != nil {
			return conf.Under(at, err)
		}
	}
	return nil
}

// stepsFit checks the steps of a stream of so many copies.
func (p *Profile) stepsFit(steps []Step, copies uint32, info devices.Info) error {
	for i := range steps {
		if err := p.stepFits(steps, &steps[i], copies, info); err != nil {
			return conf.Under(fmt.Sprintf("[%d]", i), err)
		}
	}
	return nil
}

func (p *Profile) stepFits(steps []Step, s *Step, copies uint32, info devices.Info) error {
	payload := s.has(ActionRead) || s.has(ActionWrite)
	switch {
	case s.Op == ActionReplay:
		return s.Requests.fits(info, p.spanOf(s.Region, info.Size))
	case !s.placed():
		return nil
	case s.modifies() && info.ReadOnly:
		return conf.At("op", "expected a device that can be written, got one that is read-only")
	case s.has(ActionTrim) && !info.CanTrim:
		return conf.At("op", "expected a device with trim, got one without")
	case s.has(ActionWriteZeroes) && !info.CanZero:
		return conf.At("op", "expected a device with write_zeroes, got one without")
	case payload && info.MaxPayload != 0 && s.longest() > uint64(info.MaxPayload):
		return conf.At("size", "expected at most the device's %v in one request", units.Size(info.MaxPayload))
	}
	need, room := s.longest(), p.spanOf(s.Region, info.Size)
	if s.ordered() {
		room = room.share(0, copies)
	}
	switch {
	case s.pattern() == PatternStride:
		need = max(need, uint64(s.Stride))
	case s.inSequence() && s.drawsSize():
		if sequentialSteps(steps, s.Region) > 1 {
			return conf.At("region", "expected a region of its own for a sequential step of which sizes are drawn")
		}
	case s.inSequence():
		need = sequentialBytes(steps, s.Region)
	}
	if need > room.length {
		return conf.At("region", "expected room for %v, got %v", units.Size(need), units.Size(room.length))
	}
	if least := uint64(max(info.MinIO, 1)); !s.Aligned(least) || room.start%least != 0 {
		return conf.At("size", "expected multiples of the device's smallest request, %d bytes, got %v from %v on", least, s.Size, units.Size(room.start))
	}
	return nil
}

// spanOf is where a step's region lies.
func (p *Profile) spanOf(name string, size uint64) span {
	if r := p.region(name); r != nil {
		return r.on(size)
	}
	return span{0, size / devices.Sector * devices.Sector}
}

// sequentialBytes is how far one transaction advances through a region.
func sequentialBytes(steps []Step, region string) (sum uint64) {
	for i := range steps {
		if s := &steps[i]; s.inSequence() && s.Region == region {
			sum += uint64(s.Size) * uint64(s.count())
		}
	}
	return sum
}

// sequentialSteps counts the steps that advance through a region.
func sequentialSteps(steps []Step, region string) (n int) {
	for i := range steps {
		if s := &steps[i]; s.inSequence() && s.Region == region {
			n++
		}
	}
	return n
}

// inSequence reports whether the step's requests follow each other, block by block.
func (s *Step) inSequence() bool {
	return s.placed() && s.pattern() == PatternSequential && !s.inBytes()
}

// oneOf joins the values of an enumeration as prose.
func oneOf[T ~string](values []T) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
