// Package empirical is a drive that is known by its latencies alone: each request
// takes a time that was measured of some request of its operation.
//
// Nothing of the mechanism is modelled. A draw does not depend on size, address,
// or what the drive did before, so the shape of each distribution is exact and
// what lies between requests is lost: bursts, garbage collection, and how FLUSH
// grows with what is dirty are there on average only. What waited in a queue when
// it was measured waits again here, if it meets a queue: measure at depth 1, or at
// the depth that is asked for, with Parallel no smaller.
//
//	slots    at most Parallel requests are served at once, first come first served
//	latency  the bucket that holds a rank drawn evenly, and the place in it
//
// What is durable when follows the same rules as in every drive: the cache, FLUSH
// and FUA are those of drive.Drive. A FLUSH covers what was acknowledged when it
// came. Background destage takes the time of one FLUSH for all between the two
// marks, or of one write where there is no FLUSH; it takes no slot, because what
// it costs the host is in the latencies already.
package empirical
