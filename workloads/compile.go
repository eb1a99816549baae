package workloads

import (
	"math"
	"slices"

	"nbdbench/devices"
	"nbdbench/sim"
)

// op is one request of a program.
type op struct {
	command devices.Op
	flags   devices.Flags
	step    uint32 // which request of the transaction
	longest uint64
	place   place
	varies  variation // of the request with its transaction, or nil
	reads   bool      // it may vary to READ
	to      string    // the log that it commits to
	log     *groupLog
	record  uint64 // bytes, or a journal's blocks
}

// variation changes more of a request than its place with the number of its
// transaction. The request has its step, command, flags and place by then.
type variation interface {
	vary(q *devices.Request, n uint64)
}

// program is a transaction made ready for a device: stages one after another,
// each a group of requests that are in flight together.
type program struct {
	stages [][]op
	logs   []*groupLog // that it commits to, each once
	stream uint32      // in Request.Stream
	begun  uint64      // the number of the next one
	width  int         // of the widest stage
}

// commitTo finds the logs of a program's steps.
func (p *program) commitTo(logs map[string]*groupLog) {
	for _, stage := range p.stages {
		for i := range stage {
			if o := &stage[i]; o.to != "" {
				if o.log = logs[o.to]; !slices.Contains(p.logs, o.log) {
					p.logs = append(p.logs, o.log)
				}
			}
		}
	}
}

// compiler turns steps into stages.
type compiler struct {
	profile *Profile
	size    uint64 // of the device
	draws   sim.Stream
	scatter sim.Stream

	part, parts uint32 // of the regions that it goes through in order
}

// compile makes a program of the steps of one of so many copies of a stream. The
// name is that of its randomness. The profile has been checked to fit.
func compile(p *Profile, name string, steps []Step, part, parts uint32, info devices.Info, seed sim.Seed) program {
	c := compiler{p, info.Size, seed.Stream(name), seed.Stream(name + "/scatter"), part, parts}
	var out program
	number := uint32(0)
	within := map[string]uint64{} // by region: how far the transaction has advanced
	for i := range steps {
		s := &steps[i]
		ops := c.ops(steps, s, number, within)
		number += s.count()
		if s.Parallel {
			out.stages = append(out.stages, ops)
			out.width = max(out.width, len(ops))
			continue
		}
		out.width = max(out.width, 1)
		for j := range ops {
			out.stages = append(out.stages, ops[j:j+1])
		}
	}
	return out
}

var commands = map[Action]devices.Op{
	ActionWrite: devices.OpWrite, ActionRead: devices.OpRead, ActionFlush: devices.OpFlush,
	ActionTrim: devices.OpTrim, ActionWriteZeroes: devices.OpWriteZeroes,
}

// ops are the requests of one step, of which the first has that number.
func (c *compiler) ops(steps []Step, s *Step, number uint32, within map[string]uint64) []op {
	o := op{command: commands[s.Op], longest: s.longest(), place: c.place(steps, s, number, within)}
	if s.Durable {
		o.flags = devices.FUA
	}
	if s.Preflush {
		o.flags |= devices.Preflush
	}
	if s.NoHole {
		o.flags |= devices.NoHole
	}
	if s.Op == ActionCommit {
		o.to, o.record = s.Log, uint64(s.Record)+uint64(s.Blocks)
	}
	if s.Op == ActionReplay {
		start := c.profile.spanOf(s.Region, c.size).start
		o.command, o.reads, o.varies = devices.OpWrite, true, &replayer{s.Requests, start}
	}
	if s.Op == ActionMix {
		o.command, o.varies = devices.OpWrite, newMixture(s.Mix, c.draws)
		if !s.has(ActionWrite) {
			o.command = devices.OpRead
		}
		o.reads = s.has(ActionRead)
	}
	ops := make([]op, s.count())
	for i := range ops {
		o.step = number + uint32(i)
		ops[i] = o
	}
	return ops
}

func (c *compiler) place(steps []Step, s *Step, first uint32, within map[string]uint64) place {
	if !s.placed() {
		return nowhere{}
	}
	room := c.profile.spanOf(s.Region, c.size)
	if s.ordered() {
		room = room.share(c.part, c.parts)
	}
	if p := c.blocks(steps, s, room, first, within); p != nil {
		return p
	}
	d := &drawn{start: room.start, length: room.length, unit: uint64(s.Size), size: uint64(s.Size)}
	if record, block := s.record(); record != 0 {
		d.block = block
		d.length = room.length / block * block
	}
	if s.drawsSize() {
		d.sizes = newSizes(s, c.draws)
		d.unit = d.sizes.least
	}
	d.pick = c.picker(s, d, first)
	return d
}

// blocks are the places of requests that are all of one size, or records in order.
func (c *compiler) blocks(steps []Step, s *Step, room span, first uint32, within map[string]uint64) place {
	record, block := s.record()
	size := uint64(s.Size)
	switch {
	case record != 0 && (s.pattern() == PatternAppend || s.pattern() == PatternSequential):
		lap := room.length / block * block / record
		return &appending{start: room.start, size: block, record: record, count: uint64(s.count()), first: first, lap: lap}
	case record != 0:
		return nil
	case s.pattern() == PatternSequential && s.drawsSize():
		return c.scattered(s, room, newRuns(s, c.draws, room, first))
	case s.pattern() == PatternSequential:
		advance := sequentialBytes(steps, s.Region)
		p := &sequential{start: room.start, size: size, advance: advance, within: within[s.Region], first: first, lap: room.length / advance}
		within[s.Region] += size * uint64(s.count())
		return c.scattered(s, room, p)
	case s.drawsSize():
		return nil
	}
	uniform := random{room.start, size, room.length / size, c.draws}
	switch s.pattern() {
	case PatternRandom:
		return &uniform
	case PatternZipf:
		return newZipf(uniform, c.scatter, s.theta())
	case PatternStride:
		stride := uint64(s.Stride)
		return &striding{start: room.start, size: size, stride: stride, count: uint64(s.count()), first: first, lap: room.length / stride}
	}
	return nil
}

// scattered has some requests of a sequence go to any block.
func (c *compiler) scattered(s *Step, room span, p place) place {
	if s.RandomPercent == 0 {
		return p
	}
	d := drawn{start: room.start, length: room.length, unit: uint64(s.Size), draws: c.draws}
	if s.drawsSize() {
		d.unit = newSizes(s, c.draws).least
	}
	return &scattering{place: p, drawn: d, chance: s.RandomPercent / 100, coin: c.scatter}
}

// picker chooses among the blocks of d.
func (c *compiler) picker(s *Step, d *drawn, first uint32) picker {
	units := max(d.length/d.unit, 1)
	switch s.pattern() {
	case PatternZipf:
		return newZipf(random{0, 1, units, c.draws}, c.scatter, s.theta())
	case PatternPareto:
		return &pareto{units: units, power: math.Log(s.h()) / math.Log(1-s.h()), draws: c.draws, scatter: c.scatter}
	case PatternNormal:
		return &normal{units: units, deviation: s.deviation() / 100 * float64(units), draws: c.draws, angle: c.scatter}
	case PatternZoned:
		return newZoned(units, s.zones(), c.draws, c.scatter)
	case PatternShuffled:
		return newShuffled(units, uint64(s.count()), first, c.draws)
	case PatternStride:
		stride := uint64(s.Stride) / d.unit
		return &striding{size: 1, stride: stride, count: uint64(s.count()), first: first, lap: max(units/stride, 1)}
	}
	return &random{0, 1, units, c.draws}
}
