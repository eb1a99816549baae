// Package simtest runs the whole stack from one seed and holds it against the
// oracle: a workload above a strategy's client half, NBD over a simulated link,
// the strategy's server half, and a simulated device with a small cache.
//
//	report, err := simtest.Run(17, simtest.Options{})
//
// Everything about a run is drawn from its seed: the device and its parameters,
// the strategy, the link, the connections, the queue depth, and the requests,
// which overlap in a small range. Options narrow the draw. A failure is an error
// that begins with the seed and what was drawn, and says how to run it again.
//
// # What is held
//
// At the wire, between the server's connections and its layers, a history.Judge
// sees each request and reply. After a random number of events the power is cut,
// and the images that the cut can leave are judged: a violation is an error, but
// for the strategy that lies (discard), where it is counted. Above all layers a
// history.Ledger is told of each write that FUA or a FLUSH made durable; a commit
// that a cut loses is an error, but for the strategies that promise nothing.
//
// Each request completes once and never within Submit, without an error; its
// stages sum to its latency; a read returns a version that some order of the
// writes explains. At the end a FLUSH leaves nothing exposed, and a second one
// has nothing to write.
//
// # Caveats
//
// A cut is a view: the run goes on after it as if nothing had happened, so what a
// device does when the power returns is not exercised. No faults are injected.
// Offsets are multiples of 512 bytes, the grain of the oracle. An atomic unit that
// survives in part is counted, and an error only where Options say so: a cache
// sends the pieces of an overwritten unit to the medium one by one.
package simtest
