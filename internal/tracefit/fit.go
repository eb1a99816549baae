package tracefit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"nbdbench/internal/text"
	"nbdbench/internal/trace"
	"nbdbench/internal/units"
	"nbdbench/workloads"
)

const (
	leastRecords = 100
	maxSplit     = 64 // sizes of a stream
	depth        = 64 // a trace says when requests were due, not how many could be in flight
	evenCV       = 0.3
	burstyCV     = 1.25
)

// Result is a profile that resembles a trace.
type Result struct {
	YAML    string
	Profile workloads.Profile
	rows    []row
}

// Fit reads the trace twice and returns a profile of that name for it.
func Fit(open source, name string) (*Result, error) {
	s, err := read(open)
	if err != nil {
		return nil, err
	}
	if s.span == 0 {
		return nil, fmt.Errorf("expected requests at different times: all %d are at one instant", s.records)
	}
	out := &Result{YAML: s.profile(name)}
	if out.Profile, err = workloads.Parse(name, []byte(out.YAML)); err != nil {
		return nil, fmt.Errorf("a fault of the fit, its profile is none: %w", err)
	}
	again, err := generated(&out.Profile, s)
	if err != nil {
		return nil, err
	}
	out.rows = compare(s, again)
	return out, nil
}

// profile is the text of the profile.
func (s *shape) profile(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\n", name)
	fmt.Fprintf(&b, "description: >-\n  Fitted to a trace of %d requests over %v. Kept: rates, sizes, where requests go, how they\n", s.records, units.Rough(s.span))
	b.WriteString("  come. Not kept: which follows which, and change over time.\n")
	fmt.Fprintf(&b, "source: %q\n", "fitted by nbdbench workloads fit")
	if s.data.count > 0 {
		b.WriteString("regions:\n")
	}
	for i := range s.each {
		if t := &s.each[i]; t.count > 0 && classOf(i).op != trace.Flush {
			low := t.low / 4096 * 4096
			size := max(roundUp(t.end-low, 4096), roundUp(largest(t), 4096))
			fmt.Fprintf(&b, "  - {name: %s, offset: %v, size: %v}\n", classOf(i), units.Size(low), units.Size(size))
		}
	}
	b.WriteString("streams:\n")
	for i := range s.each {
		if t := &s.each[i]; t.count > 0 {
			fmt.Fprintf(&b, "  - name: %s\n    queue_depth: %d\n%s    transaction:\n      - %s\n", classOf(i), depth, s.arrival(t), step(classOf(i), t))
		}
	}
	return b.String()
}

// arrival is the keys of how a class's requests come: as all do together, in its share.
func (s *shape) arrival(t *tally) string {
	part := float64(t.count) / float64(s.records)
	rate := float64(s.records-1) / s.span.Seconds() * part
	cv := s.gaps.cv()
	if cv > burstyCV {
		if b, ok := s.gaps.bursts(); ok {
			return fmt.Sprintf("    arrival: bursts\n    rate: %s\n    on: %v\n    off: %v\n", rateText(b.rate*part), rounded(b.on), rounded(b.off))
		}
	}
	if cv < evenCV && t.count == s.records {
		return fmt.Sprintf("    arrival: constant\n    rate: %s\n", rateText(rate))
	}
	return fmt.Sprintf("    arrival: poisson\n    rate: %s\n", rateText(rate))
}

func rateText(r float64) string { return fmt.Sprintf("%.6g/s", r) }

// rounded is a duration of four digits.
func rounded(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 10000 {
		unit *= 10
	}
	return d.Round(unit)
}

// step is the one step of a stream.
func step(c class, t *tally) string {
	if c.op == trace.Flush {
		return "{op: flush}"
	}
	keys := []string{"op: " + c.op.String()}
	if c.fua {
		keys = append(keys, "durable: true")
	}
	keys = append(keys, sizes(c, t), "region: "+c.String())
	if c.sequential {
		keys = append(keys, "pattern: sequential")
	} else {
		keys = append(keys, where(t))
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

// where is the pattern of requests that do not go on where one ended.
func where(t *tally) string {
	l := place(t.bins, (t.end-t.low)/t.block())
	switch l.pattern {
	case patternZipf:
		return fmt.Sprintf("pattern: zipf, theta: %g", l.theta)
	case patternZoned:
		var zones []string
		for i, percent := range []float64{l.before, l.hot, math.Round(100*(100-l.before-l.hot)) / 100} {
			if percent > 0 {
				zones = append(zones, fmt.Sprintf("{percent: %g, weight: %g}", percent, l.share[i]))
			}
		}
		return "pattern: zoned, zones: [" + strings.Join(zones, ", ") + "]"
	}
	return "pattern: random"
}

// legal is a size that a step can have.
func legal(c class, size uint64) uint64 {
	most := uint64(workloads.MaxTransfer)
	if c.op != trace.Read && c.op != trace.Write {
		most = workloads.MaxExtent
	}
	return min(max(roundUp(size, 512), 512), most)
}

func largest(t *tally) (size uint64) {
	for s := range t.sizes {
		size = max(size, s)
	}
	return min(size, workloads.MaxExtent)
}

// sizes is the size of a step's requests, or the most frequent ones with their weights;
// the others count as the next larger of these, or as the largest.
func sizes(c class, t *tally) string {
	counts := map[uint64]uint64{}
	for size, n := range t.sizes {
		counts[legal(c, size)] += n
	}
	var list []uint64
	for size := range counts {
		list = append(list, size)
	}
	slices.SortFunc(list, func(a, b uint64) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	kept := slices.Clone(list[:min(len(list), maxSplit)])
	slices.Sort(kept)
	for _, size := range list[len(kept):] {
		i, _ := slices.BinarySearch(kept, size)
		counts[kept[min(i, len(kept)-1)]] += counts[size]
	}
	if len(kept) == 1 {
		return fmt.Sprintf("size: %v", units.Size(kept[0]))
	}
	var parts []string
	for _, size := range kept {
		parts = append(parts, fmt.Sprintf("{size: %v, weight: %d}", units.Size(size), counts[size]))
	}
	return "split: [" + strings.Join(parts, ", ") + "]"
}

// Name makes a profile's name of a file's.
func Name(file string) string {
	name := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune(`/\"'{}[]:,#&*!|>%@`+"`", r) {
			return r
		}
		return '-'
	}, text.Line(file))
	return "fitted-" + name[:min(len(name), 100)]
}
