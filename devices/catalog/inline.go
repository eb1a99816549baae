package catalog

import (
	"fmt"
	"strconv"
	"strings"

	"nbdbench/devices/empirical"
	"nbdbench/internal/conf"
)

// buckets are those of a histogram, written in one text as FROM-TO*COUNT, in
// nanoseconds and separated by blanks.
type buckets []empirical.Bucket

const bucketsWanted = "buckets FROM-TO*COUNT in ns, separated by blanks, such as \"1000-1003*5 1004-1007*1\""

// UnmarshalText reads them.
func (b *buckets) UnmarshalText(text []byte) error {
	*b = nil
	for word := range strings.FieldsSeq(string(text)) {
		span, count, ok := strings.Cut(word, "*")
		from, to, ok2 := strings.Cut(span, "-")
		var k empirical.Bucket
		for _, n := range []struct {
			text string
			into *int64
		}{{from, &k.From}, {to, &k.To}, {count, &k.Count}} {
			v, err := strconv.ParseInt(n.text, 10, 64)
			ok, *n.into = ok && err == nil, v
		}
		if !ok || !ok2 {
			return fmt.Errorf("%.40q: expected %s", word, bucketsWanted)
		}
		*b = append(*b, k)
	}
	if len(*b) == 0 {
		return fmt.Errorf("nothing: expected %s", bucketsWanted)
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (b buckets) MarshalText() ([]byte, error) {
	var out []byte
	for i, k := range b {
		if i > 0 {
			out = append(out, ' ')
		}
		out = fmt.Appendf(out, "%d-%d*%d", k.From, k.To, k.Count)
	}
	return out, nil
}

// inline is the section with its latencies in it, and no log.
func (e *Empirical) inline() *Empirical {
	if e == nil {
		return nil
	}
	out := &Empirical{Parallel: e.Parallel, Latencies: map[string]buckets{}, latency: e.latency}
	for o := range e.latency {
		if t := &e.latency[o]; t.Count() > 0 {
			out.Latencies[empirical.Operation(o).String()] = t.Buckets()
		}
	}
	return out
}

// useInline makes the tables of the latencies that the profile has in it.
func (e *Empirical) useInline(needs []empirical.Operation) error {
	if e.Log != "" || e.Select != "" || len(e.Operations) > 0 {
		return conf.At("log", "expected a log, or latencies in its place")
	}
	var latency [empirical.Operations]empirical.Table
	for _, o := range needs {
		path := "latencies." + o.String()
		if len(e.Latencies[o.String()]) == 0 {
			return conf.At(path, "expected those of %s", join(needs))
		}
		var err error
		if latency[o], err = empirical.NewTable(e.Latencies[o.String()]); err != nil {
			return conf.At(path, "%v", err)
		}
	}
	if len(e.Latencies) > len(needs) {
		return conf.At("latencies", "expected only operations that the device offers, of %s", join(needs))
	}
	e.latency = &latency
	return nil
}
