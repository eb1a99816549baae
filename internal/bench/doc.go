// Package bench runs plans.
//
// A Plan is a matrix: devices x workloads x strategies, with a number of runs of each
// cell. The runs of a cell differ only in their seed. The same run of two strategies
// has the same seed, and so the same addresses, arrivals and service noise.
//
// In virtual time a run is a workloads.Runner on a stack (package internal/stack) on one
// sim.Loop. A results.Recorder observes the wire. If the power is cut, one checker
// observes the wire and another the workload. In real time client and server each have
// a loop on the wall clock, with a socket between them; a target is an external server.
package bench
