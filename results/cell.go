package results

import (
	"fmt"
	"slices"

	"nbdbench/devices"
	"nbdbench/sim"
)

// Errors counts what failed. What failed has no latency.
type Errors struct {
	Commit int64 `json:"commit"`
	Op     int64 `json:"op"`
}

// RunResult is what one run of a cell showed, in compact form. A Recorder makes
// it; the caller adds what the recorder does not see.
type RunResult struct {
	Seed    sim.Seed
	Elapsed sim.Duration // the window's length

	Commit   *Distribution // from due to durable
	Lag      *Distribution // from due to the first request's submission
	Lateness *Distribution // of a real-time shell; nil in virtual time
	Wire     Wire
	Bytes    uint64 // of reads and writes
	Errors   Errors

	// Stages is the time of all commits by stage; nil where it cannot be seen.
	Stages *devices.Stages
	// Device is what the device counted in the window; nil where it cannot be seen.
	Device *devices.Stats
	// Durability is what the run's power cuts did; nil where there were none.
	Durability *Durability

	Intervals []Interval
	Partial   bool     // the run was interrupted
	Warnings  []string // told with the cell, once each

	ops        [numOperations]*Distribution
	mismatches int64
	backwards  int64
}

// The states of a cell.
const (
	StatusOK          = "ok"
	StatusPartial     = "partial"     // interrupted, or runs are missing
	StatusUnsupported = "unsupported" // the combination cannot be had; Reason says why
	StatusInvalid     = "invalid"     // measured, but not to be used; Reason says why
)

// Advertised is what the export told its client.
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
}

// Rates are counts over time. IOPS counts reads, writes, trims and
// write-zeroes, not flushes; bytes are those of reads and writes.
type Rates struct {
	Commits float64 `json:"commits_per_s"`
	IOPS    float64 `json:"iops"`
	Bytes   float64 `json:"bytes_per_s"`
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
}

func (b *Breakdown) values() [devices.NumStages]int64 {
	return [devices.NumStages]int64{b.ClientQueue, b.Link, b.ServerQueue, b.DeviceQueue, b.Cache, b.Media, b.FlushOthers}
}

// Span is an interval, from its lower to its upper end.
type Span [2]int64

// CI95 holds the 95% intervals of a cell's statistics, in ns; null where the
// statistic is null or there are too few runs.
type CI95 struct {
	Mean *Span `json:"commit.mean"`
	P50  *Span `json:"commit.p50"`
	P99  *Span `json:"commit.p99"`
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
}

// CellConfig says what a cell is.
type CellConfig struct {
	ID          string // device/workload/strategy
	Device      string
	Workload    string
	Strategy    string
	Clock       string // virtual or real
	Link        string
	QueueDepth  int
	Connections int
	Runs        int // planned
	// Durable says that by its definition the strategy makes an acknowledged
	// commit durable on this device; WhoDurable who does it: "device, per write".
	Durable    bool
	WhoDurable string
	Advertised *Advertised
}

// Cell is one device under one workload with one strategy, over all its runs:
// an element of the run document, and the runs' distributions beside it. Make
// it with NewCell and fill it with Add; Run.Finish computes the rest.
type Cell struct {
	ID          string         `json:"id"`
	Status      string         `json:"status"`
	Reason      string         `json:"reason"`
	Device      string         `json:"device"`
	Workload    string         `json:"workload"`
	Strategy    string         `json:"strategy"`
	Durable     bool           `json:"durable"`
	WhoDurable  string         `json:"who_durable"`
	Clock       string         `json:"clock"`
	Link        string         `json:"link"`
	QueueDepth  int            `json:"queue_depth"`
	Connections int            `json:"connections"`
	Runs        int            `json:"runs"`
	Elapsed     sim.Duration   `json:"elapsed_ns"`
	Advertised  *Advertised    `json:"advertised"`
	Commit      *Latency       `json:"commit"`
	CI95        *CI95          `json:"ci95"`
	Ops         *Ops           `json:"ops"`
	Lag         *Latency       `json:"lag"`
	Lateness    *Latency       `json:"lateness"`
	Rates       *Rates         `json:"rates"`
	Wire        *Wire          `json:"wire"`
	Errors      *Errors        `json:"errors"`
	Stats       *devices.Stats `json:"device_stats"`
	BreakdownNS *Breakdown     `json:"breakdown_ns"`
	Durability  *Durability    `json:"durability"`
	PerRun      []PerRun       `json:"per_run"`
	Warnings    []string       `json:"warnings"`

	planned int
	runs    []*RunResult
	sample  *sample
}

// NewCell returns a cell without runs.
func NewCell(c CellConfig) *Cell {
	return &Cell{
		ID: c.ID, Status: StatusOK, Device: c.Device, Workload: c.Workload, Strategy: c.Strategy,
		Durable: c.Durable, WhoDurable: c.WhoDurable, Clock: c.Clock, Link: c.Link,
		QueueDepth: c.QueueDepth, Connections: c.Connections, Advertised: c.Advertised,
		PerRun: []PerRun{}, Warnings: []string{}, planned: c.Runs,
	}
}

// Add takes in one run. Runs are to be added in their order, on whatever cores
// they were computed, so that the result is the same each time.
func (c *Cell) Add(r *RunResult) { c.runs = append(c.runs, r) }

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

// usable reports whether the cell's figures may be compared.
func (c *Cell) usable() bool {
	return (c.Status == StatusOK || c.Status == StatusPartial) && c.Commit != nil && c.Commit.Count > 0
}

// safe reports whether the cell lost nothing in its cuts, or, where there were
// none, whether it makes commits durable by definition.
func (c *Cell) safe() bool {
	if c.Durability.Measured() {
		return c.Durability.LostNothing()
	}
	return c.Durable
}

// summarise computes the cell's figures from its runs.
func (c *Cell) summarise() {
	c.Runs = len(c.runs)
	if c.Status == StatusUnsupported || len(c.runs) == 0 {
		c.markEmpty()
		return
	}
	c.poolTimes()
	c.poolCounters()
	c.poolObserved()
	for _, r := range c.runs {
		c.PerRun = append(c.PerRun, PerRun{
			Seed: r.Seed, Elapsed: r.Elapsed, Partial: r.Partial,
			Commit: r.Commit.Latency(), CommitSum: r.Commit.Sum(), Rates: ratesOf(r.Commit.Count(), r.Wire, r.Bytes, r.Elapsed),
		})
	}
	c.markPartial()
	c.warnings()
}

func (c *Cell) markEmpty() {
	if c.Status == StatusOK {
		c.Partial("no run finished")
	}
}

func (c *Cell) markPartial() {
	if c.Status != StatusOK {
		return
	}
	cut := 0
	for _, r := range c.runs {
		if r.Partial {
			cut++
		}
	}
	switch {
	case c.Runs < c.planned:
		c.Partial(fmt.Sprintf("%d of %d runs finished", c.Runs-cut, c.planned))
	case cut > 0:
		c.Partial(fmt.Sprintf("%d of %d runs were interrupted", cut, c.Runs))
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
	op := func(o operation) *Latency {
		return c.pool(func(r *RunResult) *Distribution { return r.ops[o] }).Latency()
	}
	c.Commit = c.pool(func(r *RunResult) *Distribution { return r.Commit }).Latency()
	c.Lag = c.pool(func(r *RunResult) *Distribution { return r.Lag }).Latency()
	if late := c.pool(func(r *RunResult) *Distribution { return r.Lateness }); late.Count() > 0 {
		c.Lateness = late.Latency()
	}
	c.Ops = &Ops{
		Read: op(opRead), Write: op(opWrite), WriteFUA: op(opWriteFUA),
		Flush: op(opFlush), Trim: op(opTrim), WriteZeroes: op(opZeroes),
	}
}

func (c *Cell) poolCounters() {
	c.Wire, c.Errors = new(Wire), new(Errors)
	var bytes uint64
	for _, r := range c.runs {
		c.Wire.add(r.Wire)
		c.Errors.Commit += r.Errors.Commit
		c.Errors.Op += r.Errors.Op
		c.Elapsed += r.Elapsed
		bytes += r.Bytes
	}
	c.Rates = ratesOf(c.Commit.Count, *c.Wire, bytes, c.Elapsed)
}

// ratesOf divides by the window's length; without one there is no rate.
func ratesOf(commits int64, w Wire, bytes uint64, elapsed sim.Duration) *Rates {
	if elapsed <= 0 {
		return nil
	}
	s := elapsed.Seconds()
	ios := w.Read + w.Write + w.WriteFUA + w.Trim + w.TrimFUA + w.WriteZeroes + w.WriteZeroesFUA
	return &Rates{Commits: float64(commits) / s, IOPS: float64(ios) / s, Bytes: float64(bytes) / s}
}

// poolObserved sums what may not be observable; it is null unless every run
// could see it.
func (c *Cell) poolObserved() {
	var stages devices.Stages
	stats, durability := new(devices.Stats), new(Durability)
	seenStages, seenStats, seenCuts := true, true, true
	for _, r := range c.runs {
		if seenStages = seenStages && r.Stages != nil; seenStages {
			stages.Add(r.Stages)
		}
		if seenStats = seenStats && r.Device != nil; seenStats {
			stats.Add(*r.Device)
		}
		if seenCuts = seenCuts && r.Durability != nil; seenCuts {
			durability.Merge(r.Durability)
		}
	}
	if seenStages && c.Commit.Count > 0 {
		c.BreakdownNS = breakdownOf(stages, c.Commit)
	}
	if seenStats {
		c.Stats = stats
	}
	if seenCuts {
		c.Durability = durability
	}
}

// breakdownOf divides the stages' sums by the number of commits. The parts are
// rounded by largest remainder, so that they sum exactly to the mean. Sums that
// do not add up to the commits' own give no breakdown.
func breakdownOf(s devices.Stages, commit *Latency) *Breakdown {
	var part, rest [devices.NumStages]int64
	left := *commit.Mean
	for i, d := range s {
		part[i], rest[i] = int64(d)/commit.Count, int64(d)%commit.Count
		left -= part[i]
	}
	if left < 0 || left > int64(len(part)) {
		return nil
	}
	for ; left > 0; left-- {
		best := 0
		for i := range rest {
			if rest[i] > rest[best] {
				best = i
			}
		}
		part[best]++
		rest[best] = -1
	}
	return &Breakdown{
		ClientQueue: part[devices.ClientQueue], Link: part[devices.Wire], ServerQueue: part[devices.ServerQueue],
		DeviceQueue: part[devices.DeviceQueue], Cache: part[devices.CacheStage],
		Media: part[devices.MediaStage], FlushOthers: part[devices.FlushOthers],
	}
}

// maxLateShare is how large a share of the median commit the lateness of a
// real-time shell may have at its p99.
const maxLateShare = 0.10

// warnings says what a reader must know before believing the cell.
func (c *Cell) warnings() {
	var mismatches, backwards int64
	for _, r := range c.runs {
		mismatches += r.mismatches
		backwards += r.backwards
		for _, w := range r.Warnings {
			c.Warn("%s", w)
		}
	}
	if c.Commit.Count == 0 {
		c.Warn("no commit was due in the window and acknowledged")
	} else if c.Commit.P99 == nil {
		c.Warn("p99 needs at least 1000 commits, there are %d", c.Commit.Count)
	}
	if mismatches > 0 {
		c.Warn("%d of %d commits: the stages do not sum to the latency", mismatches, c.Commit.Count)
	}
	if backwards > 0 {
		c.Warn("%d intervals ended before they began and count as 0", backwards)
	}
	if n := c.Errors.Commit; n > 0 {
		c.Warn("%d commits failed and have no latency", n)
	}
	if n := c.Errors.Op; n > 0 {
		c.Warn("%d requests failed and have no latency", n)
	}
	if n := c.Commit.Overflow; n > 0 {
		c.Warn("%d commits took longer than 1 h and count as 1 h in percentiles", n)
	}
	if n := c.Runs; n < minRuns {
		c.Warn("%d runs: an interval over runs needs at least %d", n, minRuns)
	}
	c.warnLate()
}

func (c *Cell) warnLate() {
	if c.Lateness == nil || c.Lateness.P99 == nil || c.Commit.P50 == nil {
		return
	}
	if late, median := *c.Lateness.P99, *c.Commit.P50; float64(late) > maxLateShare*float64(median) {
		c.Warn("the host was late: p99 %s, more than %.0f%% of the median commit (%s)",
			formatNS(late), 100*maxLateShare, formatNS(median))
	}
}
