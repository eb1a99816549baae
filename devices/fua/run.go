package fua

import "nbdbench/devices"

// A Caller makes the calls of a backend, one after another.
type Caller interface {
	// Call makes one call and returns when it has ended. offset and length are its
	// range, in bytes; a flush has none. A write of zeroes comes with a length of at
	// most ZeroChunk.
	Call(c Call, zeroes bool, offset, length uint64) devices.Errno
}

// A Program is a Resolution ready to be carried out by calls that return when they
// have ended. It does what NewDevice does by requests. It does not change: any number
// of goroutines may run it.
type Program struct {
	res Resolution
}

// NewProgram makes the program of r.
func NewProgram(r Resolution) *Program {
	return &Program{res: r}
}

// Run carries out a command that modifies, or a flush. A zero that the backend does
// not support is written, unless it is to be fast.
func (p *Program) Run(op devices.Op, flags devices.Flags, offset, length uint64, to Caller) devices.Errno {
	durable := flags&devices.FUA != 0
	switch op {
	case devices.OpFlush:
		return p.res.FlushAction.run(false, offset, length, to)
	case devices.OpWrite:
		return either(durable, &p.res.WriteFUA, &p.res.Write).run(false, offset, length, to)
	case devices.OpTrim:
		return either(durable, &p.res.TrimFUA, &p.res.trim).run(false, offset, length, to)
	case devices.OpWriteZeroes:
		return p.zeroes(durable, flags&devices.FastZero != 0, offset, length, to)
	}
	return devices.EINVAL
}

func either(first bool, a, b *Action) *Action {
	if first {
		return a
	}
	return b
}

// run makes a's calls for as long as they succeed.
func (a *Action) run(zeroes bool, offset, length uint64, to Caller) devices.Errno {
	for _, c := range a.Calls {
		if e := to.Call(c, zeroes, offset, length); e != devices.OK {
			return e
		}
	}
	return a.Errno
}

func (p *Program) zeroes(durable, fast bool, offset, length uint64, to Caller) devices.Errno {
	if p.res.ReadOnly {
		return devices.EPERM
	}
	if p.res.zero == Native && !(fast && p.res.flagless) {
		e := either(durable, &p.res.zeroesFUA, &p.res.zeroes).run(false, offset, length, to)
		if e != devices.ENOTSUP {
			return e
		}
	}
	if fast {
		return devices.ENOTSUP
	}
	return p.written(durable || p.res.force, offset, length, to)
}

// written writes zeroes chunk after chunk: server/backend.c, backend_zero. With
// native FUA each is durable by itself, else one flush follows the last.
func (p *Program) written(durable bool, offset, length uint64, to Caller) devices.Errno {
	last := &p.res.WriteFUA
	if !durable {
		last = &writes
	} else if len(last.Calls) == 0 {
		return last.Errno
	}
	for length > ZeroChunk {
		if e := to.Call(last.Calls[0], true, offset, ZeroChunk); e != devices.OK {
			return e
		}
		offset, length = offset+ZeroChunk, length-ZeroChunk
	}
	return last.run(true, offset, length, to)
}

var writes = Action{Calls: []Call{CallWrite}}
