// Package sim is an event loop that runs in virtual or in real time, with what a
// simulation needs around it: named, counter-based random numbers, distributions,
// first-come-first-served timelines, and links.
//
// A Loop owns a heap of Timers. In virtual time Loop.Run jumps from one timer to
// the next. In real time a Real runs the same Loop on the wall clock: goroutines that
// submit work enter it, and a pacer goroutine runs what becomes due meanwhile. Code
// on a Loop cannot tell which of the two it is.
//
// Times are nanoseconds since the start of the loop. No event allocates: a Timer is
// a field of the object that waits.
//
// Package sim is the only package that may read the machine's clock.
package sim
