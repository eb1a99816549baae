package results

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"nbdbench/internal/hlog"
)

// The operations that a latency log has besides those at the wire.
const (
	logCommit   = "commit"
	logOps      = "ops" // in place of commit, of a load that has none
	logService  = "service"
	logLag      = "lag"
	logLateness = "lateness"
)

// logged are the distributions of a run by the name of their operation.
func (r *RunResult) logged(noCommits bool) (names []string, parts []**Distribution) {
	names = []string{logCommit, logService, logLag, logLateness}
	if noCommits {
		names[0] = logOps
	}
	parts = []**Distribution{&r.Commit, &r.Service, &r.Lag, &r.Lateness}
	for i := range r.ops {
		names, parts = append(names, operationNames[i]), append(parts, &r.ops[i])
	}
	return names, parts
}

// WriteLog writes every run's histograms in HdrHistogram's log format 1.3, one
// interval each, tagged cell/run/operation, in nanoseconds. Times are those of
// the run's window, from 0. Empty histograms are left out.
func (r *Run) WriteLog(w io.Writer) error {
	log := hdrhistogram.NewHistogramLogWriter(w)
	head := []func() error{
		log.OutputLogFormatVersion,
		func() error { return log.OutputComment("values in nanoseconds; Interval_Max in milliseconds") },
		func() error { return log.OutputStartTime(0) },
		log.OutputLegend,
	}
	for _, write := range head {
		if err := write(); err != nil {
			return fmt.Errorf("latency log: %w", err)
		}
	}
	h := NewHistogram().hdr
	for _, c := range r.Cells {
		for i, run := range c.runs {
			if err := run.writeLog(log, h, c, i); err != nil {
				return fmt.Errorf("latency log: cell %s, run %d: %w", c.ID, i, err)
			}
		}
	}
	return nil
}

func (r *RunResult) writeLog(log *hdrhistogram.HistogramLogWriter, h *hdrhistogram.Histogram, c *Cell, run int) error {
	names, parts := r.logged(c.NoCommits)
	for i, p := range parts {
		if (*p).Count() == 0 {
			continue
		}
		if err := (*p).hdrInto(h); err != nil {
			return err
		}
		h.SetTag(hlog.Tag(c.ID, run, names[i]))
		h.SetStartTimeMs(0)
		h.SetEndTimeMs(r.Elapsed.Milliseconds())
		if err := log.OutputIntervalHistogram(h); err != nil {
			return err
		}
	}
	return nil
}

// readLog attaches the histograms of a log to the document's runs. What
// buckets cannot say exactly comes from the document.
func (r *Run) readLog(in io.Reader) error {
	found, err := decodeLog(in)
	if err != nil {
		return err
	}
	for _, c := range r.Cells {
		c.runs = nil
		for i := range c.PerRun {
			p := &c.PerRun[i]
			run := &RunResult{Seed: p.Seed, Elapsed: p.Elapsed, Partial: p.Partial}
			names, parts := run.logged(c.NoCommits)
			for k := range parts {
				t := hlog.Tag(c.ID, i, names[k])
				*parts[k] = found[t]
				delete(found, t)
			}
			if run.Commit, err = p.exactly(run.Commit); err != nil {
				return fmt.Errorf("tag %s: %w", hlog.Tag(c.ID, i, names[0]), err)
			}
			c.runs = append(c.runs, run)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(found)) {
		return fmt.Errorf("tag %s: no such run in run.json", t)
	}
	return nil
}

// exactly restores a run's exact moments.
func (p *PerRun) exactly(d *Distribution) (*Distribution, error) {
	if d.Count() != p.Commit.Count {
		return nil, fmt.Errorf("holds %d where run.json says %d", d.Count(), p.Commit.Count)
	}
	if d == nil {
		return new(Distribution), nil
	}
	out := *d
	out.min, out.max = *p.Commit.Min, *p.Commit.Max
	out.sum, out.overflow = p.CommitSum, p.Commit.Overflow
	return &out, nil
}

// decodeLog reads all histograms of a log by their tags.
func decodeLog(in io.Reader) (map[string]*Distribution, error) {
	all, err := hlog.Decode(in)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*Distribution, len(all))
	for i := range all {
		out[all[i].Tag] = distributionOf(&all[i])
	}
	return out, nil
}

// distributionOf takes a histogram for what it is: moments as near as its
// buckets tell.
func distributionOf(h *hlog.Histogram) *Distribution {
	d := new(Distribution)
	for _, b := range h.Buckets {
		if d.n == 0 {
			d.min = b.From
		}
		d.n += b.Count
		d.max = b.To
		d.sum += uint64(b.Count) * uint64((b.From+b.To)/2)
		d.buckets = append(d.buckets, bucket{value: b.To, count: b.Count})
	}
	return d
}

// Commits is the distribution of the cell's commits over all its runs, as far
// as they are at hand: of a document read without its latency log, nil.
func (c *Cell) Commits() *Distribution {
	if len(c.runs) == 0 {
		return nil
	}
	return c.pool(func(r *RunResult) *Distribution { return r.Commit })
}
