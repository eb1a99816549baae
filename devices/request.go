package devices

import (
	"fmt"

	"nbdbench/sim"
)

// Op is a request's command. The values are those of NBD_CMD_*.
type Op uint8

// The commands of the NBD protocol that reach a device.
const (
	OpRead        Op = 0
	OpWrite       Op = 1
	OpFlush       Op = 3
	OpTrim        Op = 4
	OpCache       Op = 5
	OpWriteZeroes Op = 6
	OpBlockStatus Op = 7
)

var opNames = map[Op]string{
	OpRead: "read", OpWrite: "write", OpFlush: "flush", OpTrim: "trim",
	OpCache: "cache", OpWriteZeroes: "write_zeroes", OpBlockStatus: "block_status",
}

func (o Op) String() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// Modifies reports whether the command is one of the protocol's write commands:
// those that FLUSH covers and that FUA makes durable.
func (o Op) Modifies() bool { return o == OpWrite || o == OpTrim || o == OpWriteZeroes }

// Flags are a request's command flags. The values are those of NBD_CMD_FLAG_*.
type Flags uint16

// The command flags of the NBD protocol.
const (
	FUA        Flags = 1 << 0 // reply only once this request's data is durable
	NoHole     Flags = 1 << 1 // WRITE_ZEROES must provision
	DF         Flags = 1 << 2 // do not fragment the reply to READ
	ReqOne     Flags = 1 << 3 // BLOCK_STATUS: one extent
	FastZero   Flags = 1 << 4 // WRITE_ZEROES only if that is faster than writing
	PayloadLen Flags = 1 << 5 // extended headers: Length is the payload's

	// Preflush is REQ_PREFLUSH of Linux: a FLUSH comes before the command, and covers what
	// was completed before it was submitted. It is no flag of the protocol: the client's
	// layer makes a FLUSH of it (package layer).
	Preflush Flags = 1 << 15
)

// Stamp is the version of a sector's content, in place of the content: unique
// for each write of a run and rising in the order of submission. 0 is what the
// device held at first.
type Stamp uint64

// Payload is the data of a READ or WRITE: bytes, or a version stamp for all of
// it; or the answer to BLOCK_STATUS. Whoever submits a payload leaves it unchanged
// until Done.
type Payload struct {
	Bytes []byte
	Stamp Stamp
	// Versions, where the submitter of a READ provides it, receives the stamp of
	// each 512-byte sector; its length is that many sectors.
	Versions []Stamp
	// Status, which the submitter of a BLOCK_STATUS provides, receives the answer.
	Status *BlockStatus
}

// Sector is the grain of version stamps, and the smallest unit that any device
// here writes atomically: 512 bytes.
const Sector = 512

// Stage is a part of a request's way on which time passes.
type Stage uint8

// The stages, in the order of the way there and back.
const (
	ClientQueue Stage = iota // from due until sent, and in client-side layers
	Wire                     // the link, both directions
	ServerQueue              // in the server and its layers
	DeviceQueue              // in the device, until it is served
	CacheStage               // in the device's controller and write cache
	MediaStage               // on the medium, for this request's own data
	FlushOthers              // on the medium, for extents that this commit did not write
	NumStages
)

var stageNames = [NumStages]string{"client_queue", "link", "server_queue", "device_queue", "cache", "media", "flush_others"}

func (s Stage) String() string { return stageNames[s] }

// Stages is the time spent in each stage.
type Stages [NumStages]sim.Duration

// Add adds t to s, stage by stage.
func (s *Stages) Add(t *Stages) {
	for i := range s {
		s[i] += t[i]
	}
}

// Total is the sum of all stages.
func (s *Stages) Total() (sum sim.Duration) {
	for _, d := range s {
		sum += d
	}
	return sum
}

// A Completer is called when a request is done. It runs on the loop, exactly
// once for each request, never before Submit has returned.
type Completer interface {
	Done(r *Request)
}

// Request is one block request on its way through layers, wire and device.
// Whoever submits it owns it again once Done is called.
type Request struct {
	Op     Op
	Flags  Flags
	Errno  Errno // the result, when done
	Offset uint64
	Length uint64 // bytes; 64 bits, as in NBD's extended headers
	Payload

	Conn   uint32 // the connection it came by
	Stream uint32 // the workload's stream it belongs to
	Txn    uint64 // the transaction it is part of, unique in a run; 0 is none
	Step   uint32 // which request of the transaction

	Intended  sim.Time // when it was due
	Submitted sim.Time // when it was sent
	Completed sim.Time // when its reply came

	// Stages decomposes the time since Intended; see Charge.
	Stages Stages

	Completer Completer
	Timer     sim.Timer // for whoever holds the request
	Next      *Request  // for whoever holds the request: one list at a time
	Ref       any       // for whoever submitted it: never looked at below
	Slot      uint32    // for whoever submitted it
	Seq       uint64    // for whoever holds it
	Loan      *Loan     // the device still uses Bytes, though it is done

	// The device that serves the request keeps these with it; nobody else looks at
	// them.
	Held    any      // what carries its data to the medium
	Arrival uint64   // its position in the order of arrival
	Ready   sim.Time // when its data is in the device, if it is sent before it is its turn; else 0

	mark sim.Time  // up to where its time is charged
	hops *HopTimes // nil until it passes a chain of proxies; kept by Reset
}

// Reset makes r ready for another use, keeping only its timer's identity. The
// timer must be idle.
func (r *Request) Reset() {
	hops := r.hops
	*r = Request{}
	r.hops = hops
}

// Begin starts the accounting of r's time at instant t, with nothing charged.
func (r *Request) Begin(t sim.Time) {
	r.mark = t
	r.Stages = Stages{}
	if r.hops != nil {
		*r.hops = HopTimes{}
	}
}

// Charge gives the time from the last charge until t to stage s. Because each
// charge begins where the last one ended, the stages sum exactly to the time
// between Begin and the last charge. An instant not after the last charge
// charges nothing.
func (r *Request) Charge(s Stage, t sim.Time) {
	if t > r.mark {
		r.Stages[s] += t.Sub(r.mark)
		r.mark = t
	}
}

// Charged is the instant up to which r's time has been charged.
func (r *Request) Charged() sim.Time { return r.mark }

// Absorb adds what child, submitted on r's behalf, has been charged. Time
// between r's last charge and the child's Begin goes to stage gap.
func (r *Request) Absorb(gap Stage, begin sim.Time, child *Request) {
	r.Charge(gap, begin)
	r.Stages.Add(&child.Stages)
	r.mark = max(r.mark, child.mark)
	if child.hops != nil {
		r.ownHops().Add(child.hops)
	}
	if child.Loan != nil {
		r.Loan = child.Loan
	}
}

// Finish completes r with e: it calls the completer. Only from the loop, and
// never within Submit.
func (r *Request) Finish(e Errno) {
	r.Errno = e
	r.Completer.Done(r)
}

// End is the first byte after the request's range.
func (r *Request) End() uint64 { return r.Offset + r.Length }

// Durable reports whether r is a write command with FUA.
func (r *Request) Durable() bool { return r.Flags&FUA != 0 && r.Op.Modifies() }

func (r *Request) String() string {
	fua := ""
	if r.Flags&FUA != 0 {
		fua = " fua"
	}
	return fmt.Sprintf("%v%s offset=%d length=%d conn=%d txn=%d", r.Op, fua, r.Offset, r.Length, r.Conn, r.Txn)
}

// Freelist recycles requests, so that layers and engines that make requests of
// their own allocate none in steady state. It belongs to one loop.
type Freelist struct{ head *Request }

// Get returns a zeroed request.
func (f *Freelist) Get() *Request {
	r := f.head
	if r == nil {
		return new(Request)
	}
	f.head = r.Next
	r.Reset()
	return r
}

// Put takes back a request that nobody holds any more.
func (f *Freelist) Put(r *Request) {
	r.Completer, r.Ref, r.Payload = nil, nil, Payload{}
	r.Next = f.head
	f.head = r
}

// Queue is a first-in-first-out list of requests through Request.Next.
type Queue struct {
	head, tail *Request
	n          int
}

// Push puts r last.
func (q *Queue) Push(r *Request) {
	r.Next = nil
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.Next = r
	}
	q.tail = r
	q.n++
}

// Pop takes the first request, or nil.
func (q *Queue) Pop() *Request {
	r := q.head
	if r == nil {
		return nil
	}
	q.head = r.Next
	if q.head == nil {
		q.tail = nil
	}
	r.Next = nil
	q.n--
	return r
}

// Peek returns the first request, or nil, and leaves it.
func (q *Queue) Peek() *Request { return q.head }

// Len counts the requests.
func (q *Queue) Len() int { return q.n }

// Remove takes r out, wherever it stands. It walks the list.
func (q *Queue) Remove(r *Request) {
	if q.head == r {
		q.Pop()
		return
	}
	for p := q.head; p != nil; p = p.Next {
		if p.Next == r {
			p.Next = r.Next
			if q.tail == r {
				q.tail = p
			}
			r.Next = nil
			q.n--
			return
		}
	}
}
