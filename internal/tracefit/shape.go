package tracefit

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"nbdbench/internal/trace"
)

const (
	// MaxSizes bounds the sizes of a class that are distinguished; further ones count as
	// the next power of two.
	MaxSizes = 1024
	// Bins is into how many parts of one size the region of a class is divided.
	Bins = 4096

	recent    = 16 // requests of an operation, where one that goes on may have ended
	leastPart = 0.05
)

// class is a kind of request: what it does, and whether it goes on where another ended.
type class struct {
	op         trace.Op
	fua        bool
	sequential bool
}

const (
	kinds   = 10 // operations with FUA and without
	classes = 2 * kinds
)

func (c class) index() int {
	i := int(c.op) * 2
	if c.fua {
		i++
	}
	if c.sequential {
		return i + kinds
	}
	return i
}

func classOf(i int) class {
	k := i % kinds
	return class{op: trace.Op(k / 2), fua: k%2 == 1, sequential: i >= kinds}
}

// String is the class as the name of a stream.
func (c class) String() string {
	s := c.op.String()
	if c.fua {
		s += "-fua"
	}
	if c.sequential {
		s += "-sequential"
	}
	return s
}

// tally is what was seen of a class.
type tally struct {
	count    uint64
	low, end uint64 // of the bytes that its requests are in
	sizes    map[uint64]uint64
	step     uint64   // the size of a bin
	bins     []uint64 // requests by where they begin, of the second pass
}

func (t *tally) add(r trace.Record) {
	if t.count == 0 {
		t.low, t.sizes = r.Offset, map[uint64]uint64{}
	}
	t.count++
	t.low, t.end = min(t.low, r.Offset), max(t.end, r.Offset+r.Length)
	size := r.Length
	if _, ok := t.sizes[size]; !ok && len(t.sizes) >= MaxSizes {
		size = 1 << uint(math.Ceil(math.Log2(float64(max(size, 1)))))
	}
	t.sizes[size]++
}

// merge adds another class's requests.
func (t *tally) merge(o *tally) {
	if o.count == 0 {
		return
	}
	if t.count == 0 {
		*t = *o
		return
	}
	t.count += o.count
	t.low, t.end = min(t.low, o.low), max(t.end, o.end)
	for size, n := range o.sizes {
		t.sizes[size] += n
	}
}

// block is the smallest size, in whole sectors.
func (t *tally) block() uint64 { return max(roundUp(quantile(t.sizes, t.count, 0), 512), 512) }

// width is the size of a bin: whole blocks.
func (t *tally) width() uint64 { return max(roundUp((t.end-t.low+Bins-1)/Bins, t.block()), t.block()) }

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

func (t *tally) bin(offset uint64) {
	if t.bins == nil {
		t.step = t.width()
		t.bins = make([]uint64, max((t.end-t.low+t.step-1)/t.step, 1))
	}
	if offset >= t.low && offset < t.end {
		t.bins[(offset-t.low)/t.step]++
	}
}

// hottest is the share of requests that go to the tenth of the bins that has most.
func (t *tally) hottest() float64 { return hottest(t.bins) }

func hottest(bins []uint64) float64 {
	sorted := slices.Clone(bins)
	slices.Sort(sorted)
	slices.Reverse(sorted)
	top, all := uint64(0), uint64(0)
	for i, n := range sorted {
		if all += n; i < (len(sorted)+9)/10 {
			top += n
		}
	}
	return float64(top) / float64(max(all, 1))
}

// shape is what is kept of a trace.
type shape struct {
	records uint64
	span    time.Duration
	each    [classes]tally
	data    tally // all that has a place
	gaps    gaps

	ends  [kinds][recent]uint64 // where the last requests of each kind ended
	next  [kinds]int
	known [kinds]uint64
	last  time.Duration
}

// classify says of which class a request is.
func (s *shape) classify(r trace.Record) class {
	c := class{op: r.Op, fua: r.FUA && r.Op != trace.Read && r.Op != trace.Flush}
	if r.Op == trace.Flush {
		return c
	}
	k := c.index()
	for _, e := range s.ends[k][:min(s.known[k], recent)] {
		if e == r.Offset {
			c.sequential = true
		}
	}
	s.ends[k][s.next[k]] = r.Offset + r.Length
	s.next[k] = (s.next[k] + 1) % recent
	s.known[k]++
	return c
}

// forget begins anew with what classify knows, for another pass.
func (s *shape) forget() {
	s.ends, s.next, s.known = [kinds][recent]uint64{}, [kinds]int{}, [kinds]uint64{}
}

func (s *shape) add(r trace.Record) {
	if s.records > 0 {
		s.gaps.add(r.At - s.last)
	}
	s.records, s.last, s.span = s.records+1, r.At, r.At
	s.each[s.classify(r).index()].add(r)
	if r.Op != trace.Flush {
		s.data.add(r)
	}
}

// place counts where a request is, in the second pass.
func (s *shape) place(r trace.Record) {
	c := s.classify(r)
	if r.Op == trace.Flush {
		return
	}
	if t := &s.each[c.index()]; t.count > 0 {
		t.bin(r.Offset)
	} else { // few of them went on, or did not, and count as the others
		c.sequential = !c.sequential
		s.each[c.index()].bin(r.Offset)
	}
	s.data.bin(r.Offset)
}

// fold takes the few requests of an operation that go on where one ended, or that do not,
// for what its others are.
func (s *shape) fold() {
	for k := range kinds {
		a, b := &s.each[k], &s.each[k+kinds]
		switch n := float64(a.count + b.count); {
		case float64(b.count) < leastPart*n:
			a.merge(b)
			*b = tally{}
		case float64(a.count) < leastPart*n:
			b.merge(a)
			*a = tally{}
		}
	}
}

// sequential is the share of the requests with a place that go on where one ended.
func (s *shape) sequential() float64 {
	n := uint64(0)
	for k := range kinds {
		n += s.each[k+kinds].count
	}
	return float64(n) / float64(max(s.data.count, 1))
}

// source gives the requests of a trace, from the first one on, each time that it is
// opened.
type source func() (next func() (trace.Record, error), close func() error, err error)

// read takes both passes over a trace.
func read(open source) (*shape, error) {
	s := new(shape)
	if err := s.pass(open, s.add); err != nil {
		return nil, err
	}
	if s.records < leastRecords {
		return nil, fmt.Errorf("expected at least %d requests, got %d", leastRecords, s.records)
	}
	s.fold()
	s.forget()
	return s, s.pass(open, s.place)
}

func (s *shape) pass(open source, take func(trace.Record)) error {
	next, done, err := open()
	if err != nil {
		return err
	}
	for {
		r, err := next()
		if err == io.EOF {
			return done()
		}
		if err != nil {
			done() // the first error is the one to report
			return err
		}
		take(r)
	}
}

// quantile is a quantile of the sizes of all classes of an operation, 0 without any.
func (s *shape) quantile(op trace.Op, q float64) uint64 {
	sizes, all := map[uint64]uint64{}, uint64(0)
	for i := range s.each {
		if classOf(i).op == op {
			for size, n := range s.each[i].sizes {
				sizes[size] += n
				all += n
			}
		}
	}
	return quantile(sizes, all, q)
}

func quantile(sizes map[uint64]uint64, all uint64, q float64) uint64 {
	var list []uint64
	for size := range sizes {
		list = append(list, size)
	}
	slices.Sort(list)
	seen := uint64(0)
	for _, size := range list {
		if seen += sizes[size]; float64(seen) >= q*float64(all) {
			return size
		}
	}
	return 0
}
