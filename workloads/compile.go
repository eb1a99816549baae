package workloads

import (
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
}

// program is a transaction made ready for a device: stages one after another,
// each a group of requests that are in flight together.
type program struct {
	stages [][]op
	width  int // of the widest stage
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
	ops := make([]op, s.count())
	for i := range ops {
		o.step = number + uint32(i)
		ops[i] = o
	}
	return ops
}

func (c *compiler) place(steps []Step, s *Step, first uint32, within map[string]uint64) place {
	if s.Op == ActionFlush {
		return nowhere{}
	}
	room := c.profile.spanOf(s.Region, c.size)
	if s.ordered() {
		room = room.share(c.part, c.parts)
	}
	size := uint64(s.Size)
	uniform := random{room.start, size, room.length / size, c.draws}
	switch s.pattern() {
	case PatternRandom:
		return &uniform
	case PatternZipf:
		return newZipf(uniform, c.scatter, s.theta())
	case PatternAppend:
		record := uint64(s.Record)
		lap := room.length / size * size / record
		return &appending{start: room.start, size: size, record: record, count: uint64(s.count()), first: first, lap: lap}
	default:
		advance := sequentialBytes(steps, s.Region)
		p := &sequential{start: room.start, size: size, advance: advance, within: within[s.Region], first: first, lap: room.length / advance}
		within[s.Region] += size * uint64(s.count())
		return p
	}
}
