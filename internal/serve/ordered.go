package serve

import (
	"nbdbench/devices"
	"nbdbench/internal/ordered"
	"nbdbench/sim"
)

// In real time each file of a device, its image and its logs, has an ordered worker: the
// loop goes on while one writes or waits for fdatasync. A request that the drive has done
// then waits for up to three of them, one after another, as it would without workers:
//
//	image          a promise, for what the drive has written by then and, with
//	               ImageSync, its fdatasync
//	log of writes  a promise, which is in it only once the image has it
//	log of events  a reply to a write or FLUSH, which is in it as it goes to the client
//
// READs wait for none: of the image they find what is still to be written.

// stage is what a request waits for that the drive has done.
type stage uint8

const (
	storing stage = iota // the image
	logging              // the log of writes
)

// startWorkers gives the files of devices their workers.
func startWorkers(real *sim.Real, served []*device) {
	for _, l := range served {
		real.Do(func() { l.startWorkers(real) })
	}
}

func (l *device) startWorkers(real *sim.Real) {
	if l.file != nil {
		l.file.StartWorker(real, l.admit)
	}
	l.dmLog.Start(real, l.admit)
	l.wire.Start(real, l.admit)
}

// stopWorkers ends them, with everything written: in the order in which requests wait.
func stopWorkers(served []*device) {
	for _, l := range served {
		if l.file != nil {
			l.file.StopWorker()
		}
		l.dmLog.Stop()
		l.wire.Stop()
	}
}

// awaitsImage reports whether r, which the drive has done, must wait until its image
// has operation l.held. What is acknowledged and not promised waits only where the log of
// writes needs requests in the order in which the drive has done them.
func (l *device) awaitsImage(r *devices.Request) bool {
	if l.file == nil || l.file.Worker() == nil || r.Errno != devices.OK || !r.Op.Modifies() && r.Op != devices.OpFlush {
		return false
	}
	promise := promises(r) || !l.volatile
	if promise {
		l.held = l.file.Barrier()
	}
	return (promise || l.dm != nil) && !l.file.Worker().Completed(l.held)
}

// Written is called by the worker that the request has waited for.
func (a *passing) Written(err error) {
	r := a.request
	a.request = nil
	if a.stage == storing {
		a.stored(r) // which asks the image for its error
		return
	}
	if err != nil && r.Errno == devices.OK {
		r.Errno = devices.EIO
		a.l.report()
	}
	a.end(r)
}

// heldReply holds the reply to a request until the log of events has it.
type heldReply struct {
	l         *device
	completer devices.Completer
	request   *devices.Request
	next      *heldReply
}

// replyOnceLogged has the reply to r wait for the log of events, if it has a worker.
func (l *device) replyOnceLogged(r *devices.Request) {
	if l.wire.Worker() == nil || !r.Op.Modifies() && r.Op != devices.OpFlush {
		return
	}
	a := l.replies
	if a == nil {
		a = &heldReply{l: l}
	} else {
		l.replies = a.next
	}
	a.completer, r.Completer = r.Completer, a
}

// Done is called by the tap, which has written to the log.
func (a *heldReply) Done(r *devices.Request) {
	a.request = r
	if seq, waits := awaits(a.l.wire); waits && r.Errno == devices.OK {
		a.l.wire.Worker().After(seq, a)
		return
	}
	a.Written(a.l.wire.Err()) // which a fast file may have had by now
}

// awaits reports whether what was written to a log is not in its file yet, and the
// operation after which it is. What its fdatasync is for has been said before.
func awaits(f *ordered.Log) (seq uint64, waits bool) {
	w := f.Worker()
	if w == nil {
		return 0, false
	}
	seq = w.Barrier(false)
	return seq, !w.Completed(seq)
}

// Written sends the reply.
func (a *heldReply) Written(err error) {
	l, r := a.l, a.request
	r.Completer, a.completer, a.request = a.completer, nil, nil
	a.next, l.replies = l.replies, a
	if err != nil && r.Errno == devices.OK {
		r.Errno = devices.EIO
		l.report()
	}
	r.Completer.Done(r)
}

// admission is a write that waits until the workers have less to do.
type admission struct {
	client  *client
	request *devices.Request
}

// full reports whether a write must wait for the workers, or for one that does.
func (l *device) full() bool {
	if len(l.waiting) > 0 {
		return true
	}
	return l.file != nil && isFull(l.file.Worker()) || isFull(l.dmLog.Worker()) || isFull(l.wire.Worker())
}

func isFull(w *ordered.Worker) bool { return w != nil && w.Full() }

// admit submits what waits, as far as the workers have room.
func (l *device) admit() {
	waiting := l.waiting
	l.waiting = nil
	for i, a := range waiting {
		if l.full() {
			l.waiting = append(l.waiting, waiting[i:]...)
			return
		}
		a.client.Submit(a.request)
	}
}
