package workloads

import (
	"fmt"
	"strings"

	"nbdbench/internal/text"
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
	fmt.Fprintf(&b, "\nload: %s\n", p.Load)
	for i := range p.Regions {
		fmt.Fprintf(&b, "region: %s\n", &p.Regions[i])
	}
	describeSteps(&b, "a commit, from when it is due until its last reply", p.Transaction)
	if len(p.Between) > 0 {
		describeSteps(&b, "between two commits, not part of their latency", p.Between)
	}
	if what := promises[p.Invariant]; what != "" {
		fmt.Fprintf(&b, "\nAfter a power cut (%s): %s.\n", p.Invariant, what)
	}
	if !p.Durable() {
		b.WriteString("\nA commit does not ask for all that it wrote to be durable.\n")
	}
	return b.String()
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
	out := string(s.Op)
	if s.Durable {
		out = "durable " + out
	}
	if s.count() > 1 {
		out = fmt.Sprintf("%d times %s", s.count(), out)
	}
	out += fmt.Sprintf(" of %v", s.Size)
	if s.pattern() == PatternAppend {
		out += fmt.Sprintf(" blocks that hold a record of %d bytes", uint64(s.Record))
	}
	where := "the whole device"
	if s.Region != "" {
		where = s.Region
	}
	out += fmt.Sprintf(", %s in %s", s.pattern(), where)
	if s.Parallel && s.count() > 1 {
		out += ", all in flight together"
	}
	return out
}
