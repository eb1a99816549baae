package empirical

import (
	"fmt"
	"sort"

	"nbdbench/sim"
)

// Bucket is how many of the measured latencies lie from From to To, both within
// it, in nanoseconds.
type Bucket struct{ From, To, Count int64 }

// Table is a measured distribution of latencies. The zero value has none and
// must not be drawn from.
type Table struct {
	buckets []Bucket
	before  []int64 // samples in the buckets before each
	total   int64
}

// MaxLatency bounds a latency: an hour, as the range of the histograms.
const MaxLatency = int64(3601 * 1e9)

// NewTable makes a table of buckets, which must rise and not be empty. Buckets
// that are equal in range may come several times, one behind the other.
func NewTable(buckets []Bucket) (Table, error) {
	t := Table{}
	for i, b := range buckets {
		switch {
		case b.Count <= 0 || b.From < 0 || b.To < b.From || b.To > MaxLatency:
			return Table{}, fmt.Errorf("bucket %d: %d latencies from %d to %d ns", i, b.Count, b.From, b.To)
		case i > 0 && b.From < buckets[i-1].From:
			return Table{}, fmt.Errorf("bucket %d: begins at %d ns, below the one before it", i, b.From)
		case t.total+b.Count < t.total:
			return Table{}, fmt.Errorf("bucket %d: more than 2^63 latencies", i)
		}
		t.buckets, t.before = append(t.buckets, b), append(t.before, t.total)
		t.total += b.Count
	}
	return t, nil
}

// Buckets are what the table was made of; they must not be changed.
func (t *Table) Buckets() []Bucket { return t.buckets }

// Count is how many latencies were measured.
func (t *Table) Count() int64 { return t.total }

// Sample is the draw numbered (a, b) of stream s: the latency of a rank that is
// drawn evenly, buckets being filled evenly.
func (t *Table) Sample(s sim.Stream, a, b uint64) sim.Duration {
	rank := int64(s.Uint64N(uint64(t.total), a, b))
	i := sort.Search(len(t.before), func(i int) bool { return t.before[i] > rank }) - 1
	k := &t.buckets[i]
	within := (float64(rank-t.before[i]) + 0.5) / float64(k.Count)
	return sim.Duration(k.From) + sim.Duration(float64(k.To-k.From)*within)
}
