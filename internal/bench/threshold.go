package bench

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/results"
)

// threshold is a bound on one figure of cells: CELL:METRIC<VALUE, where CELL may
// have * for a part of its name.
type threshold struct {
	cells  string
	metric metric
	op     string
	text   string // of the bound
	bound  float64
}

// metric reads one figure of a cell, and its interval, nil for what has none.
type metric struct {
	name     string
	duration bool // the bound is written as one
	counted  bool // the figure is a count, of which the value decides
	of       loadKind
	read     func(doc *results.Run, c *results.Cell) (v *float64, span *results.Ratio)
}

// loadKind says which cells have a metric.
type loadKind uint8

const (
	anyLoad loadKind = iota
	ofCommits
	ofOperations // of loads without commits
)

// has reports whether a cell whose workload has commits, or has none, has the metric.
func (k loadKind) has(commits bool) bool { return k == anyLoad || (k == ofCommits) == commits }

// expected says what a metric should be of where no cell has it.
func (k loadKind) expected() string {
	if k == ofCommits {
		return "the workload makes no commits: expected a metric such as ops.p99 or rates.iops"
	}
	return "the workload makes commits: expected a metric such as commit.p99"
}

// metrics are the figures that thresholds can bound.
var metrics = []metric{
	latencyMetric(ofCommits, "commit.mean", func(l *results.Latency) *int64 { return l.Mean }, func(s *results.CI95) *results.Span { return s.Mean }),
	latencyMetric(ofCommits, "commit.min", func(l *results.Latency) *int64 { return l.Min }, nil),
	latencyMetric(ofCommits, "commit.max", func(l *results.Latency) *int64 { return l.Max }, nil),
	latencyMetric(ofCommits, "commit.p50", func(l *results.Latency) *int64 { return l.P50 }, func(s *results.CI95) *results.Span { return s.P50 }),
	latencyMetric(ofCommits, "commit.p90", func(l *results.Latency) *int64 { return l.P90 }, func(s *results.CI95) *results.Span { return s.P90 }),
	latencyMetric(ofCommits, "commit.p99", func(l *results.Latency) *int64 { return l.P99 }, func(s *results.CI95) *results.Span { return s.P99 }),
	latencyMetric(ofCommits, "commit.p999", func(l *results.Latency) *int64 { return l.P999 }, nil),
	latencyMetric(ofOperations, "ops.mean", func(l *results.Latency) *int64 { return l.Mean }, func(s *results.CI95) *results.Span { return s.Mean }),
	latencyMetric(ofOperations, "ops.min", func(l *results.Latency) *int64 { return l.Min }, nil),
	latencyMetric(ofOperations, "ops.max", func(l *results.Latency) *int64 { return l.Max }, nil),
	latencyMetric(ofOperations, "ops.p50", func(l *results.Latency) *int64 { return l.P50 }, func(s *results.CI95) *results.Span { return s.P50 }),
	latencyMetric(ofOperations, "ops.p90", func(l *results.Latency) *int64 { return l.P90 }, func(s *results.CI95) *results.Span { return s.P90 }),
	latencyMetric(ofOperations, "ops.p99", func(l *results.Latency) *int64 { return l.P99 }, func(s *results.CI95) *results.Span { return s.P99 }),
	latencyMetric(ofOperations, "ops.p999", func(l *results.Latency) *int64 { return l.P999 }, nil),
	rateMetric(ofCommits, "rates.commits_per_s", func(r *results.Rates) float64 { return r.Commits }),
	rateMetric(ofOperations, "rates.ops_per_s", func(r *results.Rates) float64 { return r.Commits }), // of a cell that is not read from a file
	rateMetric(anyLoad, "rates.iops", func(r *results.Rates) float64 { return r.IOPS }),
	rateMetric(anyLoad, "rates.bytes_per_s", func(r *results.Rates) float64 { return r.Bytes }),
	lossMetric("durability.commits_lost", func(d *results.Durability) float64 { return float64(d.CommitsLost) }),
	lossMetric("durability.commits_at_risk", func(d *results.Durability) float64 { return float64(d.CommitsAtRisk) }),
	lossMetric("durability.violations", func(d *results.Durability) float64 { return float64(d.Violations) }),
	lossMetric("lost_per_cut", func(d *results.Durability) float64 { return float64(d.CommitsLost) / float64(d.Cuts) }),
	lossMetric("at_risk_per_cut", func(d *results.Durability) float64 { return float64(d.CommitsAtRisk) / float64(d.Cuts) }),
	{name: "ratio", read: func(doc *results.Run, c *results.Cell) (*float64, *results.Ratio) {
		if x := doc.ComparisonOf(c); x != nil {
			return &x.Ratio, x.CI95
		}
		return nil, nil
	}},
}

func latencyMetric(of loadKind, name string, get func(*results.Latency) *int64, span func(*results.CI95) *results.Span) metric {
	return metric{name: name, duration: true, of: of, read: func(_ *results.Run, c *results.Cell) (*float64, *results.Ratio) {
		if c.Commit == nil || get(c.Commit) == nil {
			return nil, nil
		}
		v := float64(*get(c.Commit))
		if span == nil || c.CI95 == nil || span(c.CI95) == nil {
			return &v, nil
		}
		s := span(c.CI95)
		return &v, &results.Ratio{float64(s[0]), float64(s[1])}
	}}
}

func rateMetric(of loadKind, name string, get func(*results.Rates) float64) metric {
	return metric{name: name, of: of, read: func(_ *results.Run, c *results.Cell) (*float64, *results.Ratio) {
		if c.Rates == nil {
			return nil, nil
		}
		v := get(c.Rates)
		return &v, c.RateInterval(get)
	}}
}

func lossMetric(name string, get func(*results.Durability) float64) metric {
	return metric{name: name, counted: true, of: ofCommits, read: func(_ *results.Run, c *results.Cell) (*float64, *results.Ratio) {
		if !c.Durability.Measured() {
			return nil, nil
		}
		v := get(c.Durability)
		return &v, nil
	}}
}

// comparisons are what may stand between a metric and its bound.
var comparisons = []string{"<=", ">=", "==", "<", ">"}

// subject is a cell that a threshold may be about, and whether it has commits.
type subject struct {
	id      string
	commits bool
}

// parseThreshold reads a threshold. Cell and metric must exist: a misspelt
// threshold must not pass.
func parseThreshold(text string, cells []subject) (threshold, error) {
	cell, rest, ok := strings.Cut(text, ":")
	at := strings.IndexAny(rest, "<>=")
	if !ok || at < 0 {
		return threshold{}, fmt.Errorf("expected CELL:METRIC<VALUE, got %q", text)
	}
	t := threshold{cells: strings.TrimSpace(cell)}
	if !slices.ContainsFunc(cells, func(c subject) bool { return t.of(c.id) }) {
		return threshold{}, fmt.Errorf("%q: expected one of the plan's cells, such as %s, got %q", text, cells[0].id, cell)
	}
	for _, op := range comparisons {
		if strings.HasPrefix(rest[at:], op) {
			t.op = op
			break
		}
	}
	if t.op == "" {
		return threshold{}, fmt.Errorf("%q: expected one of %s before the value, got %q", text, strings.Join(comparisons, ", "), rest[at:at+1])
	}
	name := strings.TrimSpace(rest[:at])
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == name })
	if i < 0 {
		return threshold{}, fmt.Errorf("%q: expected a metric, one of %s, got %q", text, strings.Join(metricNames(), ", "), name)
	}
	t.metric, t.text = metrics[i], strings.TrimSpace(rest[at+len(t.op):])
	if !slices.ContainsFunc(cells, func(c subject) bool { return t.of(c.id) && t.metric.of.has(c.commits) }) {
		return threshold{}, fmt.Errorf("%q: %s, got %s", text, t.metric.of.expected(), name)
	}
	var err error
	if t.bound, err = t.metric.parse(t.text); err != nil {
		return threshold{}, fmt.Errorf("%q: %w", text, err)
	}
	if t.op == "==" && !t.metric.counted {
		return threshold{}, fmt.Errorf("%q: expected <, <=, > or >= for a figure with an interval", text)
	}
	return t, nil
}

// of reports whether the threshold is about the cell: by its whole id, or by that
// without its point in a sweep, which is all of them.
func (t *threshold) of(id string) bool {
	ok, err := path.Match(t.cells, id)
	if t.cells == id || ok && err == nil {
		return true
	}
	dir, name := path.Split(id)
	strategy, _, swept := strings.Cut(name, "@")
	ok, err = path.Match(t.cells, dir+strategy)
	return swept && ok && err == nil
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

// parseThresholds reads the plan's thresholds.
func (p *Plan) parseThresholds(cells []Cell) ([]threshold, error) {
	all := make([]subject, len(cells))
	for i := range cells {
		all[i] = subject{cells[i].ID, cells[i].Workload.HasCommits()}
	}
	var out []threshold
	for i, text := range p.Thresholds {
		t, err := parseThreshold(text, all)
		if err != nil {
			return nil, conf.At(fmt.Sprintf("thresholds[%d]", i), "%v", err)
		}
		out = append(out, t)
	}
	return out, nil
}

// judgeThresholds adds to a finished document each threshold for each cell that it
// is about.
func (p *Plan) judgeThresholds(doc *results.Run) {
	for _, text := range p.Thresholds {
		for _, c := range doc.Cells {
			t, err := parseThreshold(text, []subject{{c.ID, !c.NoCommits}})
			skip := c.Status == results.StatusUnsupported && t.cells != c.ID // a pattern is about what can be had
			if err == nil && !skip {                                         // else it is about other cells
				doc.Thresholds = append(doc.Thresholds, t.judge(doc, c))
			}
		}
	}
}

// judge says whether the threshold holds of a cell: a count by its value, all else
// by the far end of its interval.
func (t *threshold) judge(doc *results.Run, c *results.Cell) results.Threshold {
	out := results.Threshold{Expression: c.ID + ":" + t.metric.name + t.op + t.text, Bound: t.bound}
	out.Value, out.CI95 = t.metric.read(doc, c)
	switch {
	case c.Status != results.StatusOK:
		out.Reason = "the cell is " + c.Status
	case c.Settled == false && !t.metric.counted:
		out.Reason = "the cell had not settled"
	case out.Value == nil:
		out.Reason = t.metric.name + " is not known"
	case t.metric.counted:
		out.OK = new(t.holds(*out.Value))
	case out.CI95 == nil:
		out.Reason = t.metric.name + " has no interval"
	default:
		out.OK = new(t.holds(out.CI95[0]) && t.holds(out.CI95[1]))
	}
	if out.OK != nil && !*out.OK {
		out.Reason = t.metric.name + " is " + t.metric.show(*out.Value)
		if out.CI95 != nil {
			out.Reason += " [" + t.metric.show(out.CI95[0]) + ", " + t.metric.show(out.CI95[1]) + "]"
		}
	}
	return out
}

func (t *threshold) holds(v float64) bool {
	switch t.op {
	case "<":
		return v < t.bound
	case "<=":
		return v <= t.bound
	case ">":
		return v > t.bound
	case ">=":
		return v >= t.bound
	}
	return v == t.bound
}

func (m metric) show(v float64) string {
	if m.duration {
		return time.Duration(v).String()
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
