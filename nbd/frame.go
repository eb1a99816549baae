package nbd

import (
	"nbdbench/devices"
	"nbdbench/sim"
)

// frame is one message of the transmission phase on a virtual wire: header
// bytes, and by reference the data that follows them: bytes, or a version stamp
// or nothing at all in place of them.
type frame struct {
	header  [MaxHeaderSize]byte
	payload devices.Payload

	timer   sim.Timer
	arrived sim.Time
	next    *frame
}

// frames recycles frames. It belongs to one loop.
type frames struct{ head *frame }

// get returns a frame of which the caller sets header and payload.
func (l *frames) get() *frame {
	f := l.head
	if f == nil {
		f = new(frame)
		f.timer.Owner = f
		return f
	}
	l.head = f.next
	f.next = nil
	return f
}

func (l *frames) put(f *frame) {
	f.payload = devices.Payload{}
	f.next = l.head
	l.head = f
}

// fifo is a list of frames in order.
type fifo struct {
	head, tail *frame
}

func (q *fifo) push(f *frame) {
	f.next = nil
	if q.tail == nil {
		q.head = f
	} else {
		q.tail.next = f
	}
	q.tail = f
}

func (q *fifo) pop() *frame {
	f := q.head
	if f == nil {
		return nil
	}
	q.head = f.next
	if q.head == nil {
		q.tail = nil
	}
	f.next = nil
	return f
}
