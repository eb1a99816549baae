// Package bench runs plans.
//
// A Plan is a matrix: devices x workloads x strategies, with a number of runs
// of each. A cell's runs differ only in their seed, and the same run of two
// strategies has the same seed: the same addresses, arrivals and service noise.
//
// In virtual time a run is a workloads.Runner on a stack (package internal/stack) on one
// sim.Loop. results.Recorder observes the wire; where the power is cut, a judge observes
// the wire, and another what the workload asked. In real time the two halves have a loop
// each, held to the wall clock, with a socket between them; against a target the server
// half is somebody else's.
package bench
