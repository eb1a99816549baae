package crash

import (
	"fmt"
	"io"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/internal/input"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// application is what runs on top: a workload, or a history that is replayed.
type application interface {
	Finished() bool
	Stats() workloads.Stats
}

// replayer submits the requests of a history again, in their order: at their
// instants if the device keeps up, and each after the replies that it had come
// after. Where the history has a power cut, the device's power is cut. Of commits it
// knows nothing.
type replayer struct {
	loop   *sim.Loop
	top    devices.Device
	app    workloads.Observer
	cut    func() // cuts the power and gives it back
	events []history.Event
	at     int
	done   map[uint64]bool // submits of which the reply has come
	conns  map[uint32]uint32
	timer  sim.Timer
	begun  uint64
	busy   int

	fired   bool // next is called by the timer, and from nowhere within the device
	cutting bool
}

func newReplayer(loop *sim.Loop, top devices.Device, app workloads.Observer, l *history.Log, cut func()) *replayer {
	return &replayer{loop: loop, top: top, app: app, cut: cut, events: l.Events, done: map[uint64]bool{}, conns: connectionsOf(l)}
}

// connectionsOf numbers the connections of a history from 0 on.
func connectionsOf(l *history.Log) map[uint32]uint32 {
	conns := map[uint32]uint32{}
	for i := range l.Events {
		e := &l.Events[i]
		if _, ok := conns[e.Conn]; !ok && e.Kind == history.Submit {
			conns[e.Conn] = uint32(len(conns))
		}
	}
	return conns
}

// Finished reports whether all of it is done.
func (r *replayer) Finished() bool { return r.at == len(r.events) && r.busy == 0 }

// Stats says how many requests were begun, as commits of a workload would be.
func (r *replayer) Stats() workloads.Stats { return workloads.Stats{Begun: r.begun} }

// Fire goes on.
func (r *replayer) Fire(*sim.Timer) {
	r.fired = true
	r.next()
	r.fired = false
}

// next submits what is due, up to a reply that has not come.
func (r *replayer) next() {
	for r.at < len(r.events) {
		e := &r.events[r.at]
		switch {
		case e.Kind == history.Done && !r.done[e.Of]:
			return // its Done goes on
		case e.Kind != history.Done && e.Time > r.loop.Now(), e.Kind == history.PowerCut && !r.fired:
			r.loop.At(&r.timer, max(e.Time, r.loop.Now()), r)
			return
		case e.Kind == history.PowerCut:
			r.cutting = true
			r.cut()
			r.cutting = false
		case e.Kind == history.Submit:
			r.submit(e)
		}
		r.at++
	}
}

func (r *replayer) submit(e *history.Event) {
	q := &devices.Request{
		Op: e.Op, Flags: e.Flags, Offset: e.Offset, Length: e.Length, Conn: r.conns[e.Conn], Stream: e.Stream, Txn: r.begun + 1,
		Intended: r.loop.Now(), Submitted: r.loop.Now(), Ref: e.Seq, Completer: r,
	}
	q.Stamp = e.Stamp
	if e.Op == devices.OpRead {
		q.Versions = make([]devices.Stamp, (e.Length+devices.Sector-1)/devices.Sector)
	}
	q.Begin(r.loop.Now())
	r.begun++
	r.busy++
	r.app.Submit(q)
	r.top.Submit(q)
}

// Done goes on with what waited for the reply.
func (r *replayer) Done(q *devices.Request) {
	r.app.Op(q)
	r.busy--
	r.done[q.Ref.(uint64)] = true
	if !r.cutting {
		r.next()
	}
}

// maxHistory bounds a history, in bytes: one of dm-log-writes holds all data.
const maxHistory = 1 << 40

// LoadHistory reads a history, or a log of dm-log-writes.
func LoadHistory(path string) (*history.Log, error) {
	f, err := input.Open(path, maxHistory)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var magic [8]byte
	if _, err := io.ReadFull(f, magic[:]); err == nil && string(magic[:7]) == "rhswfsj" {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return named(path, history.ReadDM, f)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return named(path, history.Read, f)
}

func named(path string, read func(io.Reader) (*history.Log, error), f io.Reader) (*history.Log, error) {
	l, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if l.Torn != nil {
		l.Torn = fmt.Errorf("%s: %w", path, l.Torn)
	}
	return l, nil
}

// fits says what of a history a device cannot do.
func fits(l *history.Log, info devices.Info) error {
	for i := range l.Events {
		e := &l.Events[i]
		if e.Kind != history.Submit {
			continue
		}
		switch {
		case e.Offset+e.Length > info.Size:
			return fmt.Errorf("event %d ends at byte %d, expected a device of that size, got %d", e.Seq, e.Offset+e.Length, info.Size)
		case e.Op == devices.OpFlush && !info.CanFlush, e.Flags&devices.FUA != 0 && e.Op.Modifies() && info.FUA == devices.FUANone,
			e.Op == devices.OpTrim && !info.CanTrim, e.Op == devices.OpWriteZeroes && !info.CanZero:
			return fmt.Errorf("event %d asks for %v, which the export does not offer", e.Seq, e.Op)
		}
	}
	return nil
}

// ExportDM writes a history in the kernel's format.
func ExportDM(w history.LogFile, l *history.Log) error {
	d := NewDMExport(w)
	for i := range l.Events {
		d.Observe(&l.Events[i])
	}
	return d.Close()
}

// DMExport is a history.Sink that writes the kernel's format as the events come,
// with sectors that say what they are in place of the data, which a history does
// not have.
type DMExport struct {
	w    *history.DMWriter
	open map[uint64]*devices.Request
	data []byte
}

// NewDMExport begins a log.
func NewDMExport(w history.LogFile) *DMExport {
	return &DMExport{w: history.NewDMWriter(w, nil), open: map[uint64]*devices.Request{}}
}

// Observe takes the next event.
func (d *DMExport) Observe(e *history.Event) {
	switch e.Kind {
	case history.PowerCut:
		d.w.Cut(history.Left{})
		clear(d.open)
		return
	case history.Submit:
		d.open[e.Seq] = requestOf(e)
		d.w.Begin(d.open[e.Seq])
		return
	}
	r := d.open[e.Of]
	delete(d.open, e.Of)
	r.Errno = e.Errno
	if d.data = d.data[:0]; r.Op == devices.OpWrite {
		d.data = append(d.data, make([]byte, r.Length)...)
		workloads.Label{Offset: r.Offset, Stamp: r.Stamp, Txn: r.Txn}.Fill(d.data)
	}
	d.w.End(r, d.data)
}

// requestOf is the request of a submit; a write is rounded outward to sectors, of
// which each will say what it is.
func requestOf(e *history.Event) *devices.Request {
	r := &devices.Request{Op: e.Op, Flags: e.Flags, Offset: e.Offset, Length: e.Length, Txn: e.Txn}
	if e.Op == devices.OpWrite {
		r.Offset -= e.Offset % devices.Sector
		r.Length = (e.Offset + e.Length + devices.Sector - 1) / devices.Sector * devices.Sector
		r.Length -= r.Offset
	}
	r.Stamp = e.Stamp
	return r
}

// Close writes the rest.
func (d *DMExport) Close() error { return d.w.Close(history.Left{}) }
