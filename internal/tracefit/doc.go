// Package tracefit makes a workload profile that resembles a trace, and says how well
// it does.
//
//	profile, report, err := tracefit.Fit(open, tracefit.Options{Name: "mine"})
//
// A profile has a stream for each class of requests: an operation, with FUA or
// without, that goes on where one before it ended, or elsewhere. A stream has the
// class's rate, sizes and region. Of requests that go elsewhere it has one of three
// patterns: any block alike; zoned, if the blocks that are hot lie together; zipf, if
// they do not, with the theta that gives the hottest tenth its share.
//
// The times between requests give the arrivals: even, independent, or in bursts.
//
// What is not kept: which request follows which, such as a FLUSH after the writes that
// it is for, and change over the time of the trace.
//
// A trace is read twice. What is kept of it is of a bounded size: MaxSizes sizes and
// Bins counters of each class, and a histogram of times.
package tracefit
