// Package workloads generates the load on a device: which addresses, when, how many
// requests at once, and which writes must be durable.
//
// A Profile is a transaction: a sequence of steps, each a request or a group of
// requests in flight together. A step ends when all of its requests are done. The
// latency of a transaction, that of a commit, is measured from when it was due until
// its last reply. Requests between two commits are not part of any commit's latency,
// but fill caches and move heads as the rest of a busy system would.
//
// A profile may have several such loads, its streams, at the same time, phases of
// them in series, and logs that commits share: one group at a time, as databases
// and file systems commit.
//
// A Runner runs a profile on a Device of a sim.Loop:
//
//	p, err := workloads.Get("wal-noisy")
//	r, err := workloads.NewRunner(loop, dev, workloads.Config{Profile: p, Seed: 1, Commits: 1000, Observer: o})
//	r.Start()
//	loop.RunWhile(func() bool { return !r.Finished() })
//
// Durable writes are submitted with FUA and flushes as FLUSH; the layers under the
// workload decide how to execute them. In a closed loop a transaction is due when the
// previous one of its slot has ended; in an open loop transactions are due by the clock.
//
// The address, length and operation of request k of transaction n are a pure
// function of (seed, stream, n, k), and in an open loop so is its arrival time:
// strategies of different speed receive the same requests. What a log writes follows
// the order in which records come to it. In a closed loop only the arrival times
// differ.
//
// Caveats: with several transactions in flight in a closed loop, all start together.
// A sequential region is traversed in whole transactions, so its last blocks may never
// be written. Two random writes in flight together may hit the same block, in either
// order. In an open loop a slot that executes requests between two commits cannot start
// the next transaction that is due. A transaction with a failed request is not continued.
package workloads
