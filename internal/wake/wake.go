// Package wake is the wake-up protocol of the real-time path: who sleeps, who is woken
// by whom, and why no wake-up is lost. Packages sim and nbd/socket wait and wake by its
// types alone, in whose methods is every order of two accesses that matters.
//
// # The rule
//
// Everything here is one rule, applied three times. Two goroutines share a piece of work
// W (a deadline, output, room in memory) and an announcement A (that somebody sleeps, or
// that somebody works):
//
//   - who adds work writes W first and reads A then;
//   - who stops working, to sleep or for good, writes A first and reads W then.
//
// The accesses are sequentially consistent, so at least one of the two sees what the
// other has written: the adder sees that it must wake, or the other sees that it must
// not stop. Both may see it; a wake-up too many is harmless, and each type says how it is
// absorbed. Whoever reads before it writes loses wake-ups.
//
// # Sleeper
//
// A goroutine that sleeps until an instant. A is that instant. Prepare announces it and
// then has the caller look once more for work; Wake is for who has added work that comes
// before that instant, and at most one caller for each sleep is asked to ring. What it
// rings keeps the ring for the next sleep if this one has ended: a timerfd, or a
// channel of capacity one.
//
// The sleepers are the pacer of sim.Real (timerfd), a connection's reader that waits
// for room in memory (channel), and a client's poller in poll(2), which nobody rings:
// see Work.
//
// # Timers
//
// Who runs a loop's earliest deadline W, called armed. There are up to three:
//
//   - the owner, a reader that sleeps in poll(2) with a timeout. It runs every deadline
//     from the one on that it sleeps until, and all while it is awake.
//   - the spinner, a reader that has just left the loop. It runs what is due within a
//     window, and passes the rest to the pacer when it stops.
//   - the pacer, a goroutine that runs everything else.
//
// Arm publishes armed, and then asks the three in this order whether they will be
// there. Only the pacer is ever woken. Invariant: if nobody runs, somebody sleeps until
// armed or less.
//
// # Work
//
// Work that any goroutine adds and one at a time does: the output of a connection. A is
// a mutex that is held. Who cannot lock it leaves the work to the holder, which looks
// again after it has unlocked it. If the holder can do no more without blocking it wakes
// a writer: a goroutine on a channel of capacity one, or, for a client whose poller
// sleeps and cannot be rung, a helper that is started. The helper ends when nothing is
// left or the poller is awake, which goes on in its place; at most one of the two has
// the work at a time.
//
// # Order of locks
//
// From the first to the last; a goroutine that holds one locks only later ones:
//
//	sim.Real.mu            the loop; nothing is written to a socket under it
//	socket.Server.mu       exports, listeners, connections
//	socket.outQueue.work   the right to write; never together with sim.Real.mu
//	socket.outQueue.mu     pending messages; for no longer than a copy
//	socket.socket.mu       how a connection is waited for, and whether it is over
//	socket.plainSocket.mu  whether the descriptor is still the socket's
//	socket.memory.mu       who waits for memory
//	sim.alarm.mu           the timerfd
//
// The locks of internal/aio, internal/ordered and devices/plugin are taken under
// sim.Real.mu too, and never the other way round: a worker enters the loop after it has
// unlocked its own.
// socket.Server.contentionMu is held while a callback runs, and is the first of all.
// Flushers are called without any of these.
//
// # Tests
//
// The variables of this package can follow a Schedule. Tests of sim and of nbd/socket
// named TestInterleavings run the code that uses them under internal/interleave, which
// tries the orders of all accesses one after another. The test of this package has a list
// of mutants, each of which loses a wake-up, and with NBDBENCH_MUTANTS=1 expects that
// those tests find each (make mutants).
package wake

// Awake is the instant until which a Sleeper sleeps that does not.
const Awake = int64(0)

// A Sleeper announces until when a goroutine sleeps. The zero value is awake. One
// goroutine sleeps, any number wake it.
type Sleeper struct{ until Int64 }

// Follow has every access be a step of s.
func (s *Sleeper) Follow(by Schedule) { s.until.Follow(by) }

// Prepare announces that the caller will sleep until then, and asks stay whether
// something has come meanwhile. If it reports true, the caller may sleep, and then calls
// Woke; else it stays awake.
func (s *Sleeper) Prepare(until int64, stay func() bool) bool {
	s.until.Store(until)
	if stay() {
		s.until.Store(Awake)
		return false
	}
	return true
}

// Woke says that the sleeper is awake and looks for work before it sleeps again.
func (s *Sleeper) Woke() { s.until.Store(Awake) }

// SleepsBeyond reports whether the sleeper will sleep at that instant; 0 is now. The
// caller has published what is due then.
func (s *Sleeper) SleepsBeyond(then int64) bool { return then < s.until.Load() }

// Wake reports whether the caller must ring, because the sleeper would sleep beyond
// that instant; 0 is now. The caller has published what is due then. If somebody else
// rings, or the sleeper has woken up, it looks for work after that was published.
func (s *Sleeper) Wake(then int64) bool {
	until := s.until.Load()
	return then < until && s.until.CompareAndSwap(until, Awake)
}

// unowned is until when the owner of timers sleeps that have none: it runs nothing.
const unowned = Forever

// Timers decide who runs the earliest deadline of a loop.
type Timers struct {
	armed    Int64   // the earliest deadline
	pacer    Sleeper // which sleeps until what is due for it
	owner    Sleeper // or unowned
	spinning Bool

	now    func() int64
	ring   func() // ends the pacer's sleep, this or the next
	window int64
}

// Begin is called before anything else, with the earliest deadline. Who spins runs what
// is due within window nanoseconds.
func (t *Timers) Begin(first, window int64, now func() int64, ring func()) {
	t.armed.Store(first)
	t.owner.until.Store(unowned)
	t.window, t.now, t.ring = window, now, ring
}

// Follow has every access be a step of s.
func (t *Timers) Follow(s Schedule) {
	t.armed.Follow(s)
	t.pacer.Follow(s)
	t.owner.Follow(s)
	t.spinning.Follow(s)
}

// Armed is the earliest deadline.
func (t *Timers) Armed() int64 { return t.armed.Load() }

// Arm publishes the earliest deadline, and wakes the pacer if nobody would run it. It is
// for the loop's owner, before it leaves.
func (t *Timers) Arm(next int64) {
	t.armed.Store(next)
	if !t.owner.SleepsBeyond(next) {
		return
	}
	if t.spinning.Load() && next-t.now() <= t.window {
		return // StopSpin wakes the pacer for what is left
	}
	t.wakePacer(next)
}

func (t *Timers) wakePacer(next int64) {
	if t.pacer.Wake(next) {
		t.ring()
	}
}

// PacerDue is the earliest deadline, if it is the pacer's, or Forever.
func (t *Timers) PacerDue() int64 {
	if armed := t.armed.Load(); t.owner.SleepsBeyond(armed) {
		return armed
	}
	return Forever
}

// PacerSleep calls sleep, which a ring ends, unless the pacer's deadline is not the one
// of until any more. sleep wakes up by then: from an older deadline than the one that is
// announced it would be slept through. Who closes the loop rings after it has said so; the
// ring is kept, and the pacer looks whether the loop is closed after each sleep.
func (t *Timers) PacerSleep(until int64, sleep func()) {
	if t.pacer.Prepare(until, func() bool { return t.PacerDue() != until }) {
		sleep()
		t.pacer.Woke()
	}
}

// Acquire makes the caller the owner, and reports whether there was none.
func (t *Timers) Acquire() bool { return t.owner.until.CompareAndSwap(unowned, Awake) }

// Owned reports whether there is an owner.
func (t *Timers) Owned() bool { return t.owner.until.Load() != unowned }

// Release passes the deadlines of the owner to the pacer.
func (t *Timers) Release() {
	t.owner.until.Store(unowned)
	t.wakePacer(t.armed.Load())
}

// OwnerSleeps is for an owner that wants to sleep until the deadline that it has seen.
// It reports whether it may: then it calls OwnerWoke once it has slept. An earlier
// deadline that is set meanwhile is the pacer's.
func (t *Timers) OwnerSleeps(armed int64) bool {
	return t.owner.Prepare(min(armed, unowned-1), func() bool { return t.armed.Load() < armed })
}

// OwnerWoke says that the owner runs what is due again.
func (t *Timers) OwnerWoke() { t.owner.Woke() }

// Spin reports whether nobody else spins. Then the caller runs what is due within the
// window, and calls StopSpin.
func (t *Timers) Spin() bool { return t.spinning.CompareAndSwap(false, true) }

// StopSpin passes what is left to the pacer.
func (t *Timers) StopSpin() {
	t.spinning.Store(false)
	t.wakePacer(t.armed.Load())
}

// Work is work that any goroutine adds and one at a time does.
type Work struct {
	left   Int64 // of it, in bytes
	asked  Bool  // somebody will Try
	busy   Mutex // held by who does it
	helped Bool  // a helper has it
}

// Follow has every access be a step of s.
func (w *Work) Follow(s Schedule) {
	w.left.Follow(s)
	w.asked.Follow(s)
	w.busy.Follow(s)
	w.helped.Follow(s)
}

// Left is how much is left.
func (w *Work) Left() int64 { return w.left.Load() }

// Add adds n to what is left. If it reports true, the caller must have somebody call
// Try later.
func (w *Work) Add(n int64) bool {
	w.left.Add(n)
	return !w.asked.Swap(true)
}

// Done takes off what was done. It is for who does the work.
func (w *Work) Done(n int64) { w.left.Add(-n) }

// Try has do called until nothing is left, unless another does the work. do reports
// false if more would block; then Try does, too, and the caller must wake a writer.
func (w *Work) Try(do func() bool) bool {
	w.asked.Store(false)
	for w.left.Load() > 0 && w.busy.TryLock() {
		ok := do()
		w.busy.Unlock()
		if !ok {
			return false
		}
	}
	return true
}

// Block has do, which may block, called until nothing is left.
func (w *Work) Block(do func()) {
	for w.left.Load() > 0 {
		w.Alone(do)
	}
}

// Alone has f called while nobody does the work. Another that could not do it meanwhile
// has left it to the caller, who must have somebody call Try or Block.
func (w *Work) Alone(f func()) {
	w.busy.Lock()
	defer w.busy.Unlock()
	f()
}

// TryAlone is Alone if nobody does the work; else it reports false. In both cases flush,
// which calls Try, does what was added meanwhile.
func (w *Work) TryAlone(f, flush func()) bool {
	if !w.busy.TryLock() {
		return false
	}
	f()
	w.busy.Unlock()
	flush()
	return true
}

// NeedsHelp reports whether the caller, for whom Try reported false, must start a helper:
// the sleeper s, whose work it is, sleeps, and nobody helps.
func (w *Work) NeedsHelp(s *Sleeper) bool {
	return s.SleepsBeyond(0) && !w.helped.Swap(true)
}

// Helped reports whether there is a helper. A sleeper that goes on with the work asks
// it after it has announced that it will sleep.
func (w *Work) Helped() bool { return w.helped.Load() }

// Help is a helper. It has batch, which may block, called until nothing is left or s is
// awake and goes on.
func (w *Work) Help(s *Sleeper, batch func()) {
	for {
		w.Alone(batch)
		w.helped.Store(false)
		if w.left.Load() == 0 || !w.NeedsHelp(s) {
			return
		}
	}
}
