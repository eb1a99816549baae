// Package workloads says what is asked of a device: where, when, how many at
// once, and which writes must be durable.
//
// A Profile is a transaction: steps one after another, each a request or a
// group of requests in flight together. A step ends when all of its requests
// are done. A transaction's latency, that of a commit, counts from when it was
// due until its last reply. What a profile does between two commits is not part
// of any commit's latency, but fills caches and moves heads like the rest of a
// busy system.
//
// A Runner runs a profile on a Device of a sim.Loop:
//
//	p, err := workloads.Get("wal-noisy")
//	r, err := workloads.NewRunner(loop, dev, workloads.Config{Profile: p, Seed: 1, Commits: 1000, Observer: o})
//	r.Start()
//	loop.RunWhile(func() bool { return !r.Finished() })
//
// Durable writes are submitted with FUA and flushes as FLUSH; the layers below
// decide what becomes of them. Transactions become due in a closed loop, each
// when its slot has ended the last, or in an open loop, by the clock.
//
// Where request k of transaction n goes is a pure function of (seed, stream, n,
// k), and so is when it is due in an open loop: strategies of different speed
// are asked the same. In a closed loop on a device of another speed, only the
// instants differ.
//
// Caveats: with several transactions in progress in a closed loop, all begin
// together at the start. A sequential region is gone through in whole
// transactions, so its last few blocks may never be written. Two random writes
// in flight together may hit the same block, in either order. In an open loop
// what a slot does between two commits keeps it from the next one that is due.
// A transaction of which a request failed is not continued.
package workloads
