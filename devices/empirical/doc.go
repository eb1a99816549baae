// Package empirical is a drive described only by measured latencies: each request
// takes a latency that was measured for some request of the same operation.
//
// It models no mechanism. A draw does not depend on size, address, or earlier requests.
// Each distribution is exact, but correlations between requests are lost: bursts,
// garbage collection, and the dependence of FLUSH on dirty data are present on average
// only. Queueing time in the measurement is added to queueing in the simulation, so
// measure at depth 1, or at the depth of the simulation with Parallel no smaller.
//
//	slots    at most Parallel requests are served at once, first come first served
//	latency  a bucket chosen by a uniform rank, and a position in the bucket
//
// Durability follows the rules of every drive: cache, FLUSH and FUA are those of
// drive.Drive. A FLUSH covers the data acknowledged when it arrived. A background
// destage between the water marks takes the time of one FLUSH, or of one write if
// there is no FLUSH. It occupies no slot, because its cost to the host is already in
// the measured latencies.
package empirical
