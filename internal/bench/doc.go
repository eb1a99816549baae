// Package bench wires one stack from loop to recorder and runs plans of them.
//
// A Plan is a matrix: devices x workloads x strategies, with a number of runs
// of each. A cell's runs differ only in their seed, and the same run of two
// strategies has the same seed: the same addresses, arrivals and service noise.
//
// A world is one run. In virtual time it is, from the outside in:
//
//	workloads.Runner            what is asked
//	ledger                      the application's judge, where the power is cut
//	strategy, client side       devices/layer
//	wire tap                    results.Recorder.Op
//	nbd.Client ~ link ~ nbd.ServerConn
//	history.Tap                 the judge at the wire, where the power is cut
//	strategy, server side       devices/layer
//	the model                   devices/catalog
//
// all on one sim.Loop. In real time the two halves have a loop each, held to the
// wall clock, with a socket between them; against a target the server half is
// somebody else's.
package bench
