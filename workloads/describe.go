package workloads

import (
	"cmp"
	"fmt"
	"strings"

	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

// Describe is the profile as text, for people: what it is, where it comes
// from, and its steps in order. The last line ends in a newline.
func (p *Profile) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.Name)
	for _, part := range []string{p.Description, p.Source} {
		if part = strings.TrimSpace(part); part != "" {
			fmt.Fprintf(&b, "\n%s\n", text.Wrap(part))
		}
	}
	if len(p.Streams) == 0 {
		fmt.Fprintf(&b, "\nload: %s\n", p.Load)
	} else {
		p.describePhases(&b)
	}
	for i := range p.Regions {
		fmt.Fprintf(&b, "region: %s\n", &p.Regions[i])
	}
	for _, name := range p.logNames() {
		fmt.Fprintf(&b, "log: %s, %s\n", name, p.Logs[name])
	}
	for _, s := range p.All() {
		s.describe(&b)
	}
	if t, err := p.Timeline(); err == nil && t != nil {
		fmt.Fprintf(&b, "\nwho waits for what, if every request takes as long (█ write or read, ▓ FUA, ▒ flush, · waits):\n%s", t)
	}
	if c := p.PerCommit; c != nil {
		fmt.Fprintf(&b, "\nAlone, a commit asks for %s.\n", c)
	}
	if what := promises[p.Invariant]; what != "" {
		fmt.Fprintf(&b, "\nAfter a power cut (%s): %s.\n", p.Invariant, what)
	}
	switch {
	case !p.HasCommits():
		b.WriteString("\nIt has no commits, so strategies are compared by the latency of these operations.\n")
	case len(p.Streams) == 0 && !p.Durable():
		b.WriteString("\nA commit does not ask for all that it wrote to be durable.\n")
	}
	return b.String()
}

// String is the counts in words.
func (c *PerCommit) String() string {
	out := fmt.Sprintf("%.3g FLUSH and %.3g writes with FUA", c.Flushes, c.FUAs)
	if c.Bytes != 0 {
		out += fmt.Sprintf(", and writes %.3g KiB", float64(c.Bytes)/1024)
	}
	return out
}

// describePhases says what runs when.
func (p *Profile) describePhases(b *strings.Builder) {
	all := p.All()
	for i, phase := range p.EachPhase() {
		names := make([]string, len(phase))
		for k, s := range phase {
			names[k] = all[s].Name
		}
		if len(p.Phases) == 0 {
			fmt.Fprintf(b, "\nstreams: %s, at the same time\n", strings.Join(names, ", "))
			return
		}
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "phase %d: %s\n", i+1, strings.Join(names, ", "))
	}
}

// describe is one stream; the only one of a profile is the profile.
func (s *Stream) describe(b *strings.Builder) {
	what := "a commit"
	if !s.Commits() {
		what = "a transaction, which is no commit"
	}
	title, between := what+", from when it is due until its last reply", "between two of them, not part of their latency"
	if s.Name != "" {
		title, between = what, "between two of them"
		fmt.Fprintf(b, "\nstream %s: %s%s\n", s.Name, s.Load, s.details())
	}
	describeSteps(b, title, s.Transaction)
	if len(s.Between) > 0 {
		describeSteps(b, between, s.Between)
	}
}

// details are what a stream says beyond its load.
func (s *Stream) details() (out string) {
	if s.copies() > 1 {
		out += fmt.Sprintf(", %d copies", s.copies())
	}
	if s.Connections > 0 {
		out += fmt.Sprintf(", %d connections of its own", s.Connections)
	}
	if s.StartDelay > 0 {
		out += fmt.Sprintf(", beginning after %v", s.StartDelay)
	}
	if s.Transactions > 0 {
		out += fmt.Sprintf(", %d transactions", s.Transactions)
	}
	return out
}

// promises are the invariants in words.
var promises = map[Invariant]string{
	InvariantPrefix:       "where a record is there, so is every one that was acknowledged before it was begun",
	InvariantCommitRecord: "where a commit record is there, so is all that its transaction wrote before it",
	InvariantDoublewrite:  "where a page is torn, its copy is whole",
}

func describeSteps(b *strings.Builder, title string, steps []Step) {
	fmt.Fprintf(b, "\n%s:\n", title)
	for i := range steps {
		fmt.Fprintf(b, "  %d. %s\n", i+1, &steps[i])
	}
}

// String is the load in one line.
func (l Load) String() string {
	at := fmt.Sprintf("at most %d transactions in progress", l.depth())
	if l.depth() == 1 {
		at = "one transaction at a time"
	}
	switch {
	case l.Arrival == ArrivalBursts:
		return fmt.Sprintf("open loop, bursts of %v at %v with %v between two, %s", l.On, l.Rate, l.Off, at)
	case l.Arrival == ArrivalReplayed:
		return fmt.Sprintf("open loop, arrivals as recorded at %v times the speed, %s", cmp.Or(l.Speed, 1), at)
	case l.Open():
		return fmt.Sprintf("open loop, %s arrivals, %v, %s", l.Arrival, l.Rate, at)
	case l.Think > 0:
		return fmt.Sprintf("closed loop, %s, %v between two", at, l.Think)
	}
	return "closed loop, " + at
}

func (r *Region) String() string {
	size := "all that follows"
	if r.Size != nil {
		size = r.Size.String()
	}
	if r.AtMost != 0 {
		size += fmt.Sprintf(", at most %v", r.AtMost)
	}
	return fmt.Sprintf("%s, %s from %v", r.Name, size, r.Offset)
}

// String is the step in one line.
func (s *Step) String() string {
	if s.Op == ActionFlush {
		return strings.Repeat("flush, ", int(s.count())-1) + "flush"
	}
	switch {
	case s.Op == ActionReplay:
		return "replay of the next request of " + s.File
	case s.Op == ActionCommit && s.Blocks > 0:
		return fmt.Sprintf("commit of %d blocks to the journal %s", s.Blocks, s.Log)
	case s.Op == ActionCommit:
		return fmt.Sprintf("commit of a record of %d bytes to %s", uint64(s.Record), s.Log)
	}
	out := string(s.Op)
	if s.Op == ActionMix {
		out = s.Mix.String()
	}
	if s.NoHole {
		out += " (no hole)"
	}
	if s.Durable {
		out = "durable " + out
	}
	if s.Preflush {
		out = "flush and then " + out
	}
	if s.count() > 1 {
		out = fmt.Sprintf("%d times %s", s.count(), out)
	}
	out += s.sizeText()
	where := "the whole device"
	if s.Region != "" {
		where = s.Region
	}
	out += fmt.Sprintf(", %s%s in %s", s.pattern(), s.patternText(), where)
	if s.Parallel && s.count() > 1 {
		out += ", all in flight together"
	}
	return out
}

// String is the mix in words: "60% read, 40% write".
func (m *Mix) String() string {
	sum := m.Read + m.Write + m.Trim + m.WriteZeroes
	var parts []string
	for _, part := range []struct {
		op     Action
		weight float64
	}{{ActionRead, m.Read}, {ActionWrite, m.Write}, {ActionTrim, m.Trim}, {ActionWriteZeroes, m.WriteZeroes}} {
		if part.weight > 0 {
			parts = append(parts, fmt.Sprintf("%.3g%% %s", 100*part.weight/sum, part.op))
		}
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// sizeText is the size of a step's requests.
func (s *Step) sizeText() string {
	record, block := s.record()
	switch {
	case len(s.Split) > 0:
		weights, parts := 0.0, make([]string, len(s.Split))
		for _, share := range s.Split {
			weights += share.Weight
		}
		for i, share := range s.Split {
			parts[i] = fmt.Sprintf("%v (%.3g%%)", share.Size, 100*share.Weight/weights)
		}
		return " of " + strings.Join(parts, ", ")
	case s.MaxSize != 0:
		return fmt.Sprintf(" of %v to %v", s.Size, units.Size(s.longest()))
	case record != 0:
		return fmt.Sprintf(" of %v blocks that hold a record of %d bytes", units.Size(block), record)
	}
	return fmt.Sprintf(" of %v", s.Size)
}

// patternText is what a pattern needs beside its name.
func (s *Step) patternText() string {
	switch {
	case s.pattern() == PatternPareto:
		return fmt.Sprintf(" (%.3g)", s.h())
	case s.pattern() == PatternNormal:
		return fmt.Sprintf(" (%.3g%%)", s.deviation())
	case s.pattern() == PatternStride:
		return fmt.Sprintf(" of %v", s.Stride)
	case s.pattern() == PatternZoned:
		var parts []string
		for _, z := range s.zones() {
			parts = append(parts, fmt.Sprintf("%.3g in %.3g%%", z.Weight, z.Percent))
		}
		return " (" + strings.Join(parts, ", ") + ")"
	case s.RandomPercent > 0:
		return fmt.Sprintf(" but for %.3g%%", s.RandomPercent)
	}
	return ""
}
