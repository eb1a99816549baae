package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/internal/pool"
	"nbdbench/internal/stack"
	"nbdbench/results"
	"nbdbench/workloads"
)

// The bounds of a search.
const (
	// MaxFoundDepth is the highest queue depth that is tried.
	MaxFoundDepth = 1024
	// rateResolution is how near two rates are, as a factor, when no rate between them
	// is tried.
	rateResolution = 1.01
	// The rates that are tried begin at this part of what a closed loop does, and are
	// doubled or halved so often at most.
	firstRate  = 1.0 / 16
	rateSteps  = 20
	blindRate  = 1024 // the first one where a closed loop takes no time
	rateDigits = 4    // of a rate that is tried
)

// bounded is a bound on a metric, which a search is for.
type bounded struct {
	metric string
	orMore bool // the bound itself holds
	bound  float64
}

// parseBounded reads METRIC<VALUE or METRIC<=VALUE. Errors name the column.
func parseBounded(text string) (b bounded, err error) {
	at := strings.IndexAny(text, "<>=!")
	if at < 0 {
		return b, columnError(len(text), "expected METRIC<VALUE such as commit.p99<2ms, got %q", clip(text))
	}
	if b.metric = strings.TrimSpace(text[:at]); !slices.Contains(results.Metrics(), b.metric) {
		return b, columnError(blanks(text), "expected a metric, one of %s, got %q", strings.Join(results.Metrics(), ", "), clip(b.metric))
	}
	if text[at] != '<' {
		return b, columnError(at, "expected < or <=, got %q", text[at:at+1])
	}
	value := text[at+1:]
	if rest, ok := strings.CutPrefix(value, "="); ok {
		value, b.orMore = rest, true
	}
	d, err := time.ParseDuration(strings.TrimSpace(value))
	if err != nil || d <= 0 {
		return b, columnError(len(text)-len(value)+blanks(value), "expected a duration above 0 such as 2ms, got %q", clip(strings.TrimSpace(value)))
	}
	b.bound = float64(d)
	return b, nil
}

func blanks(s string) int { return len(s) - len(strings.TrimLeft(s, " \t")) }

func columnError(offset int, format string, args ...any) error {
	return fmt.Errorf("column %d: %s", offset+1, fmt.Sprintf(format, args...))
}

func (b *bounded) holds(ns float64) bool { return ns < b.bound || b.orMore && ns == b.bound }

// UseFindMax searches the highest load at which a bound such as commit.p99<2ms holds.
func (p *Plan) UseFindMax(expression string) error {
	p.FindMax = expression
	_, err := parseBounded(expression)
	return err
}

// fitMetrics checks that loads without commits are judged as such, and those with
// commits by them. A plan without any commit decides by its operations, though the
// default is a metric of commits.
func (p *Plan) fitMetrics(loads []workloads.Profile) error {
	with := slices.ContainsFunc(loads, func(w workloads.Profile) bool { return w.HasCommits() })
	without := slices.ContainsFunc(loads, func(w workloads.Profile) bool { return !w.HasCommits() })
	switch _, statistic, _ := strings.Cut(p.Decide, "."); {
	case !with && without:
		p.Decide = "ops." + statistic
	case with && !without && strings.HasPrefix(p.Decide, "ops."):
		return conf.At("decide", "expected commit.%s, got %s: each workload makes commits", statistic, p.Decide)
	}
	if p.FindMax == "" {
		return nil
	}
	b, err := parseBounded(p.FindMax)
	if err != nil {
		return conf.At("find_max", "%v", err)
	}
	_, statistic, _ := strings.Cut(b.metric, ".")
	switch ofOps := strings.HasPrefix(b.metric, "ops."); {
	case with && ofOps:
		return conf.At("find_max", "expected commit.%s, got %s: a workload makes commits", statistic, b.metric)
	case without && !ofOps:
		return conf.At("find_max", "expected ops.%s, got %s: a workload makes no commits", statistic, b.metric)
	}
	return nil
}

// validateFindMax checks a search against the rest of the plan.
func (p *Plan) validateFindMax() error {
	if p.FindMax == "" {
		if p.Over != "" {
			return conf.At("over", "expected find_max beside it")
		}
		return nil
	}
	if _, err := parseBounded(p.FindMax); err != nil {
		return conf.At("find_max", "%v", err)
	}
	switch {
	case p.Over != AxisQueueDepth && p.Over != AxisRate:
		return conf.At("over", "expected queue_depth or rate, got %q", p.Over)
	case p.Clock == "real":
		return conf.At("find_max", "expected none in real time")
	case len(p.Sweep) > 0:
		return conf.At("find_max", "expected none beside a sweep")
	case len(p.Thresholds) > 0:
		return conf.At("find_max", "expected none beside thresholds, of which the cells are not known before")
	case p.Sensitivity:
		return conf.At("sensitivity", "expected false beside find_max")
	case p.Over == AxisQueueDepth && p.QueueDepth != 0:
		return conf.At("queue_depth", "expected none: it is searched for")
	case p.Over == AxisRate && p.Rate != 0:
		return conf.At("rate", "expected none: it is searched for")
	}
	return nil
}

// search finds the highest load of one cell.
type search struct {
	p      *Plan // without power cuts
	base   Cell
	bound  bounded
	stop   func() bool
	loads  loads
	tried  map[float64]*trial
	failed error
}

// trial is a load that was tried.
type trial struct {
	results.Tried
	all, mean, some bool // of the runs, and of the cell's metric
}

// loads are the values that a search tries.
type loads interface {
	first() float64
	more(v float64) (next float64, ok bool)
	less(v float64) (next float64, ok bool)
	between(low, high float64) (v float64, ok bool)
}

// depths are queue depths.
type depths struct{}

func (depths) first() float64                 { return 1 }
func (depths) more(v float64) (float64, bool) { return 2 * v, 2*v <= MaxFoundDepth }
func (depths) less(float64) (float64, bool)   { return 0, false }
func (depths) between(a, b float64) (v float64, ok bool) {
	v = math.Floor((a + b) / 2)
	return v, v > a
}

// rates are rates from a first one on.
type rates struct{ begin float64 }

func (r rates) first() float64 { return r.begin }

func (r rates) more(v float64) (float64, bool) {
	return 2 * v, 2*v <= r.begin*(1<<rateSteps) && 2*v <= 1e9
}

func (r rates) less(v float64) (float64, bool) { return v / 2, v/2 >= r.begin/(1<<rateSteps) }

func (rates) between(a, b float64) (float64, bool) {
	v := math.Sqrt(a * b)
	v, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', rateDigits, 64), 64)
	return v, err == nil && b/a > rateResolution && v > a && v < b
}

// at is the cell under a load.
func (s *search) at(v float64) (Cell, error) {
	c := s.base
	value, load := kindCount.show(v), workloads.Override{QueueDepth: uint32(v)}
	if s.p.Over == AxisRate {
		value, load = kindRate.show(v), s.p.withArrival(workloads.Override{Rate: rateOf(v)})
	}
	c.At = results.At{{Axis: s.p.Over, Value: value}}
	c.ID += c.At.ID()
	c.Workload = c.Workload.With(load)
	return c, c.Workload.Validate()
}

// run runs the cell under a load: all of the plan's runs.
func (s *search) run(p *Plan, v float64) (*results.Cell, []outcome, error) {
	c, err := s.at(v)
	if err != nil {
		return nil, nil, err
	}
	cells := []Cell{c}
	if err := settleEach(p, cells, s.stop); err != nil {
		return nil, nil, err
	}
	var outcomes []outcome
	for run := range p.Runs {
		o := outcome{err: stack.ErrNotRun}
		if !s.stop() {
			o = runVirtual(p, &cells[0], task{0, run}, s.stop)
		}
		if o.err != nil && !isCellError(o.err) {
			return nil, nil, runError(c.ID, o)
		}
		outcomes = append(outcomes, o)
	}
	cell := results.NewCell(cellConfig(p, &cells[0], outcomes))
	giveRuns(cell, outcomes)
	return cell, outcomes, nil
}

// try tries a load, once.
func (s *search) try(v float64) *trial {
	if t := s.tried[v]; t != nil {
		return t
	}
	t := &trial{Tried: results.Tried{Value: v, Sustained: true}}
	s.tried[v] = t
	cell, outcomes, err := s.run(s.p, v)
	if err != nil {
		s.failed = err
		return t
	}
	for _, o := range outcomes {
		if o.err != nil { // unsupported or invalid, as it is at every load
			s.failed = o.err
			return t
		}
		t.Runs++
		ns, ok := o.result.Metric(s.bound.metric)
		if kept := o.result.Sustained(cell.QueueDepth); ok && kept && s.bound.holds(ns) {
			t.Holds++
		}
	}
	t.Metric = cell.Summarise(s.bound.metric)
	t.Sustained = cell.Status != results.StatusUnsustained
	t.all, t.some = t.Runs > 0 && t.Holds == t.Runs, t.Holds > 0
	t.mean = t.all || t.some && t.Sustained && t.Metric != nil && s.bound.holds(float64(*t.Metric))
	return t
}

// highest is the highest load of which a property is true, by doubling and bisection; ok
// is false if it is true of none, and ends says that it is not true of a higher one.
func (s *search) highest(is func(*trial) bool) (v float64, ok, ends bool) {
	low, high := s.loads.first(), 0.0
	for !is(s.try(low)) {
		next, more := s.loads.less(low)
		if !more || s.ended() {
			return 0, false, true
		}
		low, high = next, low
	}
	for high == 0 && !s.ended() {
		next, more := s.loads.more(low)
		if !more {
			return low, true, false
		}
		if is(s.try(next)) {
			low = next
		} else {
			high = next
		}
	}
	for !s.ended() {
		v, between := s.loads.between(low, high)
		if !between {
			break
		}
		if is(s.try(v)) {
			low = v
		} else {
			high = v
		}
	}
	return low, true, true
}

// ended reports whether the search is not to go on.
func (s *search) ended() bool { return s.failed != nil || s.stop() }

// find searches, and returns what it found and the cell at the highest load.
func (s *search) find(cuts *Plan) (*results.Maximum, *results.Cell, error) {
	m := &results.Maximum{Tried: []results.Tried{}}
	end := func(is func(*trial) bool) *float64 {
		if v, ok, _ := s.highest(is); ok {
			return &v
		}
		return nil
	}
	v, ok, ends := s.highest(func(t *trial) bool { return t.mean })
	m.Bounded = ends
	if ok {
		m.Value = &v
	}
	m.Interval[0] = end(func(t *trial) bool { return t.all })
	m.Interval[1] = end(func(t *trial) bool { return t.some })
	if s.failed != nil {
		return nil, nil, s.failed
	}
	if s.stop() { // the highest so far is not the highest
		return nil, nil, stack.ErrNotRun
	}
	for _, t := range s.tried {
		m.Tried = append(m.Tried, t.Tried)
	}
	slices.SortFunc(m.Tried, func(a, b results.Tried) int { return int(math.Copysign(1, a.Value-b.Value)) })
	if !ok {
		v = m.Tried[0].Value
	}
	cell, _, err := s.run(cuts, v)
	if err != nil {
		return nil, nil, err
	}
	m.Cell = cell.ID
	return m, cell, nil
}

// findMax searches the highest load of every cell, in place of running it.
func findMax(ctx context.Context, p *Plan, cells []Cell, doc *results.Run, progress Progress) error {
	ctx, _, cancel := timeLimit(ctx, p)
	defer cancel()
	bound, err := parseBounded(p.FindMax)
	if err != nil {
		return err
	}
	q := *p
	q.Cuts, q.Raw = 0, false
	found, at, errs := make([]*results.Maximum, len(cells)), make([]*results.Cell, len(cells)), make([]error, len(cells))
	var mu sync.Mutex
	done := 0
	pool.Each(p.Jobs, len(cells), func(i int) {
		s := &search{p: &q, base: cells[i], bound: bound, tried: map[float64]*trial{}, stop: func() bool { return ctx.Err() != nil }}
		if s.loads, errs[i] = q.loadsOf(&s.base, s.stop); errs[i] == nil {
			found[i], at[i], errs[i] = s.find(p)
		}
		mu.Lock()
		defer mu.Unlock()
		if done++; progress != nil {
			progress(done, len(cells), cells[i].ID)
		}
	})
	doc.FindMax = &results.FindMax{Expression: p.FindMax, Over: p.Over, Maxima: []*results.Maximum{}}
	for i := range cells {
		if errs[i] != nil && !isCellError(errs[i]) {
			return errs[i]
		}
		if at[i] == nil {
			at[i] = results.NewCell(cellConfig(p, &cells[i], nil))
			giveRuns(at[i], []outcome{{err: errs[i]}})
		}
		doc.Add(at[i])
		if found[i] != nil && errs[i] == nil {
			doc.FindMax.Maxima = append(doc.FindMax.Maxima, found[i])
		}
	}
	return nil
}

// loadsOf are the loads that are tried of a cell. Rates begin well below what a closed
// loop does.
func (p *Plan) loadsOf(c *Cell, stop func() bool) (loads, error) {
	if p.Over == AxisQueueDepth {
		return depths{}, nil
	}
	closed := *c
	closed.Workload = c.Workload.With(workloads.Override{Arrival: workloads.ArrivalClosed})
	if err := closed.Workload.Validate(); err != nil {
		return nil, err
	}
	found, err := settle(p, &closed, stop)
	if err != nil {
		return nil, err
	}
	begin := float64(blindRate)
	if found.Rate > 0 {
		begin = math.Exp2(math.Floor(math.Log2(found.Rate * firstRate)))
	}
	return rates{begin}, nil
}
