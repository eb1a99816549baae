package workloads

import "nbdbench/devices"

// An Observer receives the events of a Runner. All its methods run on the loop, in the
// order of events; what they are given is theirs only until they return.
type Observer interface {
	// Submit is called just before each request is submitted, complete with
	// Stamp, Txn and instants.
	Submit(r *devices.Request)
	// Op is called for each request when it is done, as the application issued
	// it: Errno, Completed and Stages are those that the application saw.
	Op(r *devices.Request)
	// Commit is called for each transaction of a stream when it is done, but not for
	// what runs between two, after the Op of its last request. Errno is that of its first failed request.
	Commit(c *devices.Commit)
}

// GroupObserver is an Observer of writes that several transactions share, by a log.
type GroupObserver interface {
	// Group is called after the Submit of such a write, before it is submitted, with
	// what it holds of each. The records are the observer's only until it returns.
	Group(r *devices.Request, records []devices.Record)
}

// Observers passes events to several, in order.
type Observers []Observer

// Submit calls each.
func (o Observers) Submit(r *devices.Request) {
	for _, each := range o {
		each.Submit(r)
	}
}

// Op calls each.
func (o Observers) Op(r *devices.Request) {
	for _, each := range o {
		each.Op(r)
	}
}

// Commit calls each.
func (o Observers) Commit(c *devices.Commit) {
	for _, each := range o {
		each.Commit(c)
	}
}

// Group calls each that is a GroupObserver.
func (o Observers) Group(r *devices.Request, records []devices.Record) {
	for _, each := range o {
		if g, ok := each.(GroupObserver); ok {
			g.Group(r, records)
		}
	}
}
