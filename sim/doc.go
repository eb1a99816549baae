// Package sim is an event loop whose clock jumps or keeps wall time, with what
// a simulation needs around it: seeded randomness that is named and
// counter-based, distributions, first-come-first-served timelines and links.
//
// A Loop owns a heap of Timers. In virtual time Loop.Run jumps from one to the
// next; in real time a Real holds the same Loop to the wall clock and paces it
// from a locked thread. What is built on a Loop cannot tell which one it is.
//
// Times are nanoseconds since the loop began. Nothing here allocates per event:
// a Timer is a field of the thing that waits.
//
// Package sim is the only one that may ask the machine what time it is.
package sim
