package workloads

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/sim"
)

// drawsOf lists the requests of n transactions of one step.
func drawsOf(t *testing.T, step string, n uint64) (ops []devices.Op, places [][2]uint64) {
	t.Helper()
	p := profile(t, "regions: [{name: r, offset: 1m, size: 4m}]\ntransaction: [{"+step+", region: r}]\n")
	info := devices.Info{Size: testSize, CanTrim: true, CanZero: true}
	if err := p.Fits(info); err != nil {
		t.Fatal(err)
	}
	s := compile(&p, "workload/commit", p.Transaction, 0, 1, info, 1)
	for i := range n {
		for _, stage := range s.stages {
			for j := range stage {
				o := &stage[j]
				op := o.command
				if m, ok := o.varies.(*mixture); ok {
					op = m.draw(i, o.step)
				}
				offset, length := o.place.at(i, o.step)
				if offset < 1<<20 || offset+length > 5<<20 || length == 0 || length > o.longest {
					t.Fatalf("%s: request at %d+%d", step, offset, length)
				}
				ops, places = append(ops, op), append(places, [2]uint64{offset - 1<<20, length})
			}
		}
	}
	return ops, places
}

// share is the part of the values for which is holds.
func share[T any](values []T, is func(T) bool) float64 {
	n := 0
	for _, v := range values {
		if is(v) {
			n++
		}
	}
	return float64(n) / float64(len(values))
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.01 {
		t.Errorf("%s: %.3f, want %.3f", what, got, want)
	}
}

const many = 50000

func TestAMixHasItsWeights(t *testing.T) {
	ops, _ := drawsOf(t, "op: mix, mix: {read: 60, write: 30, trim: 10}, size: 4k, pattern: random", many)
	for op, want := range map[devices.Op]float64{devices.OpRead: 0.6, devices.OpWrite: 0.3, devices.OpTrim: 0.1, devices.OpWriteZeroes: 0} {
		near(t, op.String(), share(ops, func(o devices.Op) bool { return o == op }), want)
	}
	// Without writes nothing is durable, and reads have no FUA.
	p := profile(t, "transaction: [{op: mix, mix: {read: 1, write: 1}, durable: true, size: 4k}]\n")
	o, _ := run(t, newFake(sim.NewLoop(), us), Config{Profile: p, Seed: 1, Commits: 100})
	if n := share(o.submits, func(r devices.Request) bool { return r.Flags != 0 }); n < 0.3 || n > 0.7 {
		t.Errorf("%.2f have FUA", n)
	}
	for i := range o.submits {
		if r := &o.submits[i]; (r.Op == devices.OpWrite) != r.Durable() || (r.Stamp != 0) != r.Op.Modifies() || r.Op == devices.OpRead && len(r.Versions) != 8 {
			t.Fatalf("%v, stamp %d, %d versions", r, r.Stamp, len(r.Versions))
		}
	}
}

func TestSizesAreDrawn(t *testing.T) {
	_, places := drawsOf(t, "op: read, split: [{size: 4k, weight: 67}, {size: 8k, weight: 10}, {size: 512, weight: 23}], pattern: random", many)
	for size, want := range map[uint64]float64{4096: 0.67, 8192: 0.1, 512: 0.23} {
		near(t, "split", share(places, func(p [2]uint64) bool { return p[1] == size }), want)
	}
	_, places = drawsOf(t, "op: read, size: 4k, max_size: 18k, pattern: random", many)
	for size := uint64(4096); size <= 16384; size += 4096 {
		near(t, "range", share(places, func(p [2]uint64) bool { return p[1] == size && p[0]%4096 == 0 }), 0.25)
	}
}

func TestASequenceOfDrawnSizesHasNoGaps(t *testing.T) {
	_, places := drawsOf(t, "op: write, split: [{size: 4k, weight: 1}, {size: 512, weight: 1}], count: 3", 3000)
	wraps := 0
	for i, p := range places[1:] {
		if end := places[i][0] + places[i][1]; p[0] == 0 && end > 4<<20-4<<12 {
			wraps++
		} else if p[0] != end {
			t.Fatalf("request %d at %d, after %d", i+1, p[0], end)
		}
	}
	if wraps < 4 || wraps > 5 { // 9000 of 2304 bytes on average
		t.Errorf("%d times around", wraps)
	}
}

func TestASizeInBytesIsTheBlocksThatHoldIt(t *testing.T) {
	_, places := drawsOf(t, "op: write, size: 2300, pattern: append", 3)
	if want := [][2]uint64{{0, 4096}, {0, 8192}, {4096, 4096}}; !slices.Equal(places, want) {
		t.Errorf("append: got %v, want %v", places, want)
	}
	_, places = drawsOf(t, "op: write, size: 2300", 3)
	if want := [][2]uint64{{0, 4096}, {0, 8192}, {4096, 4096}}; !slices.Equal(places, want) {
		t.Errorf("sequential: got %v, want %v", places, want)
	}
	_, places = drawsOf(t, "op: write, size: 448, block: 512, pattern: random", many)
	near(t, "records of 448 bytes in two sectors", share(places, func(p [2]uint64) bool { return p[1] == 1024 }), 384.0/448*448/512)
}

func TestPatternsGoWhereTheySay(t *testing.T) {
	first := func(part float64) func([2]uint64) bool {
		return func(p [2]uint64) bool { return p[0] < uint64(part*4096)<<10 }
	}
	_, places := drawsOf(t, "op: read, size: 4k, pattern: zoned, zones: [{percent: 10, weight: 60}, {percent: 20, weight: 30}, {percent: 70, weight: 10}]", many)
	near(t, "first zone", share(places, first(0.1)), 0.6)
	near(t, "two zones", share(places, first(0.3)), 0.9)
	_, places = drawsOf(t, "op: read, size: 4k, pattern: zoned", many)
	near(t, "hot", share(places, first(0.2)), 0.8)

	_, places = drawsOf(t, "op: read, size: 4k, pattern: normal, deviation: 10", many)
	near(t, "below one deviation", share(places, first(0.4)), 0.1587)
	near(t, "above two", 1-share(places, first(0.7)), 0.0228)

	_, places = drawsOf(t, "op: read, size: 4k, random_percent: 30", many)
	next := 0
	for i, p := range places {
		if p[0] == uint64(i)%1024*4096 {
			next++
		}
	}
	near(t, "in sequence", float64(next)/many, 0.7+0.3/1024)

	_, places = drawsOf(t, "op: read, size: 4k, pattern: stride, stride: 1m", 12)
	var at []uint64
	for _, p := range places {
		at = append(at, p[0]>>12)
	}
	if want := []uint64{0, 256, 512, 768, 1, 257, 513, 769, 2, 258, 514, 770}; !slices.Equal(at, want) {
		t.Errorf("stride: %v, want %v", at, want)
	}
}

func TestParetoTakesFewBlocksMostOfTheTime(t *testing.T) {
	_, places := drawsOf(t, "op: read, size: 4k, pattern: pareto, h: 0.2", many)
	counts := map[uint64]int{}
	for _, p := range places {
		counts[p[0]]++
	}
	var all []int
	for _, n := range counts {
		all = append(all, n)
	}
	slices.Sort(all)
	slices.Reverse(all)
	sum := 0
	for _, n := range all[:min(1024/5, len(all))] {
		sum += n
	}
	// Ranks that share a block make it a little more.
	if got := float64(sum) / many; got < 0.79 || got > 0.90 {
		t.Errorf("a fifth of the blocks has %.3f of all, want 0.8", got)
	}
}

func TestShuffledRepeatsNothing(t *testing.T) {
	_, places := drawsOf(t, "op: read, size: 4k, count: 2, pattern: shuffled", 1024)
	seen := [2]map[uint64]bool{{}, {}}
	for i, p := range places {
		if seen[i/1024][p[0]] {
			t.Fatalf("block %d comes twice", p[0])
		}
		seen[i/1024][p[0]] = true
	}
	if places[0] == places[1024] && places[1] == places[1025] {
		t.Error("both passes are in the same order")
	}
	same := 0
	for i, p := range places[1:1024] {
		if p[0] == places[i][0]+4096 {
			same++
		}
	}
	if same > 10 {
		t.Errorf("%d of 1024 follow their neighbour", same)
	}
}

func TestWhatIsWrongWithADrawIsSaid(t *testing.T) {
	for step, want := range map[string]string{
		"op: mix, size: 4k":                                                       "mix: expected with op mix",
		"op: read, mix: {read: 1}, size: 4k":                                      "mix: expected with op mix",
		"op: mix, mix: {read: -1}, size: 4k":                                      "mix: expected weights",
		"op: mix, mix: {}, size: 4k":                                              "mix: expected a weight above 0",
		"op: mix, mix: {read: 1}, size: 4k, durable: true":                        "durable: expected only",
		"op: read, split: [{size: 4k, weight: 1}], size: 4k":                      "split: expected in place of size",
		"op: read, split: [{size: 4k}]":                                           "split[0].weight: expected",
		"op: read, split: [{size: 4000, weight: 1}]":                              "split[0].size: expected a multiple",
		"op: read, split: [{size: 64m, weight: 1}]":                               "size: expected at most 32MiB",
		"op: read, size: 8k, max_size: 4k":                                        "max_size: expected at least size",
		"op: read, size: 2300, max_size: 4k":                                      "max_size: expected at least size",
		"op: read, size: 4k, block: 4k":                                           "block: expected",
		"op: read, size: 2300, block: 1000":                                       "block: expected a multiple",
		"op: write, size: 2300, record: 5, pattern: append":                       "size: expected a multiple",
		"op: write, size: 4k, max_size: 8k, record: 5, pattern: append":           "pattern: expected records of one size",
		"op: read, size: 4k, h: 0.2":                                              "h: expected",
		"op: read, size: 4k, pattern: pareto, h: 0.5":                             "h: expected",
		"op: read, size: 4k, pattern: normal, deviation: 101":                     "deviation: expected",
		"op: read, size: 4k, pattern: random, random_percent: 5":                  "random_percent: expected",
		"op: read, size: 4k, pattern: stride":                                     "stride: expected",
		"op: read, size: 4k, pattern: stride, stride: 2k":                         "stride: expected",
		"op: read, size: 4k, pattern: shuffled, max_size: 8k":                     "pattern: expected requests of one size",
		"op: read, size: 4k, zones: [{percent: 100, weight: 1}]":                  "zones: expected",
		"op: read, size: 4k, pattern: zoned, zones: [{percent: 50, weight: 1}]":   "zones: expected 100 percent",
		"op: read, size: 4k, pattern: zoned, zones: [{percent: 0, weight: 1}]":    "zones[0]: expected percent above 0",
		"op: read, size: 4k, pattern: zoned, zones: [{percent: 100, weight: -1}]": "zones[0]: expected percent above 0",
		"op: read, size: 4k, pattern: zoned, zones: [{percent: 100, weight: 0}]":  "zones: expected 100 percent in all and a weight",
	} {
		_, err := Parse("f", []byte("name: x\ntransaction: [{"+step+"}]\n"))
		if err == nil || !strings.Contains(err.Error(), "transaction[0]."+want) {
			t.Errorf("%s: got %v, want %s", step, err, want)
		}
	}
	p := profile(t, "transaction: [{op: read, size: 4k, max_size: 8k}, {op: read, size: 4k}]\n")
	if err := p.Fits(devices.Info{Size: testSize}); field(err) != "transaction[0].region" {
		t.Errorf("got %v", err)
	}
}

func TestDrawsAreDescribed(t *testing.T) {
	for step, want := range map[string]string{
		"op: mix, mix: {read: 3, write: 1}, durable: true, size: 4k":                      "durable (75% read, 25% write) of 4KiB, sequential in the whole device",
		"op: read, split: [{size: 4k, weight: 3}, {size: 8k, weight: 1}], pattern: zoned": "read of 4KiB (75%), 8KiB (25%), zoned (80 in 20%, 20 in 80%) in the whole device",
		"op: read, size: 4k, max_size: 18k, pattern: normal":                              "read of 4KiB to 16KiB, normal (10%) in the whole device",
		"op: read, size: 2300, pattern: pareto":                                           "read of 4KiB blocks that hold a record of 2300 bytes, pareto (0.2) in the whole device",
		"op: read, size: 4k, pattern: stride, stride: 64k":                                "read of 4KiB, stride of 64KiB in the whole device",
		"op: read, size: 4k, random_percent: 30":                                          "read of 4KiB, sequential but for 30% in the whole device",
	} {
		p := profile(t, "transaction: [{"+step+"}]\n")
		if got := p.Transaction[0].String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		doc, err := p.Document()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseDocument(conf.Within{File: "x"}, doc); err != nil || !reflect.DeepEqual(again, p.filled()) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func BenchmarkDraws(b *testing.B) {
	for _, step := range []string{
		"size: 4k, pattern: random", "size: 4k, pattern: zipf", "size: 4k, pattern: pareto", "size: 4k, pattern: normal", "size: 4k, pattern: zoned",
		"size: 4k, pattern: shuffled", "split: [{size: 4k, weight: 1}, {size: 8k, weight: 2}], pattern: random",
	} {
		b.Run(strings.ReplaceAll(step, " ", ""), func(b *testing.B) {
			p := profile(b, "transaction: [{op: read, "+step+"}]\n")
			o := compile(&p, "x", p.Transaction, 0, 1, devices.Info{Size: testSize}, 1).stages[0][0]
			b.ReportAllocs()
			for i := range uint64(b.N) {
				o.place.at(i, 0)
			}
		})
	}
}
