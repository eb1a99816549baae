package wake

import (
	"math"
	"sync"
	"sync/atomic"
)

// Forever is later than every instant.
const Forever = int64(math.MaxInt64)

// A Schedule decides in a test which goroutine runs next, and what time it is.
// A program has none: then the variables of this package are those of packages sync
// and sync/atomic, and cost one comparison with nil more.
type Schedule interface {
	// Step comes before each access to a variable: another goroutine may run here.
	Step()
	// Await blocks until ready, which changes nothing, reports true or the clock has
	// reached until.
	Await(until int64, ready func() bool)
	// Now is the clock, in nanoseconds.
	Now() int64
}

// Int64 is an atomic.Int64.
type Int64 struct {
	v atomic.Int64
	s Schedule
}

// Follow has every access be a step of s.
func (i *Int64) Follow(s Schedule) { i.s = s }

// Load returns the value.
func (i *Int64) Load() int64 {
	if i.s != nil {
		i.s.Step()
	}
	return i.v.Load()
}

// Store sets the value.
func (i *Int64) Store(v int64) {
	if i.s != nil {
		i.s.Step()
	}
	i.v.Store(v)
}

// Add adds d and returns the new value.
func (i *Int64) Add(d int64) int64 {
	if i.s != nil {
		i.s.Step()
	}
	return i.v.Add(d)
}

// CompareAndSwap sets the value to v if it is old, and reports whether it was.
func (i *Int64) CompareAndSwap(old, v int64) bool {
	if i.s != nil {
		i.s.Step()
	}
	return i.v.CompareAndSwap(old, v)
}

// Bool is an atomic.Bool.
type Bool struct {
	v atomic.Bool
	s Schedule
}

// Follow has every access be a step of s.
func (b *Bool) Follow(s Schedule) { b.s = s }

// Load returns the value.
func (b *Bool) Load() bool {
	if b.s != nil {
		b.s.Step()
	}
	return b.v.Load()
}

// Store sets the value.
func (b *Bool) Store(v bool) {
	if b.s != nil {
		b.s.Step()
	}
	b.v.Store(v)
}

// Swap sets the value and returns the old one.
func (b *Bool) Swap(v bool) bool {
	if b.s != nil {
		b.s.Step()
	}
	return b.v.Swap(v)
}

// CompareAndSwap sets the value to v if it is old, and reports whether it was.
func (b *Bool) CompareAndSwap(old, v bool) bool {
	if b.s != nil {
		b.s.Step()
	}
	return b.v.CompareAndSwap(old, v)
}

// Mutex is a sync.Mutex. Accesses to the variables of this package while it is held
// are steps too, so what they follow it follows.
type Mutex struct {
	mu sync.Mutex
	s  Schedule
}

// Follow has every access be a step of s.
func (m *Mutex) Follow(s Schedule) { m.s = s }

// Lock locks m, once nobody else has it locked.
func (m *Mutex) Lock() {
	if m.s != nil {
		m.s.Step()
		m.s.Await(Forever, m.free)
	}
	m.mu.Lock()
}

// TryLock locks m unless somebody has it locked, and reports whether it did.
func (m *Mutex) TryLock() bool {
	if m.s != nil {
		m.s.Step()
	}
	return m.mu.TryLock()
}

// Unlock unlocks m.
func (m *Mutex) Unlock() {
	if m.s != nil {
		m.s.Step()
	}
	m.mu.Unlock()
}

func (m *Mutex) free() bool {
	ok := m.mu.TryLock()
	if ok {
		m.mu.Unlock()
	}
	return ok
}
