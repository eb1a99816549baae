package history

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Kind is which end of a request an event is, or that the power was cut.
type Kind uint8

// The kinds of events.
const (
	Submit   Kind = iota // the request was received
	Done                 // its reply was sent
	PowerCut             // the device lost its power, and has it again
)

func (k Kind) String() string {
	switch k {
	case Done:
		return "done"
	case PowerCut:
		return "power cut"
	}
	return "submit"
}

// Event is one end of one request. Errno and Of are those of a completion and 0
// in a submit; all else is the same in both. Of a power cut Seq and Time count.
type Event struct {
	Seq    uint64 // its number: 1 for the first event of a history
	Of     uint64 // Done: the number of the submit
	Time   sim.Time
	Kind   Kind
	Op     devices.Op
	Flags  devices.Flags
	Errno  devices.Errno
	Conn   uint32
	Stream uint32
	Txn    uint64
	Offset uint64
	Length uint64
	Stamp  devices.Stamp
}

// durable reports whether the event is of a write command with FUA.
func (e *Event) durable() bool { return e.Flags&devices.FUA != 0 && e.Op.Modifies() }

// plain reports whether what the command writes shows as stamp 0, or may.
func (e *Event) plain() bool { return e.Op != devices.OpWrite || e.Stamp == 0 }

// sectors is the range of sectors that the command touches.
func (e *Event) sectors() (first, end uint64) { return sectors(e.Offset, e.Length) }

// sectors rounds a range of bytes outward to sectors.
func sectors(offset, length uint64) (first, end uint64) {
	return offset / devices.Sector, (offset + length + devices.Sector - 1) / devices.Sector
}

func (e *Event) String() string {
	if e.Kind == PowerCut {
		return fmt.Sprintf("%d %v %v", e.Seq, e.Time, e.Kind)
	}
	s := fmt.Sprintf("%d %v %v %v", e.Seq, e.Time, e.Kind, e.Op)
	if e.Flags&devices.FUA != 0 {
		s += " fua"
	}
	if e.Op != devices.OpFlush {
		s += fmt.Sprintf(" %d+%d stamp=%d", e.Offset, e.Length, e.Stamp)
	}
	if e.Kind == Done {
		s += fmt.Sprintf(" of %d: %v", e.Of, e.Errno)
	}
	return s
}

// A Sink receives each event of a history, in order.
type Sink interface {
	// Observe must copy what it keeps of e.
	Observe(e *Event)
}
