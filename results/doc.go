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
// A percentile is the nearest rank: the smallest k with k/n >= q, so p99 of 1000
// samples is the 990th. (HdrHistogram for Go and C rounds q*n instead, which
// differs by at most one rank.) It is told only if at least ten samples lie
// beyond it, n-k >= 10: p50 from 20 samples on, p99 from 1000, p99.9 from
// 10,000; else it is null. The rule is applied to the pooled samples of all
// runs, and to a run's own for the values of that run.
//
// # Inference
//
// The unit is the run, never the I/O: those of one run are not independent.
//
//   - Intervals are cluster bootstraps: runs are drawn with replacement, their
//     histograms pooled, the statistic read, 2000 times. Between the quantiles
//     at 0.025 and 0.975 twelve clusters give intervals that are too short, so
//     the tails are narrowed to Phi(-sqrt(n/(n-1)) t(0.975, n-1)): the expanded
//     percentile interval (Hesterberg, "What Teachers Should Know About the
//     Bootstrap", The American Statistician 69:4, 2015). It takes four runs.
//   - A ratio's interval resamples the same runs of both sides, paired by seed:
//     strategies meet the same arrivals and the same noise, and what they share
//     cancels. All cells of a document therefore share their resamples.
//   - The verdict is the interval against a margin of 3%: faster if it lies
//     below 1/1.03, slower above 1.03, equivalent within, else inconclusive.
//     Statistically significant is not the question; "not significant" is not
//     "equal".
//   - Beside it stands p: Wilcoxon's signed-rank test on the runs' log ratios,
//     two-sided and exact by convolution over the ranks, zeros dropped, ties at
//     their mean rank (up to 200 runs; beyond, the normal approximation). Its
//     values are those of each run by nearest rank, whatever the number beyond.
//     Holm's procedure (Scandinavian Journal of Statistics 6, 1979) adjusts it
//     over all comparisons of one metric in the document. With 12 runs the least
//     p is 2/4096, which 24 comparisons still leave at 0.012; with 5 runs it is
//     0.0625 and can never be called significant.
//   - Where no run differs from another on either side the ratio is exact, and
//     so it is called.
//
// Only strategies that lost nothing may win: no acknowledged commit lost, none
// at risk in the worst legal image, no promise broken. Without power cuts the
// strategy's definition stands in, and the verdict says so. The winner is
// sought by p99; where its intervals do not separate the first, by p50, then by
// the mean.
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
