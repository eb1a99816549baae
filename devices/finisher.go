package devices

import "nbdbench/sim"

// Finisher finishes requests of which nothing reaches a device: from the loop, at the
// instant at which they were submitted. Loop is required.
type Finisher struct {
	Loop *sim.Loop
	// Stage is charged what time the request has not been charged yet.
	Stage Stage
}

// Finish has r finished with e. r's Timer is the finisher's until then.
func (f *Finisher) Finish(r *Request, e Errno) {
	r.Errno = e
	r.Timer.Owner = r
	f.Loop.After(&r.Timer, 0, f)
}

// Fire finishes a request.
func (f *Finisher) Fire(t *sim.Timer) {
	r := t.Owner.(*Request)
	r.Charge(f.Stage, f.Loop.Now())
	r.Finish(r.Errno)
}
