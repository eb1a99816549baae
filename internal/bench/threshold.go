package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nbdbench/results"
)

// Threshold is a bound on one figure of one cell: CELL:METRIC<VALUE.
type Threshold struct {
	text   string
	cell   string
	metric metric
	op     string
	bound  float64
}

// metric reads one figure of a cell; ok is false where it is null.
type metric struct {
	name     string
	duration bool // the bound is written as one
	read     func(c *results.Cell) (v float64, ok bool)
}

// metrics are the figures that thresholds can bound.
var metrics = []metric{
	latencyMetric("commit.mean", func(l *results.Latency) *int64 { return l.Mean }),
	latencyMetric("commit.min", func(l *results.Latency) *int64 { return l.Min }),
	latencyMetric("commit.max", func(l *results.Latency) *int64 { return l.Max }),
	latencyMetric("commit.p50", func(l *results.Latency) *int64 { return l.P50 }),
	latencyMetric("commit.p90", func(l *results.Latency) *int64 { return l.P90 }),
	latencyMetric("commit.p99", func(l *results.Latency) *int64 { return l.P99 }),
	latencyMetric("commit.p999", func(l *results.Latency) *int64 { return l.P999 }),
	rateMetric("rates.commits_per_s", func(r *results.Rates) float64 { return r.Commits }),
	rateMetric("rates.iops", func(r *results.Rates) float64 { return r.IOPS }),
	rateMetric("rates.bytes_per_s", func(r *results.Rates) float64 { return r.Bytes }),
	lossMetric("durability.commits_lost", func(d *results.Durability) int64 { return d.CommitsLost }),
	lossMetric("durability.commits_at_risk", func(d *results.Durability) int64 { return d.CommitsAtRisk }),
	lossMetric("durability.violations", func(d *results.Durability) int64 { return d.Violations }),
}

func latencyMetric(name string, get func(*results.Latency) *int64) metric {
	return metric{name, true, func(c *results.Cell) (float64, bool) {
		if c.Commit == nil {
			return 0, false
		}
		v := get(c.Commit)
		if v == nil {
			return 0, false
		}
		return float64(*v), true
	}}
}

func rateMetric(name string, get func(*results.Rates) float64) metric {
	return metric{name, false, func(c *results.Cell) (float64, bool) {
		if c.Rates == nil {
			return 0, false
		}
		return get(c.Rates), true
	}}
}

func lossMetric(name string, get func(*results.Durability) int64) metric {
	return metric{name, false, func(c *results.Cell) (float64, bool) {
		if c.Durability == nil {
			return 0, false
		}
		return float64(get(c.Durability)), true
	}}
}

// ParseThreshold reads a threshold. Cell and metric must exist: a misspelt
// threshold must not pass.
func ParseThreshold(text string, cells []Cell) (Threshold, error) {
	cell, rest, ok := strings.Cut(text, ":")
	at := strings.IndexAny(rest, "<>")
	if !ok || at < 0 {
		return Threshold{}, fmt.Errorf("expected CELL:METRIC<VALUE, got %q", text)
	}
	if !slices.ContainsFunc(cells, func(c Cell) bool { return c.ID == cell }) {
		return Threshold{}, fmt.Errorf("%q: expected one of the plan's cells, such as %s, got %q", text, cells[0].ID, cell)
	}
	t := Threshold{text: text, cell: cell, op: rest[at : at+1]}
	value := rest[at+1:]
	if v, or := strings.CutPrefix(value, "="); or {
		t.op, value = t.op+"=", v
	}
	name := strings.TrimSpace(rest[:at])
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == name })
	if i < 0 {
		return Threshold{}, fmt.Errorf("%q: expected a metric, one of %s, got %q", text, strings.Join(metricNames(), ", "), name)
	}
	t.metric = metrics[i]
	var err error
	t.bound, err = t.metric.parse(strings.TrimSpace(value))
	if err != nil {
		return Threshold{}, fmt.Errorf("%q: %w", text, err)
	}
	return t, nil
}

func metricNames() (names []string) {
	for _, m := range metrics {
		names = append(names, m.name)
	}
	return names
}

func (m metric) parse(value string) (float64, error) {
	if !m.duration {
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("expected a number, got %q", value)
		}
		return v, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, fmt.Errorf("expected a duration such as 2ms, got %q", value)
	}
	return float64(d), nil
}

// Check returns an error if the threshold does not hold in doc. A figure that
// is not there does not hold it.
func (t Threshold) Check(doc *results.Run) error {
	for _, c := range doc.Cells {
		if c.ID != t.cell {
			continue
		}
		v, ok := t.metric.read(c)
		switch {
		case !ok:
			return fmt.Errorf("threshold %s: %s is not known (the cell is %s)", t.text, t.metric.name, c.Status)
		case !t.holds(v):
			return fmt.Errorf("threshold %s: %s is %s", t.text, t.metric.name, t.metric.show(v))
		}
		return nil
	}
	return fmt.Errorf("threshold %s: there is no cell %s", t.text, t.cell)
}

func (t Threshold) holds(v float64) bool {
	switch t.op {
	case "<":
		return v < t.bound
	case "<=":
		return v <= t.bound
	case ">":
		return v > t.bound
	}
	return v >= t.bound
}

func (m metric) show(v float64) string {
	if m.duration {
		return time.Duration(v).String()
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
