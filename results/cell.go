package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Errors counts what failed. What failed has no latency.
type Errors struct {
	Commit int64 `json:"commit"`
	Op     int64 `json:"op"`
	// Transaction is Commit of a written cell without commits.
	Transaction int64 `json:"transaction,omitempty"`
}

// RunResult is what one run of a cell showed, in compact form. A Recorder makes
// it; the caller adds what the recorder does not see.
type RunResult struct {
	Seed    sim.Seed
	Elapsed sim.Duration // the window's length

	Commit   *Distribution // from due to durable: the response time
	Service  *Distribution // from the first request's submission to durable
	Lag      *Distribution // from due to the first request's submission
	Lateness *Distribution // of a real-time shell; nil in virtual time
	Wire     Wire
	Bytes    uint64 // of reads and writes
	Errors   Errors

	// Stages is the time of all commits by stage; nil where it cannot be seen.
	Stages *devices.Stages
	// Hops is the part of Stages at proxies and behind; nil without proxies.
	Hops *devices.HopTimes
	// Device is what the device counted in the window; nil where it cannot be seen.
	Device *devices.Stats
	// Calls is what the device, a plugin, was called for in the window; nil for others.
	Calls *PluginCalls
	// Durability is what the run's power cuts did; nil where there were none.
	Durability *Durability

	// Load is what the workload counted of arrivals and iterations.
	Load LoadCounts
	// Late is how late a real-time server's replies were; nil where that cannot be
	// seen.
	Late *ReplyLateness

	// Streams are those of a workload that has several.
	Streams []*StreamResult

	Intervals []Interval
	Raw       []RawCommit // every commit, where the recorder was to keep them
	Partial   bool        // the run was interrupted
	Short     bool        // it ended at a bound in time before its commits were done
	Warnings  []string    // reported with the cell, once each

	ops        [numOperations]*Distribution
	mismatches int64
	backwards  int64
}

// LoadCounts are what a run's workload counted in the window.
type LoadCounts struct {
	// Iterations are whole rounds of a closed loop's slots: the transaction, what
	// runs between two, and the pause. IterationTime is their sum.
	Iterations    int64
	IterationTime sim.Duration
	// Arrivals are the transactions of an open loop that were due, Done those that
	// ended, and the backlogs those that were due and not done.
	Arrivals, Done            int64
	BacklogMiddle, BacklogEnd int64
	// Commits are the commits of several streams, some of them open loops, that ended
	// in the window.
	Commits int64
	// Overrun says that the run was stopped because its backlog grew past a bound.
	Overrun bool
}

func (l *LoadCounts) add(o *LoadCounts) {
	l.Iterations += o.Iterations
	l.IterationTime += o.IterationTime
	l.Arrivals += o.Arrivals
	l.Done += o.Done
	l.BacklogMiddle += o.BacklogMiddle
	l.BacklogEnd += o.BacklogEnd
	l.Overrun = l.Overrun || o.Overrun
}

// ReplyLateness is how late a real-time server's replies were, beyond what the
// device's time asks: the worst of a cell's runs.
type ReplyLateness struct {
	P50 sim.Duration `json:"p50_ns"`
	P99 sim.Duration `json:"p99_ns"`
	Max sim.Duration `json:"max_ns"`
}

func (l *ReplyLateness) merge(o *ReplyLateness) {
	l.P50, l.P99, l.Max = max(l.P50, o.P50), max(l.P99, o.P99), max(l.Max, o.Max)
}

// The states of a cell.
const (
	StatusOK          = "ok"
	StatusPartial     = "partial"     // interrupted, at a bound, or runs are missing
	StatusUnsustained = "unsustained" // an open loop that the device does not keep up with
	StatusUnsupported = "unsupported" // the combination cannot be had; Reason says why
	StatusInvalid     = "invalid"     // measured, but not to be used; Reason says why
)

// Advertised is what the export advertised to its client.
type Advertised struct {
	Flush     bool `json:"flush"`
	FUA       bool `json:"fua"`
	MultiConn bool `json:"multi_conn"`
}

// Ops is the latency of requests at the wire, by kind.
type Ops struct {
	Read        *Latency `json:"read"`
	Write       *Latency `json:"write"`
	WriteFUA    *Latency `json:"write_fua"`
	Flush       *Latency `json:"flush"`
	Trim        *Latency `json:"trim"`
	WriteZeroes *Latency `json:"write_zeroes"`
	// All are the transactions of a written cell without commits, from when they were due.
	All *Latency `json:"all,omitempty"`
}

// Rates are counts over time. IOPS counts reads, writes, trims and
// write-zeroes, not flushes; bytes are those of reads and writes.
type Rates struct {
	Commits float64 `json:"commits_per_s"`
	IOPS    float64 `json:"iops"`
	Bytes   float64 `json:"bytes_per_s"`
	Ops     float64 `json:"ops_per_s,omitempty"` // Commits of a written cell without commits

	over float64 // seconds
}

// Breakdown is the mean time of a commit by stage. It sums exactly to the mean.
type Breakdown struct {
	ClientQueue int64 `json:"client_queue"`
	Link        int64 `json:"link"`
	ServerQueue int64 `json:"server_queue"`
	DeviceQueue int64 `json:"device_queue"`
	Cache       int64 `json:"cache"`
	Media       int64 `json:"media"`
	FlushOthers int64 `json:"flush_others"`
	// Hops are the proxies, from the client on; the stages are then those of the client,
	// of the link between the last proxy and the server, and of the server and the device.
	Hops []HopBreakdown `json:"hops,omitempty"`
}

// HopBreakdown is the mean time of a commit at one proxy.
type HopBreakdown struct {
	ClientQueue int64 `json:"client_queue"` // before a request is sent to the next server
	Link        int64 `json:"link"`         // between the proxy and who is before it
	ServerQueue int64 `json:"server_queue"`
}

func (h *HopBreakdown) total() int64 { return h.ClientQueue + h.Link + h.ServerQueue }

// numParts counts the stages, and all proxies together.
const numParts = int(devices.NumStages) + 1

func (b *Breakdown) values() [numParts]int64 {
	v := [numParts]int64{b.ClientQueue, b.Link, b.ServerQueue, b.DeviceQueue, b.Cache, b.Media, b.FlushOthers}
	for i := range b.Hops {
		v[numParts-1] += b.Hops[i].total()
	}
	return v
}

// Span is an interval, from its lower to its upper end.
type Span [2]int64

// CI95 holds the 95% intervals of a cell's statistics, in ns; null where the
// statistic is null or there are too few runs.
type CI95 struct {
	Mean *Span `json:"commit.mean"`
	P50  *Span `json:"commit.p50"`
	P90  *Span `json:"commit.p90"`
	P99  *Span `json:"commit.p99"`
	// The same of a written cell without commits.
	OpsMean *Span `json:"ops.mean,omitempty"`
	OpsP50  *Span `json:"ops.p50,omitempty"`
	OpsP90  *Span `json:"ops.p90,omitempty"`
	OpsP99  *Span `json:"ops.p99,omitempty"`
}

// PerRun is one run of a cell.
type PerRun struct {
	Seed    sim.Seed     `json:"seed"`
	Elapsed sim.Duration `json:"elapsed_ns"`
	Partial bool         `json:"partial"`
	Commit  *Latency     `json:"commit"`
	// CommitSum is the sum of the commits' latencies, exactly.
	CommitSum uint64 `json:"commit_sum_ns"`
	Rates     *Rates `json:"rates"`
	// Ops and OpsSum are Commit and CommitSum of a written cell without commits.
	Ops    *Latency `json:"ops,omitempty"`
	OpsSum uint64   `json:"ops_sum_ns,omitempty"`
}

// CellHop is a proxy between client and server.
type CellHop struct {
	Link     string `json:"link"` // that it is reached by
	Strategy string `json:"strategy"`
}

// CellConfig says what a cell is.
type CellConfig struct {
	ID          string // device/workload/strategy, and At
	At          At
	Device      string
	Workload    string
	Strategy    string
	Clock       string // virtual or real
	Link        string
	QueueDepth  int
	Connections int
	Runs        int // planned
	Commits     uint64
	Arrival     string  // closed, constant, poisson, bursts or mixed
	Offered     float64 // rate of an open loop
	// Settled says whether the device had settled when the window opened: true,
	// false, or CleanDevice; nil where that is not known, as in real time.
	Settled    any
	NotSettled string // why Settled is false
	Warmup     sim.Duration
	// PhaseWarmups are those of a workload's phases where they differ, else nil.
	PhaseWarmups []sim.Duration
	// Durable says that by its definition the strategy makes an acknowledged
	// commit durable on this device; WhoDurable who does it: "device, per write".
	Durable    bool
	WhoDurable string
	// NoCommits says that the workload makes nothing durable: its transactions are
	// compared as operations, and nothing is said of durability.
	NoCommits  bool
	Advertised *Advertised
	// Hops are the proxies between client and server.
	Hops []CellHop
	// Storage says that the device is the host's storage, whose power is not cut.
	Storage bool
	// Parallelism is the parameter that says how many requests the device serves at
	// once, where it is an estimate that is not varied.
	Parallelism string
}

// Cell is one device under one workload with one strategy, over all its runs:
// an element of the run document, and the runs' distributions beside it. Make
// it with NewCell and fill it with Add; Run.Finish computes the rest.
type Cell struct {
	ID         string `json:"id"`
	At         At     `json:"at,omitempty"` // of a sweep alone
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	Device     string `json:"device"`
	Workload   string `json:"workload"`
	Strategy   string `json:"strategy"`
	Durable    bool   `json:"durable"`
	WhoDurable string `json:"who_durable"`
	// NoCommits says that Commit has transactions which make nothing durable. As
	// written they are in Ops.All, and Commit is null.
	NoCommits   bool         `json:"no_commits,omitempty"`
	Clock       string       `json:"clock"`
	Link        string       `json:"link"`
	Hops        []CellHop    `json:"hops,omitempty"` // proxies between client and server
	QueueDepth  int          `json:"queue_depth"`
	Connections int          `json:"connections"`
	Runs        int          `json:"runs"`
	Arrival     string       `json:"arrival"`
	Offered     *float64     `json:"offered_per_s"`  // null for a closed loop
	Achieved    *float64     `json:"achieved_per_s"` // likewise
	Warmup      sim.Duration `json:"warmup_ns"`
	// PhaseWarmups are those of a workload's phases where they differ; Warmup is the longest.
	PhaseWarmups []sim.Duration `json:"phase_warmups_ns,omitempty"`
	Settled      any            `json:"settled"` // true, false, CleanDevice or null
	Elapsed      sim.Duration   `json:"elapsed_ns"`
	Advertised   *Advertised    `json:"advertised"`
	Commit       *Latency       `json:"commit"`
	CI95         *CI95          `json:"ci95"`
	Ops          *Ops           `json:"ops"`
	Service      *Latency       `json:"service"` // null for a closed loop, where it is commit
	Lag          *Latency       `json:"lag"`
	Lateness     *Latency       `json:"lateness"`
	Late         *ReplyLateness `json:"reply_lateness"`
	// Little is the rate of commits times the mean of whole iterations, over the
	// queue depth; 1 by Little's law. Null but for a closed loop with enough of them.
	Little *float64 `json:"littles_law"`
	// Outliers are the runs, from 0, that differ so much from the others that the
	// intervals cannot be trusted.
	Outliers    []int          `json:"outliers"`
	Rates       *Rates         `json:"rates"`
	Wire        *Wire          `json:"wire"`
	Errors      *Errors        `json:"errors"`
	Stats       *devices.Stats `json:"device_stats"`
	PluginCalls *PluginCalls   `json:"plugin_calls,omitempty"` // only of a plugin
	BreakdownNS *Breakdown     `json:"breakdown_ns"`
	Durability  *Durability    `json:"durability"`
	PerRun      []PerRun       `json:"per_run"`
	// Streams are those of a workload that has several, in its order.
	Streams  []*CellStream `json:"streams,omitempty"`
	Warnings []string      `json:"warnings"`
	// Storage is true where the device is the host's storage. Sent is what the kernel
	// sent to its disk in a pass of its own; null where that is not known.
	Storage bool  `json:"storage,omitempty"`
	Sent    *Sent `json:"sent,omitempty"`

	planned    int
	commits    uint64 // planned for each run; 0 is no such bound
	notSettled string
	parallel   string // CellConfig.Parallelism
	runs       []*RunResult
}

// CleanDevice is what Settled says of a cell that was measured without a warm-up.
const CleanDevice = "clean-device"

// NewCell returns a cell without runs.
func NewCell(c CellConfig) *Cell {
	if c.NoCommits {
		c.WhoDurable = ""
	}
	return &Cell{
		NoCommits: c.NoCommits,
		ID:        c.ID, At: c.At, Status: StatusOK, Device: c.Device, Workload: c.Workload, Strategy: c.Strategy,
		Durable: c.Durable, WhoDurable: c.WhoDurable, Clock: c.Clock, Link: c.Link, Hops: c.Hops,
		QueueDepth: c.QueueDepth, Connections: c.Connections, Advertised: c.Advertised,
		Arrival: cmp.Or(c.Arrival, arrivalClosed), Settled: c.Settled, Warmup: c.Warmup, PhaseWarmups: c.PhaseWarmups,
		PerRun: []PerRun{}, Warnings: []string{}, Outliers: []int{},
		Storage: c.Storage, planned: c.Runs, commits: c.Commits, notSettled: c.NotSettled, parallel: c.Parallelism,
	}
}

// arrivalClosed is the arrival process in which the end of one transaction makes
// the next one due.
const arrivalClosed = "closed"

// open reports whether transactions of the cell are due by the clock.
func (c *Cell) open() bool { return c.Arrival != arrivalClosed }

// Add takes in one run. Runs are to be added in their order, on whatever cores
// they were computed, so that the result is the same each time.
func (c *Cell) Add(r *RunResult) {
	if len(c.runs) > 0 { // a heat map is of the first
		for i := range r.Intervals {
			r.Intervals[i].Latencies = nil
		}
	}
	c.runs = append(c.runs, r)
}

// Unsupported marks the cell as one that cannot be had.
func (c *Cell) Unsupported(reason string) { c.Status, c.Reason = StatusUnsupported, reason }

// Invalid marks the cell as measured but not to be used.
func (c *Cell) Invalid(reason string) { c.Status, c.Reason = StatusInvalid, reason }

// Partial marks the cell as interrupted.
func (c *Cell) Partial(reason string) { c.Status, c.Reason = StatusPartial, reason }

// Warn adds a warning, once.
func (c *Cell) Warn(format string, args ...any) {
	w := fmt.Sprintf(format, args...)
	if !slices.Contains(c.Warnings, w) {
		c.Warnings = append(c.Warnings, w)
	}
}

// usable reports whether the cell's figures may be printed.
func (c *Cell) usable() bool {
	switch c.Status {
	case StatusOK, StatusPartial, StatusUnsustained:
		return c.Commit != nil && c.Commit.Count > 0
	}
	return false
}

// safe reports whether the cell lost nothing in its cuts, or, where there were
// none, whether it makes commits durable by definition. Without commits there is
// nothing to lose.
func (c *Cell) safe() bool {
	if c.NoCommits {
		return true
	}
	if c.Durability.Measured() {
		return c.Durability.LostNothing()
	}
	return c.Durable
}

// summarise computes the cell's figures from its runs. Outliers are sought in
// the metric that decides.
func (c *Cell) summarise(decide metric) {
	c.Runs = len(c.runs)
	if c.Status == StatusUnsupported || len(c.runs) == 0 {
		c.markEmpty()
		return
	}
	c.poolTimes()
	c.poolCounters()
	c.estimate()
	c.poolObserved()
	for _, r := range c.runs {
		c.PerRun = append(c.PerRun, PerRun{
			Seed: r.Seed, Elapsed: r.Elapsed, Partial: r.Partial || r.Short,
			Commit: r.Commit.Latency(), CommitSum: r.Commit.Sum(), Rates: r.rates(c.open()),
		})
	}
	c.Outliers = append(c.Outliers, c.findOutliers(decide)...)
	if why := lossTrend(c.runs); why != "" && c.Settled != CleanDevice {
		c.Settled, c.notSettled = false, why
	}
	c.markUnsustained()
	c.markPartial()
	c.warnings(decide)
}

// findOutliers are the outlying runs by their place among all runs.
func (c *Cell) findOutliers(m metric) (out []int) {
	var with []int // runs that have commits
	for i, r := range c.runs {
		if r.Commit.Count() > 0 {
			with = append(with, i)
		}
	}
	for _, i := range outliersOf(c.figures(m, c.seeds())) {
		out = append(out, with[i])
	}
	return out
}

func (c *Cell) markEmpty() {
	if c.Status == StatusOK {
		c.Partial("no run finished")
	}
}

const (
	// minSustained is the share of an open loop's arrivals in the window that must
	// be completed in it.
	minSustained = 0.99
	// minIterations is how many commits each slot must have for Little's law to be
	// checked, and maxLittle how far from 1 it may be.
	minIterations = 100
	maxLittle     = 0.01
)

// markUnsustained marks an open loop whose device did not keep up: less than 99%
// of what was due in the window was done in it, while the backlog grew beyond
// what is in progress.
func (c *Cell) markUnsustained() {
	if c.Status != StatusOK || !c.open() || c.Offered == nil {
		return
	}
	if l := c.load(); !l.sustained(int64(c.QueueDepth * c.Runs)) {
		c.Status = StatusUnsustained
		c.Reason = fmt.Sprintf("%s were due in the window and %s done: the device does not keep up, and latency grows as long as the run lasts",
			formatCount(l.Arrivals), formatCount(l.Done))
	}
}

func (c *Cell) load() (sum LoadCounts) {
	for _, r := range c.runs {
		sum.add(&r.Load)
	}
	return sum
}

func (c *Cell) markPartial() {
	if c.Status != StatusOK {
		return
	}
	cut, short, fewest := 0, 0, int64(math.MaxInt64)
	for _, r := range c.runs {
		switch {
		case r.Partial:
			cut++
		case r.Short:
			short++
			fewest = min(fewest, r.Commit.Count()+r.Errors.Commit)
		}
	}
	switch {
	case c.Runs < c.planned:
		c.Partial(fmt.Sprintf("%d of %d runs finished", c.Runs-cut, c.planned))
	case cut > 0:
		c.Partial(fmt.Sprintf("%d of %d runs were interrupted", cut, c.Runs))
	case short > 0:
		c.Partial(fmt.Sprintf("%d of %d runs reached their bound in time before their %s %s were done, one with %s",
			short, c.Runs, formatCount(int64(c.commits)), c.noun().many, formatCount(fewest)))
	}
}

// pool merges one distribution of every run.
func (c *Cell) pool(of func(r *RunResult) *Distribution) *Distribution {
	parts := make([]*Distribution, len(c.runs))
	for i, r := range c.runs {
		parts[i] = of(r)
	}
	return Merge(parts...)
}

func (c *Cell) poolTimes() {
	c.Commit = c.pool(func(r *RunResult) *Distribution { return r.Commit }).Latency()
	if c.open() {
		c.Service = c.pool(func(r *RunResult) *Distribution { return r.Service }).Latency()
	}
	c.Lag = c.pool(func(r *RunResult) *Distribution { return r.Lag }).Latency()
	if late := c.pool(func(r *RunResult) *Distribution { return r.Lateness }); late.Count() > 0 {
		c.Lateness = late.Latency()
	}
	c.Ops = opsOf(func(o operation) *Distribution {
		return c.pool(func(r *RunResult) *Distribution { return r.ops[o] })
	})
	c.poolStreams()
}

func (c *Cell) poolCounters() {
	c.Wire, c.Errors = new(Wire), new(Errors)
	var rates []Rates
	for _, r := range c.runs {
		c.Wire.Add(r.Wire)
		c.Errors.Commit += r.Errors.Commit
		c.Errors.Op += r.Errors.Op
		c.Elapsed += r.Elapsed
		if one := r.rates(c.open()); one != nil {
			rates = append(rates, *one)
		}
		if r.Late != nil {
			if c.Late == nil {
				c.Late = new(ReplyLateness)
			}
			c.Late.merge(r.Late)
		}
	}
	c.Rates = meanRates(rates, c.Elapsed)
	c.countLoad()
}

// countLoad derives what the workload's counts say.
func (c *Cell) countLoad() {
	l := c.load()
	if c.Elapsed <= 0 {
		return
	}
	if s := c.Elapsed.Seconds(); c.open() && l.Arrivals > 0 {
		c.Offered, c.Achieved = new(float64(l.Arrivals)/s), new(float64(l.Done)/s)
	}
	if slots := int64(c.QueueDepth); l.Iterations >= minIterations*slots*int64(c.Runs) && c.Link != LinkKernel {
		mean := l.IterationTime.Seconds() / float64(l.Iterations)
		rate := float64(c.Commit.Count+c.Errors.Commit) / c.Elapsed.Seconds()
		c.Little = new(rate * mean / float64(slots))
	}
}

// meanRates averages the runs' rates over time: the sum of counts over the sum
// of windows, which gives runs of one length one weight.
func meanRates(rates []Rates, elapsed sim.Duration) *Rates {
	if len(rates) == 0 || elapsed <= 0 {
		return nil
	}
	var sum Rates
	for _, r := range rates {
		sum.Commits += r.Commits * r.over
		sum.IOPS += r.IOPS * r.over
		sum.Bytes += r.Bytes * r.over
	}
	s := elapsed.Seconds()
	return &Rates{Commits: sum.Commits / s, IOPS: sum.IOPS / s, Bytes: sum.Bytes / s}
}

// rates divides a run's counts by its window's length; without one there is no
// rate. A closed loop's commits are those that were due in the window. An open
// loop's are those that were done in it: what is due says nothing of the device.
func (r *RunResult) rates(open bool) *Rates {
	if r.Elapsed <= 0 {
		return nil
	}
	s, w := r.Elapsed.Seconds(), &r.Wire
	commits := r.Commit.Count()
	switch {
	case open && r.Load.Arrivals > 0 && len(r.Streams) > 0:
		commits = r.Load.Commits
	case open && r.Load.Arrivals > 0:
		commits = r.Load.Done
	}
	return &Rates{Commits: float64(commits) / s, IOPS: float64(w.ios()) / s, Bytes: float64(r.Bytes) / s, over: s}
}

// RateInterval is the 95% interval over runs of one of the cell's rates; nil with
// fewer runs than an interval needs. Runs of one length are averaged by their
// rates, runs of one number of commits by the time that one takes.
func (c *Cell) RateInterval(get func(*Rates) float64) *Ratio {
	var rates, times []figure
	same := true
	for i := range c.PerRun {
		p := &c.PerRun[i]
		if p.Rates == nil || get(p.Rates) <= 0 {
			return nil
		}
		same = same && p.Elapsed == c.PerRun[0].Elapsed
		v := get(p.Rates)
		rates, times = append(rates, figure{v, v}), append(times, figure{1 / v, 1 / v})
	}
	if len(rates) < minRuns {
		return nil
	}
	if same {
		return (*Ratio)(estimateOf(rates, metricMean).span)
	}
	span := estimateOf(times, metricMean).span
	if span[0] <= 0 {
		return nil
	}
	return &Ratio{1 / span[1], 1 / span[0]}
}

// estimate replaces the pooled mean and percentiles by the averages over runs,
// where the pooled samples suffice for the percentile, and adds their intervals.
func (c *Cell) estimate() {
	if c.Commit.Count == 0 {
		return
	}
	c.CI95 = new(CI95)
	for m, at := range [numMetrics]struct {
		value **int64
		span  **Span
	}{
		metricMean: {&c.Commit.Mean, &c.CI95.Mean}, metricP50: {&c.Commit.P50, &c.CI95.P50},
		metricP90: {&c.Commit.P90, &c.CI95.P90}, metricP99: {&c.Commit.P99, &c.CI95.P99},
	} {
		m := metric(m)
		if *at.value == nil {
			continue
		}
		e := estimateOf(c.figures(m, c.seeds()), m)
		*at.value = new(int64(math.Round(e.value)))
		if e.span != nil {
			*at.span = &Span{int64(math.Floor(e.span[0])), int64(math.Ceil(e.span[1]))}
		}
	}
}

// Known reports whether a metric of the cell has its ten samples beyond, and an
// interval whose half is at most that part of the value. A cell that cannot be had
// is known. It is for a cell that is not finished.
func (c *Cell) Known(name string, half float64) bool {
	m := metricOf(name)
	if m < 0 || c.Status != StatusOK || len(c.runs) == 0 {
		return true
	}
	if q := metricQuantiles[m]; q > 0 && !q.reportable(c.pool(func(r *RunResult) *Distribution { return r.Commit }).Count()) {
		return false
	}
	e := estimateOf(c.figures(m, c.seeds()), m)
	return e.within(half)
}

// seeds are the seeds of the cell's runs that have commits.
func (c *Cell) seeds() []sim.Seed {
	var out []sim.Seed
	for _, r := range c.runs {
		if r.Commit.Count() > 0 {
			out = append(out, r.Seed)
		}
	}
	return out
}

// figures are a metric of the runs with the given seeds.
func (c *Cell) figures(m metric, seeds []sim.Seed) []figure {
	var out []figure
	for _, s := range seeds {
		i := slices.IndexFunc(c.runs, func(r *RunResult) bool { return r.Seed == s && r.Commit.Count() > 0 })
		out = append(out, figureOf(c.runs[i].Commit, m))
	}
	return out
}

// at is the cell's value of a metric, or nil.
func (c *Cell) at(m metric) *int64 {
	if c.Commit == nil {
		return nil
	}
	return [numMetrics]*int64{c.Commit.Mean, c.Commit.P50, c.Commit.P90, c.Commit.P99}[m]
}

// poolObserved sums what may not be observable; it is null unless every run
// could see it.
func (c *Cell) poolObserved() {
	stats, calls, durability := new(devices.Stats), new(PluginCalls), new(Durability)
	seenStages, seenStats, seenCalls, seenCuts := true, true, true, true
	for _, r := range c.runs {
		seenStages = seenStages && r.Stages != nil
		if seenStats = seenStats && r.Device != nil; seenStats {
			stats.Add(*r.Device)
		}
		if seenCalls = seenCalls && r.Calls != nil; seenCalls {
			calls.add(r.Calls)
		}
		if seenCuts = seenCuts && r.Durability != nil; seenCuts {
			durability.Merge(r.Durability)
		}
	}
	if seenStages && c.Commit.Count > 0 {
		c.BreakdownNS = c.breakdown()
	}
	if seenStats {
		c.Stats = stats
	}
	if seenCalls {
		c.PluginCalls = calls
	}
	if seenCuts {
		c.Durability = durability
	}
}

// maxLateShare is how large a share of the median commit the lateness of a
// real-time shell may have at its p99.
const maxLateShare = 0.10

// warnings says what a reader must know before believing the cell.
func (c *Cell) warnings(decide metric) {
	var mismatches, backwards int64
	for _, r := range c.runs {
		mismatches += r.mismatches
		backwards += r.backwards
		for _, w := range r.Warnings {
			c.Warn("%s", w)
		}
	}
	if mismatches > 0 {
		c.Warn("%d of %d %s: the stages do not sum to the latency", mismatches, c.Commit.Count, c.noun().many)
	}
	if backwards > 0 {
		c.Warn("%d intervals ended before they began and count as 0", backwards)
	}
	if n := c.Errors.Commit; n > 0 {
		c.Warn("%d %s failed and have no latency", n, c.noun().many)
	}
	if n := c.Errors.Op; n > 0 {
		c.Warn("%d requests failed and have no latency", n)
	}
	if n := c.Commit.Overflow; n > 0 {
		c.Warn("%d %s took longer than 1 h and count as 1 h in percentiles", n, c.noun().many)
	}
	c.warnSample(decide)
	c.warnLate()
}

// warnSample says what is wrong with the runs as a sample.
func (c *Cell) warnSample(decide metric) {
	if c.Commit.Count == 0 {
		c.Warn("no %s was due in the window and acknowledged", c.noun().one)
	} else if c.Commit.P99 == nil {
		c.Warn("p99 needs at least 1000 %s, there are %d", c.noun().many, c.Commit.Count)
	}
	if n := c.Runs; n < minRuns {
		c.Warn("%d runs: an interval over runs needs at least %d", n, minRuns)
	}
	if c.Settled == false {
		c.Warn("the device had not settled: %s", c.notSettled)
	}
	if x := c.Little; x != nil && math.Abs(*x-1) > maxLittle {
		c.Warn("rate times mean round is %.3f of the queue depth, where Little's law says 1: the window is too short for this load", *x)
	}
	for _, i := range c.Outliers {
		c.Warn("run %d (seed %d) is an outlier: its %s is %s, where the median run has %s; no interval from %d runs covers what is so rare",
			i+1, uint64(c.runs[i].Seed), shortMetric(metricNames[decide]), formatNS(c.figureNS(i, decide)), formatNS(c.medianNS(decide)), c.Runs)
	}
}

func (c *Cell) figureNS(run int, m metric) int64 {
	return int64(figureOf(c.runs[run].Commit, m).value)
}

func (c *Cell) medianNS(m metric) int64 {
	var all []float64
	for _, f := range c.figures(m, c.seeds()) {
		all = append(all, f.value)
	}
	return int64(median(all))
}

// warnLate says how late a real-time shell was, on both sides of the socket.
func (c *Cell) warnLate() {
	if l := c.Late; l != nil {
		c.Warn("replies late by: p50 below %v, p99 below %v, at most %v", rough(l.P50), rough(l.P99), rough(l.Max))
	}
	if c.Lateness == nil || c.Lateness.P99 == nil || c.Commit.P50 == nil {
		return
	}
	if late, median := *c.Lateness.P99, *c.Commit.P50; float64(late) > maxLateShare*float64(median) {
		c.Warn("the host was late: p99 %s, more than %.0f%% of the median %s (%s)",
			formatNS(late), 100*maxLateShare, c.noun().one, formatNS(median))
	}
}

// rough rounds to two significant digits.
func rough(d sim.Duration) sim.Duration {
	unit := sim.Duration(1)
	for ; d >= 100*unit; unit *= 10 {
	}
	return d.Round(unit)
}
