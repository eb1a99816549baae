// Package interleave runs goroutines in every order of their accesses to what they
// share. A test describes threads; their accesses to variables of package wake are steps
// between which another thread may run, and the clock is the test's:
//
//	interleave.Explore(t, 3, func(w *interleave.World) {
//		var x wake.Int64
//		x.Follow(w)
//		w.Thread("adds", func() { x.Store(x.Load() + 1) })
//		w.Thread("adds too", func() { x.Store(x.Load() + 1) })
//		w.AtEnd(func() error { ... })
//	})
//
// Explore runs the threads again and again, depth first through the choices of who runs
// next. It tries every order in which at most so many times a thread was preempted: had
// to stop though it could have gone on. Without a bound that is every order. (M.
// Musuvathi, S. Qadeer, "Iterative context bounding for systematic testing of
// multithreaded programs", 2007.) The order of memory is that of Go's atomics: sequential
// consistency.
//
// Threads are coroutines: one runs at a time, on the goroutine of the test, so that a
// failure has one order, which is printed step by step, and is the same each time.
//
// # Caveats
//
// What threads share without package wake changes between two steps. A thread must not
// block otherwise than by World.Await and wake.Mutex. A loop that polls must Await what
// it polls for, or there is no end of orders.
package interleave

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"

	"nbdbench/internal/wake"
)

// Unbounded is a bound for every order.
const Unbounded = 1 << 30

// The bounds of an exploration. One that is beyond them fails.
const (
	maxSteps  = 20_000     // of one order
	maxOrders = 20_000_000 // of one exploration
	maxTrace  = 200        // steps that a Failure prints, the last ones
)

// World is one run of the threads. It is a wake.Schedule.
type World struct {
	threads []*thread
	current *thread
	now     int64
	idle    func() error
	end     func() error
	trace   []string // of steps, if it is wanted
	traced  bool

	by        *explorer
	at        int // in its path
	steps     int
	preempted int
	chosen    *thread // who runs next, if that is known
	wrong     error   // of the exploration itself
}

var _ wake.Schedule = (*World)(nil)

type thread struct {
	name  string
	steps int
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	ready func() bool // what it awaits, or nil
	until int64
	over  bool // it has returned
	ended bool // it is to unwind
	err   error
}

// unwinds is what a thread panics with that is to end before it returns.
type unwinds struct{}

// Thread adds a thread. One that runs may add others.
func (w *World) Thread(name string, f func()) {
	t := &thread{name: name}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			switch p := recover().(type) {
			case nil, unwinds:
			default:
				t.err = fmt.Errorf("%s panics: %v", t.name, p)
			}
		}()
		f()
	})
	w.threads = append(w.threads, t)
}

// AtRest has f called whenever all threads await something, before the clock moves.
func (w *World) AtRest(f func() error) { w.idle = f }

// AtEnd has f called when no thread can go on. Those that await something still do.
func (w *World) AtEnd(f func() error) { w.end = f }

// Waits reports whether the thread of that name awaits something.
func (w *World) Waits(name string) bool {
	for _, t := range w.threads {
		if t.name == name && !t.over && t.ready != nil {
			return true
		}
	}
	return false
}

// Now is the clock, in nanoseconds. It moves when all threads await something.
func (w *World) Now() int64 { return w.now }

// Step lets another thread run. Code that is not a thread's takes no steps.
func (w *World) Step() {
	t := w.current
	if t == nil || t.ended {
		return
	}
	w.note("")
	if w.chosen = w.choose(); w.chosen != t {
		w.pause(t)
	}
	w.current = t
}

// Await blocks the thread until ready, which changes nothing, reports true or the clock
// has reached until.
func (w *World) Await(until int64, ready func() bool) {
	t := w.current
	if t == nil {
		if !ready() {
			panic("interleave: what is no thread awaits what never comes")
		}
		return
	}
	if t.ended {
		panic(unwinds{})
	}
	w.note("awaits")
	t.ready, t.until = ready, until
	if w.chosen = w.choose(); w.chosen != t {
		w.pause(t)
	}
	w.current, t.ready = t, nil
}

// Others is how many steps the other threads have taken, for Yield.
func (w *World) Others() int {
	if w.current == nil {
		return w.steps
	}
	return w.steps - w.current.steps
}

// Yield blocks the thread until others have taken more than so many steps. It is for who
// polls, and has in vain since then: an order in which nobody else ever runs is none.
func (w *World) Yield(others int) {
	if t := w.current; t != nil && !t.ended {
		w.Await(wake.Forever, func() bool { return w.steps-t.steps > others })
	}
}

// pause returns when the thread is chosen again.
func (w *World) pause(t *thread) {
	if !t.yield(struct{}{}) {
		t.ended = true
		panic(unwinds{})
	}
}

func (w *World) canRun(t *thread) bool {
	return !t.over && (t.ready == nil || t.ready() || w.now >= t.until)
}

// choices are the threads that can run. If the current one can, it is the first, and the
// only one unless it may be preempted.
func (w *World) choices(last *thread, preempts bool, into []*thread) []*thread {
	into = into[:0]
	if last != nil && w.canRun(last) {
		into = append(into, last)
		if !preempts {
			return into
		}
	}
	for _, t := range w.threads {
		if t != last && w.canRun(t) {
			into = append(into, t)
		}
	}
	return into
}

// Earliest is the earliest instant that a thread awaits, or wake.Forever.
func (w *World) Earliest() int64 {
	first := wake.Forever
	for _, t := range w.threads {
		if !t.over && t.ready != nil {
			first = min(first, t.until)
		}
	}
	return first
}

// advance moves the clock to the earliest instant that a thread awaits. It reports
// false if there is none.
func (w *World) advance() bool {
	first := w.Earliest()
	if first == wake.Forever {
		return false
	}
	w.now = max(w.now, first)
	return true
}

// run runs one thread to its next step.
func (w *World) run(t *thread) error {
	w.current = t
	if _, ok := t.next(); !ok {
		t.over = true
		w.current = nil
	}
	return t.err
}

// close ends all threads that have not returned.
func (w *World) close() {
	for _, t := range w.threads {
		w.current = t
		t.stop()
	}
	w.current = nil
}

// note traces where the current thread is.
func (w *World) note(what string) {
	if !w.traced {
		return
	}
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	var at []string
	for f, more := frames.Next(); more; f, more = frames.Next() {
		if strings.Contains(f.Function, "/interleave.(*World)") || strings.HasPrefix(f.Function, "iter.") {
			break
		}
		if strings.HasSuffix(f.File, "/wake/shared.go") {
			continue
		}
		name := f.Function[strings.LastIndex(f.Function, "/")+1:]
		at = append(at, fmt.Sprintf("%s:%d", name, f.Line))
		if len(at) == 3 {
			break
		}
	}
	w.trace = append(w.trace, strings.TrimRight(fmt.Sprintf("%6d  %-12s %s %s", w.now, w.current.name, strings.Join(at, " < "), what), " "))
}

// choice is which of so many threads ran.
type choice struct{ picked, of int }

// explorer goes through all orders.
type explorer struct {
	build func(*World)
	bound int
	path  []choice
	able  []*thread // who can run; one list for all orders
}

// choose picks who runs next, in the order of the path, and in a fixed one after it, which
// it appends to the path. It is nil if nobody can run.
func (w *World) choose() *thread {
	e, last := w.by, w.current
	w.current = nil // conditions are nobody's steps
	if w.steps == maxSteps {
		w.wrong = fmt.Errorf("no end after %d steps", maxSteps)
		return nil
	}
	e.able = w.choices(last, w.preempted < e.bound, e.able)
	if len(e.able) == 0 {
		return nil
	}
	if w.at == len(e.path) {
		e.path = append(e.path, choice{0, len(e.able)})
	}
	c := e.path[w.at]
	w.at++
	if c.of != len(e.able) {
		w.wrong = errors.New("the threads do not do the same each time")
		return nil
	}
	if e.able[0] == last && c.picked > 0 {
		w.preempted++
	}
	t := e.able[c.picked]
	t.steps++
	w.steps++
	return t
}

// order runs the threads in the order of path.
func (e *explorer) order(traced bool) (trace []string, err error) {
	w := &World{traced: traced, by: e}
	defer w.close()
	e.build(w)
	for {
		t := w.chosen
		if w.chosen = nil; t == nil {
			t = w.choose()
		}
		switch {
		case w.wrong != nil:
			return w.trace, w.wrong
		case t != nil:
			err = w.run(t)
		default:
			if err = w.atRest(); err == nil && !w.advance() {
				return w.trace, w.atEnd()
			}
		}
		if err != nil {
			return w.trace, err
		}
	}
}

func (w *World) atRest() error {
	if w.idle == nil {
		return nil
	}
	return w.idle()
}

func (w *World) atEnd() error {
	if w.end == nil {
		return nil
	}
	return w.end()
}

// next moves path to the next order. It reports false after the last.
func (e *explorer) next() bool {
	for i := len(e.path) - 1; i >= 0; i-- {
		if c := &e.path[i]; c.picked+1 < c.of {
			c.picked++
			e.path = e.path[:i+1]
			return true
		}
	}
	return false
}

// A Failure is an order in which something is wrong.
type Failure struct {
	Order int      // counted from 1
	Trace []string // its steps: the clock, the thread, and where it is before the access
	Err   error
}

func (f *Failure) Error() string {
	steps := f.Trace
	if len(steps) > maxTrace {
		steps = append([]string{"   ..."}, steps[len(steps)-maxTrace:]...)
	}
	return fmt.Sprintf("order %d: %v\n  clock  thread       before\n%s", f.Order, f.Err, strings.Join(steps, "\n"))
}

// Unwrap returns what is wrong.
func (f *Failure) Unwrap() error { return f.Err }

// All runs what build describes in every order with at most bound preemptions, and
// returns how many those are. The error is a *Failure, of the first wrong order.
func All(bound int, build func(*World)) (orders int, err error) {
	e := &explorer{build: build, bound: bound}
	for {
		orders++
		if _, err := e.order(false); err != nil {
			trace, again := e.order(true)
			if again == nil {
				err = fmt.Errorf("only the first time: %w", err)
			}
			return orders, &Failure{orders, trace, err}
		}
		if !e.next() {
			return orders, nil
		}
		if orders == maxOrders {
			return orders, fmt.Errorf("more than %d orders", maxOrders)
		}
	}
}

// TB is what Explore needs of a testing.TB.
type TB interface {
	Helper()
	Fatal(...any)
	Logf(string, ...any)
}

// Explore is All, and fails t by the first wrong order. Under the race detector the bound
// is 1 at most.
func Explore(t TB, bound int, build func(*World)) {
	t.Helper()
	orders, err := All(min(bound, most), build)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d orders", orders)
}
