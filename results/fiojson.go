package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"nbdbench/internal/text"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// fioVersion is that of fio whose output WriteFio has the form of.
const fioVersion = "fio-3.33"

// fioPercentiles are those that fio reports, in thousandths of a percent.
var fioPercentiles = []Quantile{
	1000, 5000, 10000, 20000, 30000, 40000, 50000, 60000, 70000, 80000, 90000, 95000, 99000, 99500, 99900, 99950, 99990,
}

// fioOutput is what fio prints with --output-format=json+, as far as it is not about the
// host.
type fioOutput struct {
	Version     string   `json:"fio version"`
	Tool        string   `json:"nbdbench version"`
	Timestamp   int64    `json:"timestamp"`
	TimestampMS int64    `json:"timestamp_ms"`
	Time        string   `json:"time"`
	Jobs        []fioJob `json:"jobs"`
}

type fioJob struct {
	Name      string     `json:"jobname"`
	Group     int        `json:"groupid"`
	Error     int        `json:"error"`
	Elapsed   int64      `json:"elapsed"` // seconds
	Options   fioOptions `json:"job options"`
	Read      fioOp      `json:"read"`
	Write     fioOp      `json:"write"`
	Trim      fioOp      `json:"trim"`
	Sync      fioSync    `json:"sync"`
	Runtime   int64      `json:"job_runtime"` // ms
	NS        fioShares  `json:"latency_ns"`  // shares of requests in percent, up to the name
	US        fioShares  `json:"latency_us"`
	MS        fioShares  `json:"latency_ms"`
	Depth     int64      `json:"latency_depth"`
	ClockType string     `json:"nbdbench clock"`
}

type fioOptions struct {
	Name      string `json:"name"`
	RW        string `json:"rw"`
	BS        string `json:"bs,omitempty"` // of steps of one size
	Depth     string `json:"iodepth"`
	Jobs      string `json:"numjobs"`
	Engine    string `json:"ioengine"`
	Direct    string `json:"direct"`
	Device    string `json:"nbdbench device"`
	Workload  string `json:"nbdbench workload"`
	Strategy  string `json:"nbdbench strategy"`
	NBDLink   string `json:"nbdbench link"`
	RunNumber string `json:"nbdbench runs"`
}

type fioOp struct {
	Bytes     int64      `json:"io_bytes"`
	KiB       int64      `json:"io_kbytes"`
	BW        int64      `json:"bw_bytes"`
	BWKiB     int64      `json:"bw"`
	IOPS      fioFloat   `json:"iops"`
	Runtime   int64      `json:"runtime"` // ms
	Total     int64      `json:"total_ios"`
	Short     int64      `json:"short_ios"`
	Dropped   int64      `json:"drop_ios"`
	Submit    fioLatency `json:"slat_ns"`
	Complete  fioLatency `json:"clat_ns"`
	Latency   fioLatency `json:"lat_ns"`
	BWMin     int64      `json:"bw_min"`
	BWMax     int64      `json:"bw_max"`
	BWShare   fioFloat   `json:"bw_agg"`
	BWMean    fioFloat   `json:"bw_mean"`
	BWDev     fioFloat   `json:"bw_dev"`
	BWSamples int64      `json:"bw_samples"`
	Min       int64      `json:"iops_min"`
	Max       int64      `json:"iops_max"`
	Mean      fioFloat   `json:"iops_mean"`
	StdDev    fioFloat   `json:"iops_stddev"`
	Samples   int64      `json:"iops_samples"`
}

type fioSync struct {
	Total   int64      `json:"total_ios"`
	Latency fioLatency `json:"lat_ns"`
}

type fioLatency struct {
	Min         int64     `json:"min"`
	Max         int64     `json:"max"`
	Mean        fioFloat  `json:"mean"`
	StdDev      fioFloat  `json:"stddev"`
	N           int64     `json:"N"`
	Percentiles fioCounts `json:"percentile,omitempty"`
	Bins        fioCounts `json:"bins,omitempty"`
}

// fioFloat is a number that has decimals even where they are 0, as fio's.
type fioFloat float64

// MarshalJSON has six decimals.
func (f fioFloat) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(f), 'f', 6, 64), nil
}

// fioCounts are numbers by names, in an order that is kept.
type fioCounts []fioCount

type fioCount struct {
	name  string
	value int64
}

// MarshalJSON is an object.
func (l fioCounts) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, x := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, x.name), ':')
		b = strconv.AppendInt(b, x.value, 10)
	}
	return append(b, '}'), nil
}

// fioShares are shares in percent by names, in an order that is kept.
type fioShares []fioShare

type fioShare struct {
	name  string
	value fioFloat
}

// MarshalJSON is an object.
func (l fioShares) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, x := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, x.name), ':')
		b = strconv.AppendFloat(b, float64(x.value), 'f', 6, 64)
	}
	return append(b, '}'), nil
}

// fioLimits are the upper ends of fio's ranges of latencies, in each unit. Of milliseconds
// there are two more.
var fioLimits = []int64{2, 4, 10, 20, 50, 100, 250, 500, 750, 1000}

// fioRanges are the shares of requests with latencies in fio's ranges of nanoseconds,
// microseconds and milliseconds.
func fioRanges(d *Distribution) (out [3]fioShares) {
	at, n := 0, max(d.Count(), 1)
	below := func(limit int64) fioFloat {
		count := int64(0)
		for ; d != nil && at < len(d.buckets) && d.buckets[at].value < limit; at++ {
			count += d.buckets[at].count
		}
		return fioFloat(100 * float64(count) / float64(n))
	}
	for unit, scale := range []int64{1, 1e3, 1e6} {
		for _, limit := range fioLimits {
			out[unit] = append(out[unit], fioShare{strconv.FormatInt(limit, 10), below(limit * scale)})
		}
	}
	out[2] = append(out[2], fioShare{"2000", below(2000 * 1e6)}, fioShare{">=2000", below(math.MaxInt64)})
	return out
}

// WriteFio writes cells in the form of fio's --output-format=json+, a job for each: all
// that have figures, or the one with that id. What fio measures is at the wire: reads,
// writes with FUA or without, trims, and flushes, which are its syncs; write-zeroes it
// does not have. The time before submission is not known and 0.
func (r *Run) WriteFio(w io.Writer, id string) error {
	out := fioOutput{Version: fioVersion, Tool: r.Tool.Version, Jobs: []fioJob{}}
	if r.Host != nil {
		if at, err := time.Parse(time.RFC3339, r.Host.Started); err == nil {
			out.Timestamp, out.TimestampMS, out.Time = at.Unix(), at.UnixMilli(), at.Format(time.ANSIC)
		}
	}
	found := id == ""
	for _, c := range r.Cells {
		if id != "" && c.ID != id {
			continue
		}
		found = true
		if c.usable() {
			out.Jobs = append(out.Jobs, c.fioJob(r, len(out.Jobs)))
		} else if id != "" {
			return fmt.Errorf("%s is %s: it has no figures", id, c.Status)
		}
	}
	if !found {
		return fmt.Errorf("expected one of the run's %d cells, such as nvme-990pro/sync-4k/native, got %q", len(r.Cells), id)
	}
	if len(out.Jobs) == 0 {
		return fmt.Errorf("expected a cell with figures, the run has none")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(&out); err != nil {
		return fmt.Errorf("fio's JSON: %w", err)
	}
	_, err := w.Write(text.EscapeJSON(b.Bytes()))
	return err
}

func (c *Cell) fioJob(r *Run, group int) fioJob {
	ms := c.Elapsed.Milliseconds()
	j := fioJob{
		Name: c.ID, Group: group, Elapsed: int64(math.Ceil(c.Elapsed.Seconds())), Options: c.fioOptions(r),
		Runtime: ms, Depth: int64(c.QueueDepth), ClockType: c.Clock,
	}
	bytes := 0.0
	if c.Rates != nil {
		bytes = c.Rates.Bytes * c.Elapsed.Seconds()
	}
	reads, writes := c.fioLatency(opRead), c.fioLatency(opWrite, opWriteFUA)
	readBytes := 0.0 // of requests of one size both parts are exact
	if reads.N > 0 {
		readBytes = math.Round(bytes * float64(reads.N) / float64(reads.N+writes.N))
	}
	j.Read = fioOpOf(reads, readBytes, c.Elapsed)
	j.Write = fioOpOf(writes, math.Round(bytes)-readBytes, c.Elapsed)
	j.Trim = fioOpOf(c.fioLatency(opTrim), 0, c.Elapsed)
	all := c.pool(func(r *RunResult) *Distribution {
		return Merge(r.ops[opRead], r.ops[opWrite], r.ops[opWriteFUA], r.ops[opTrim])
	})
	ranges := fioRanges(all)
	j.NS, j.US, j.MS = ranges[0], ranges[1], ranges[2]
	sync := c.fioLatency(opFlush)
	j.Sync = fioSync{Total: sync.N, Latency: sync}
	return j
}

func fioOpOf(l fioLatency, bytes float64, elapsed sim.Duration) fioOp {
	o := fioOp{Total: l.N, Complete: l, Latency: l}
	o.Latency.Percentiles, o.Latency.Bins = nil, nil
	if l.N == 0 || elapsed <= 0 {
		return o
	}
	s := elapsed.Seconds()
	o.Bytes, o.KiB = int64(bytes), int64(bytes)>>10
	o.BW, o.BWKiB = int64(bytes/s), int64(bytes/s)>>10
	o.IOPS, o.Runtime = fioFloat(float64(l.N)/s), elapsed.Milliseconds()
	return o
}

// fioLatency is that of requests of some operations together: moments from the document,
// percentiles from the runs' histograms.
func (c *Cell) fioLatency(ops ...operation) fioLatency {
	var out fioLatency
	var sum, squares float64
	var all []*Distribution
	for _, o := range ops {
		l := c.Ops.of(o)
		if l == nil || l.Count == 0 {
			continue
		}
		if out.N == 0 || *l.Min < out.Min {
			out.Min = *l.Min
		}
		out.Max = max(out.Max, *l.Max)
		n, mean, dev := float64(l.Count), float64(*l.Mean), 0.0
		if l.Stddev != nil {
			dev = float64(*l.Stddev)
		}
		out.N += l.Count
		sum += n * mean
		squares += n * (dev*dev + mean*mean)
		all = append(all, c.pool(func(r *RunResult) *Distribution { return r.ops[o] }))
	}
	if out.N == 0 {
		return out
	}
	mean := sum / float64(out.N)
	out.Mean, out.StdDev = fioFloat(mean), fioFloat(math.Sqrt(max(squares/float64(out.N)-mean*mean, 0)))
	d := Merge(all...)
	if d.Count() == 0 {
		return out
	}
	for _, q := range fioPercentiles {
		out.Percentiles = append(out.Percentiles, fioCount{fmt.Sprintf("%.6f", float64(q)/1000), int64(d.At(q))})
	}
	for _, b := range d.buckets {
		out.Bins = append(out.Bins, fioCount{strconv.FormatInt(b.value, 10), b.count})
	}
	return out
}

// of is the latency of an operation.
func (o *Ops) of(x operation) *Latency {
	return [numOperations]*Latency{opRead: o.Read, opWrite: o.Write, opWriteFUA: o.WriteFUA, opFlush: o.Flush, opTrim: o.Trim, opZeroes: o.WriteZeroes}[x]
}

// fioOptions are what a job file would say. fio-plot sorts runs by them.
func (c *Cell) fioOptions(r *Run) fioOptions {
	o := fioOptions{
		Name: c.ID, RW: c.fioRW(r), BS: r.sizeOf(c), Depth: strconv.Itoa(max(c.QueueDepth/max(c.Connections, 1), 1)), Jobs: strconv.Itoa(c.Connections),
		Engine: "nbd", Direct: "1", Device: c.Device, Workload: c.Workload, Strategy: c.Strategy,
		NBDLink: c.Link, RunNumber: strconv.Itoa(c.Runs),
	}
	return o
}

// fioRW is what fio calls a mix of operations, by what was measured, in order if all steps
// of the workload are.
func (c *Cell) fioRW(r *Run) string {
	count := func(o operation) int64 { return c.fioLatency(o).N }
	reads, writes := count(opRead) > 0, count(opWrite)+count(opWriteFUA) > 0
	rw := "write"
	switch {
	case reads && writes:
		rw = "rw"
	case reads:
		rw = "read"
	case !writes && count(opTrim) > 0:
		rw = "trim"
	}
	random := slices.ContainsFunc(r.stepsOf(c), func(s storedStep) bool {
		return s.Pattern != "" && s.Pattern != "sequential" && s.Pattern != "append"
	})
	if random {
		return "rand" + rw
	}
	return rw
}

// storedStep is what is read of a step of a stored profile.
type storedStep struct {
	Op      string `json:"op"`
	Size    any    `json:"size"`
	Pattern string `json:"pattern"`
}

// stepsOf are the steps of the cell's workload, none if its profile is not stored.
func (r *Run) stepsOf(c *Cell) (out []storedStep) {
	parts := strings.Split(c.ID, "/")
	if len(parts) < 2 || r.Workloads[parts[1]] == nil {
		return nil
	}
	var p struct {
		Transaction []storedStep
		Between     []storedStep
		Streams     []struct{ Transaction, Between []storedStep }
	}
	if json.Unmarshal(r.Workloads[parts[1]].Profile, &p) != nil {
		return nil
	}
	out = slices.Concat(p.Transaction, p.Between)
	for _, s := range p.Streams {
		out = slices.Concat(out, s.Transaction, s.Between)
	}
	return out
}

// sizeOf is the size of the steps that have one, as fio writes it; empty where it is not
// one or not known.
func (r *Run) sizeOf(c *Cell) string {
	var size units.Size
	for _, s := range r.stepsOf(c) {
		text, _ := s.Size.(string)
		n, err := units.ParseSize(text)
		if err != nil || n == 0 {
			continue
		}
		if size != 0 && size != units.Size(n) {
			return ""
		}
		size = units.Size(n)
	}
	switch {
	case size == 0:
		return ""
	case size%(1<<20) == 0:
		return fmt.Sprintf("%dm", uint64(size)>>20)
	case size%(1<<10) == 0:
		return fmt.Sprintf("%dk", uint64(size)>>10)
	}
	return strconv.FormatUint(uint64(size), 10)
}
