package workloads

import (
	"fmt"
	"slices"
	"strings"

	"nbdbench/devices"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// Timeline is who waits for what in a transaction of a profile, and in those that
// share a log with it: on a device on which every request takes as long, begun at the
// same time. Begin and End of its spans are moments, from 0; between two of them there
// is one request's time, or a pause.
type Timeline struct {
	Spans   []Span // in the order in which they begin, at most MaxSpans
	Moments int    // the last one
	Left    int    // spans that were left out
	Done    []int  // by transaction: when it is done
	Word    string // what a transaction is: "commit", or "transaction" where nothing is durable
}

// Span is a step of a transaction, a request of a log's group, or a wait for one.
type Span struct {
	Who, What  string
	Note       string // of a group: for whom it is
	Begin, End int
	Kind       SpanKind
}

// SpanKind is what a span is.
type SpanKind uint8

// The kinds of spans.
const (
	SpanOther SpanKind = iota // a read, and what writes no data
	SpanWrite
	SpanFUA
	SpanFlush
	SpanWait // for a group of a log
)

// The bounds of a timeline.
const (
	MaxSpans     = 40
	maxTogether  = 3 // transactions
	timelineSize = 1 << 40
)

// Timeline runs the profile for a moment. A profile that replays a trace has none: it is
// nil then.
func (p *Profile) Timeline() (*Timeline, error) {
	loop := sim.NewLoop()
	d := &evenDevice{loop: loop}
	one, n := p.together()
	for _, s := range one.Steps() {
		if s.Op == ActionReplay {
			return nil, nil
		}
	}
	o := &timelineObserver{loop: loop, profile: &one, groups: map[uint64]*timedGroup{}}
	r, err := NewRunner(loop, d, Config{Profile: one, Seed: 1, Commits: n, Observer: o})
	if err != nil {
		return nil, err
	}
	r.Start()
	loop.RunWhile(func() bool { return !r.Finished() })
	if err := r.Err(); err != nil {
		return nil, err
	}
	return o.timeline(), nil
}

// together is the profile with one stream and few transactions of it, and how many: the
// first stream with commits, if there is one.
func (p *Profile) together() (Profile, uint64) {
	one := *p
	if len(p.Streams) > 0 {
		i := max(slices.IndexFunc(p.Streams, func(s Stream) bool { return s.Commits() }), 0)
		s := p.Streams[i]
		one.Load, one.Transaction = s.Load, s.Transaction
		one.Streams, one.Phases = nil, nil
		one.QueueDepth = s.depth() * s.copies()
	}
	n := uint32(1)
	for i := range one.Transaction {
		if one.Transaction[i].Op == ActionCommit {
			n = min(one.depth(), maxTogether)
		}
	}
	one.Load, one.Between = Load{QueueDepth: n}, nil
	used := map[string]Log{} // a log that nothing commits to may be in a region that is gone
	for i := range one.Transaction {
		if s := &one.Transaction[i]; s.Op == ActionCommit {
			l := p.Logs[s.Log]
			l.Delay, l.Siblings = 0, 0
			used[s.Log] = l
		}
	}
	one.Logs = used
	return one, uint64(n)
}

// evenDevice takes a microsecond for each request, and any number at once.
type evenDevice struct{ loop *sim.Loop }

func (d *evenDevice) Info() devices.Info {
	return devices.Info{Size: timelineSize, LogicalBlock: devices.Sector, CanFlush: true, FUA: devices.FUANative, CanTrim: true, CanZero: true}
}

func (d *evenDevice) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.After(&r.Timer, 1000, d)
}

func (d *evenDevice) Fire(t *sim.Timer) { t.Owner.(*devices.Request).Finish(devices.OK) }

// timedSpan is a span by instants.
type timedSpan struct {
	Span
	txn        uint64 // or 0: of a log
	step       int
	begin, end sim.Time
}

// timedGroup is a group of a log.
type timedGroup struct {
	log        string
	members    []uint64
	begin, end sim.Time
}

// timelineObserver collects the spans of a run.
type timelineObserver struct {
	loop    *sim.Loop
	profile *Profile
	spans   []timedSpan
	txns    []uint64 // in their order
	commits map[uint64]devices.Commit
	groups  map[uint64]*timedGroup // by number
	ends    []sim.Time             // of all requests
	order   []uint64
}

// stepOf is the step of the transaction that has its request number n.
func (o *timelineObserver) stepOf(n uint32) int {
	steps := o.profile.Transaction
	for i := range steps {
		count := steps[i].count()
		if steps[i].Op == ActionCommit {
			count = 1
		}
		if n < count {
			return i
		}
		n -= count
	}
	return len(steps) - 1
}

// number is that of a transaction among those that are shown, from 1.
func (o *timelineObserver) number(txn uint64) int {
	i := slices.Index(o.txns, txn)
	if i < 0 {
		o.txns = append(o.txns, txn)
		i = len(o.txns) - 1
	}
	return i + 1
}

// kindOf is that of a request.
func kindOf(r *devices.Request) SpanKind {
	switch {
	case r.Op == devices.OpFlush:
		return SpanFlush
	case r.Durable():
		return SpanFUA
	case r.Op == devices.OpWrite:
		return SpanWrite
	}
	return SpanOther
}

// Submit begins a span, or is one more request of a step's.
func (o *timelineObserver) Submit(r *devices.Request) {
	now := o.loop.Now()
	if r.Stream != StreamCommit {
		log := o.profile.logNames()[r.Stream-2]
		if o.groups[r.Txn] == nil {
			o.groups[r.Txn] = &timedGroup{log: log, begin: now}
			o.order = append(o.order, r.Txn)
		}
		what := "flush"
		if r.Op != devices.OpFlush {
			what = fmt.Sprintf("%s of %v", opWord(r), units.Size(r.Length))
		}
		o.spans = append(o.spans, timedSpan{Span: Span{Who: log, What: what, Kind: kindOf(r)}, step: int(r.Step), begin: now})
		return
	}
	step := o.stepOf(r.Step)
	for i := range o.spans {
		if s := &o.spans[i]; s.txn == r.Txn && s.step == step {
			return
		}
	}
	s := &o.profile.Transaction[step]
	o.spans = append(o.spans, timedSpan{Span: Span{What: s.short(), Kind: kindOf(r)}, txn: r.Txn, step: step, begin: now})
	o.number(r.Txn)
}

// opWord is what a request is called.
func opWord(r *devices.Request) string {
	if r.Durable() {
		return "write with FUA"
	}
	return r.Op.String()
}

// Group notes whose records a group has.
func (o *timelineObserver) Group(r *devices.Request, records []devices.Record) {
	g := o.groups[r.Txn]
	for i := range records {
		if !slices.Contains(g.members, records[i].Txn) {
			g.members = append(g.members, records[i].Txn)
		}
	}
}

// Op ends a span, if it is the last request of it.
func (o *timelineObserver) Op(r *devices.Request) {
	now := o.loop.Now()
	o.ends = append(o.ends, now)
	if r.Stream != StreamCommit {
		o.groups[r.Txn].end = now
		o.spans[o.lastOf(0, int(r.Step))].end = now
		return
	}
	o.spans[o.lastOf(r.Txn, o.stepOf(r.Step))].end = now
}

// lastOf is the latest span of a step.
func (o *timelineObserver) lastOf(txn uint64, step int) int {
	for i := len(o.spans) - 1; i >= 0; i-- {
		if s := &o.spans[i]; s.txn == txn && s.step == step && (txn != 0 || s.end == 0) {
			return i
		}
	}
	panic("workloads: a request ends that did not begin")
}

// Commit notes when a transaction is done.
func (o *timelineObserver) Commit(c *devices.Commit) {
	if o.commits == nil {
		o.commits = map[uint64]devices.Commit{}
	}
	o.number(c.Txn)
	o.commits[c.Txn] = *c
}

// waits adds a span for each member of each group: from the end of what it did before
// until the group's.
func (o *timelineObserver) waits() {
	slices.Sort(o.txns) // as they began
	since := map[uint64]sim.Time{}
	for _, txn := range o.txns {
		since[txn] = o.commits[txn].Started
	}
	for _, n := range o.order {
		g := o.groups[n]
		for _, txn := range g.members {
			begin := since[txn]
			for i := range o.spans {
				if s := &o.spans[i]; s.txn == txn && s.end <= g.begin {
					begin = max(begin, s.end)
				}
			}
			o.spans = append(o.spans, timedSpan{Span: Span{What: "waits for " + g.log, Kind: SpanWait}, txn: txn, step: -1, begin: begin, end: g.end})
			since[txn] = g.end
		}
	}
}

// timeline numbers the moments, and sorts what there is.
func (o *timelineObserver) timeline() *Timeline {
	o.waits()
	t := &Timeline{Word: "transaction", Done: make([]int, len(o.txns))}
	if o.profile.HasCommits() {
		t.Word = "commit"
	}
	instants := o.ends
	for i := range o.spans {
		instants = append(instants, o.spans[i].begin, o.spans[i].end)
	}
	slices.Sort(instants)
	instants = slices.Compact(instants)
	moment := func(at sim.Time) int { i, _ := slices.BinarySearch(instants, at); return i }
	slices.SortStableFunc(o.spans, func(a, b timedSpan) int {
		return compareSpans(&a, &b)
	})
	for i := range o.spans {
		s := &o.spans[i]
		if s.txn != 0 {
			s.Who = fmt.Sprintf("%s %d", t.Word, o.number(s.txn))
		}
		s.Begin, s.End = moment(s.begin), moment(s.end)
		t.Spans = append(t.Spans, s.Span)
	}
	for i, txn := range o.txns {
		t.Done[i] = moment(o.commits[txn].Acked)
	}
	t.note(o)
	t.Moments = max(len(instants)-1, 0)
	t.Left = max(len(t.Spans)-MaxSpans, 0)
	t.Spans = t.Spans[:len(t.Spans)-t.Left]
	return t
}

// compareSpans sorts by time, and at one time what waits before what it waits for.
func compareSpans(a, b *timedSpan) int {
	if a.begin != b.begin {
		return int(a.begin - b.begin)
	}
	rank := func(s *timedSpan) int {
		if s.Kind == SpanWait {
			return 0
		}
		return 1
	}
	return rank(a) - rank(b)
}

// note says of the first request of each group for whom it is, where there are several
// transactions.
func (t *Timeline) note(o *timelineObserver) {
	if len(o.txns) < 2 {
		return
	}
	for _, n := range o.order {
		g := o.groups[n]
		var whose []string
		for _, txn := range o.txns {
			if slices.Contains(g.members, txn) {
				whose = append(whose, fmt.Sprint(o.number(txn)))
			}
		}
		for i := range o.spans {
			if s := &o.spans[i]; s.txn == 0 && s.Who == g.log && s.begin == g.begin {
				t.Spans[i].Note = "for " + strings.Join(whose, ", ")
			}
		}
	}
}

// short is the step in few words: without how its places are drawn.
func (s *Step) short() string {
	if s.Op == ActionFlush {
		return s.String()
	}
	out := string(s.Op)
	if s.Op == ActionMix {
		out = "request"
	}
	switch {
	case s.Preflush && s.Durable:
		out = "write with PREFLUSH and FUA"
	case s.Preflush:
		out = "write with PREFLUSH"
	case s.Durable && s.Op == ActionWrite:
		out = "write with FUA"
	}
	if s.count() > 1 {
		out = fmt.Sprintf("%d times %s", s.count(), out)
	}
	if record, _ := s.record(); record != 0 {
		out += fmt.Sprintf(" of %d bytes", record)
	} else if len(s.Split) == 0 {
		out += fmt.Sprintf(" of %v", units.Size(s.longest()))
	}
	if s.Region != "" {
		out += ", " + s.Region
	}
	return out
}

// String is the timeline as text, of lines that end in a newline and are at most 80
// columns wide where names and what is done are short.
func (t *Timeline) String() string {
	who, what := 0, 0
	for i := range t.Spans {
		who, what = max(who, len(t.Spans[i].Who)), max(what, len(t.Spans[i].What))
	}
	wide := max(1, min(6, 36/max(t.Moments, 1)))
	var b strings.Builder
	line := func(text string) { b.WriteString(strings.TrimRight(text, " ") + "\n") }
	for i := range t.Spans {
		s := &t.Spans[i]
		mark := map[SpanKind]string{SpanWait: "·", SpanFlush: "▒", SpanFUA: "▓"}[s.Kind]
		if mark == "" {
			mark = "█"
		}
		bar := strings.Repeat(" ", s.Begin*wide) + strings.Repeat(mark, max(s.End-s.Begin, 0)*wide) + strings.Repeat(" ", (t.Moments-s.End)*wide)
		line(fmt.Sprintf("  %-*s  %-*s  %s  %s", who, s.Who, what, s.What, bar, s.Note))
	}
	if t.Left > 0 {
		line(fmt.Sprintf("  and %d more", t.Left))
	}
	return b.String()
}
