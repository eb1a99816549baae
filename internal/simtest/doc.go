// Package simtest runs the whole stack from one seed and checks it with the oracle: a
// workload, the client side of a strategy, NBD over a simulated link, the server side
// of the strategy, and a simulated device with a small cache.
//
//	report, err := simtest.Run(17, simtest.Options{})
//
// Everything about a run is drawn from its seed: the device and its parameters,
// the strategy, the link, the connections, the queue depth, and the requests,
// which overlap in a small range. Options restrict the draw. A failure is an error
// that starts with the seed and the drawn values, and says how to repeat it.
//
// # What is checked
//
// At the wire, between the server's connections and its layers, a history.Judge
// observes each request and reply. After a random number of events the power is cut,
// and the images that the cut can leave are checked: a violation is an error, except
// for the strategy discard, where it is counted. Above all layers a history.Ledger
// receives each write that FUA or a FLUSH made durable; a commit that a cut loses is an
// error, except for the strategies that promise nothing.
//
// Each request completes once, never within Submit, and without an error; its stages
// sum to its latency; a read returns a version that some order of the writes explains.
// At the end a FLUSH leaves nothing exposed, and a second one has nothing to write.
//
// # Caveats
//
// A cut is a view: the run continues after it as if nothing had happened, so the
// behaviour of a device when power returns is not tested. No faults are injected.
// Offsets are multiples of 512 bytes, the granularity of the oracle. An atomic unit that
// survives in part is counted, and is an error only where Options say so: a cache
// sends the pieces of an overwritten unit to the medium one by one.
package simtest
