// Package results records what runs show, summarises it honestly, stores it,
// compares it, and prints it as tables, charts and a page.
//
// # Model
//
// A Recorder belongs to one run and is told every request and every commit. It
// gives a RunResult; the runs of one device, workload and strategy make a Cell;
// the cells make a Run, the document that run.json holds. Finish computes what
// follows from the runs: figures, intervals, Comparisons and Verdicts. Save
// writes a run directory and Load reads one back. Tables, charts and the page
// are functions of the document and of the histograms beside it, and come out
// alike from a live run and from a stored one.
//
// # Latency
//
// A commit's latency runs from when it was due until its strategy called it
// durable, so that a stall counts against all whom it kept waiting. A request's
// runs from when it was sent until its reply came. What was due in the window
// counts, whenever it finishes. What failed is counted and has no latency.
//
// Histograms are HdrHistograms (1 ns to 1 h, three significant digits), with
// count, sum, sum of squares, minimum and maximum kept exactly beside them.
// They merge without loss. Mean, deviation and extremes are exact; percentiles
// are good to a part in a thousand.
//
// A run's percentile is the nearest rank: the smallest k with k/n >= q, so p99 of
// 1000 samples is the 990th. (HdrHistogram for Go and C rounds q*n instead, which
// differs by at most one rank.) A percentile is printed only if at least ten samples
// lie beyond it, n-k >= 10: p50 from 20 samples on, p99 from 1000, p99.9 from
// 10,000; else it is null. The rule is applied to the pooled samples of all
// runs, and to a run's own for the values of that run.
//
// # Inference
//
// The unit is the run, never the I/O: those of one run are not independent. Runs
// weigh alike, however many commits they have.
//
//   - A cell's value is the average of its runs' values: of percentiles on a log
//     scale, of the mean as it is. Its 95% interval is Student's, on the same
//     scale, from 6 runs on, and never narrower than the histogram's bucket.
//     p99.9 and the extremes are those of the pooled samples, without an interval.
//   - A ratio's interval is that of the runs' log ratios, paired by seed:
//     strategies meet the same arrivals and the same noise, and what they share
//     cancels. Where nothing is shared, as between two documents in real time,
//     it is Welch's. Intervals hold at once for all pairs of durable candidates
//     of the document (Bonferroni's inequality).
//   - The verdict is the interval against a margin of 3%: faster if it lies
//     below 1/1.03, slower above 1.03, equivalent within, else inconclusive.
//     There is no other test: p_adjusted is null.
//   - Where no run differs from another on either side the ratio is exact, and
//     so it is called.
//
// Only strategies that lost nothing may win: no acknowledged commit lost, none
// at risk in the worst legal image, no promise broken. Without power cuts the
// strategy's definition stands in, and the verdict says so. One metric decides,
// p99 unless the plan says otherwise. Cells that are partial, unsustained, not
// settled or have an outlying run take part in no verdict; drift from block to block
// and late replies in real time withhold it.
//
// docs/STATISTICS.md has each rule with its source and its bounds, and how often
// intervals cover and verdicts err, as measured.
//
// # Caveats
//
//   - Intervals cover seeds, not model error.
//   - Null is not observable; it is never 0.
//   - The interval series in intervals.csv has percentiles good to 3%.
//   - A document read back has no interval series, and its distributions at the
//     wire have extremes as near as their buckets tell.
//   - Floating point differs between architectures in the last digit, and with
//     it the bytes of charts and of ratios.
package results
