// Package results records runs, summarises, stores and compares them, and prints
// them as tables, charts and a page.
//
// # Model
//
// A Recorder belongs to one run and receives every request and every commit. It
// produces a RunResult; the runs of one device, workload and strategy make a Cell;
// the cells make a Run, the document stored as run.json. Finish computes what follows
// from the runs: figures, intervals, Comparisons and Verdicts. Save writes a run
// directory and Load reads one. Tables, charts and the page are functions of the
// document and of its histograms, and are the same for a new run and a stored one.
//
// # Latency
//
// The latency of a commit is measured from when it was due until its strategy called
// it durable, so a stall counts for every commit that waited. The latency of a request
// is measured from when it was sent until its reply arrived. A commit due in the window
// counts, whenever it completes. Failures are counted and have no latency.
//
// Histograms are HdrHistograms (1 ns to 1 h, three significant digits), with exact
// count, sum, sum of squares, minimum and maximum. They merge without loss. Mean,
// deviation and extremes are exact; percentiles are accurate to 1 in 1000.
//
// A run's percentile is the nearest rank: the smallest k with k/n >= q, so p99 of
// 1000 samples is the 990th. (HdrHistogram for Go and C rounds q*n instead, which
// differs by at most one rank.) A percentile is printed only if at least ten samples
// lie beyond it, n-k >= 10: p50 from 20 samples on, p99 from 1000, p99.9 from
// 10,000; otherwise it is null. The rule is applied to the pooled samples of all
// runs, and for the values of a single run to its own samples.
//
// # Inference
//
// The unit of observation is the run, never the I/O: the I/Os of one run are not
// independent. Runs have equal weight, whatever their number of commits.
//
//   - A cell's value is the average of its runs' values: percentiles on a log scale,
//     the mean arithmetically. Its 95% interval is Student's, on the same scale, from 6
//     runs on, and never narrower than the histogram's bucket. p99.9 and the extremes
//     are of the pooled samples and have no interval.
//   - A ratio's interval is that of the runs' log ratios, paired by seed: strategies
//     have the same arrivals and noise, which cancel. Where nothing is shared, as
//     between two documents in real time, it is Welch's. Intervals hold simultaneously
//     for all pairs of durable candidates of the document (Bonferroni's inequality).
//   - The verdict compares the interval with a margin of 3%: faster if it lies below
//     1/1.03, slower above 1.03, equivalent between, otherwise inconclusive.
//     There is no other test: p_adjusted is null.
//   - Where no run differs from another on either side, the ratio is called exact.
//
// Only strategies that lost nothing can win: no acknowledged commit lost, none at risk
// in the worst legal image, no promise broken. Without power cuts the strategy's
// definition is used instead, and the verdict says so. One metric decides, by default
// p99. Cells that are partial, unsustained, not in steady state or have an outlying run
// take part in no verdict; drift from block to block and late replies in real time
// withhold it.
//
// docs/STATISTICS.md has each rule with its source and its bounds, and how often
// intervals cover and verdicts are wrong, as measured.
//
// # Caveats
//
//   - Intervals cover seeds, not model error.
//   - Null means not observable; it is never 0.
//   - The time series in intervals.csv has percentiles accurate to 3%.
//   - A document read back has no time series, and the extremes of its latencies at
//     the wire are accurate to a histogram bucket.
//   - Floating point differs between architectures in the last digit, and with it the
//     bytes of charts and ratios.
package results
