package calibrate

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/internal/units"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// The chart of what FLUSH costs.
const (
	chartWidth = 72
	chartLabel = 10
	chartCell  = 12
	// chartBar is what is left for a bar.
	chartBar = chartWidth - 2 - chartLabel - 2*chartCell - 2
	// chartMost bounds what is dirty, and chartExtents in how many extents: a disk
	// looks for the nearest among all of them.
	chartMost    = 64 * units.GiB
	chartExtents = 1 << 12
	// chartBlock is an extent of what is written in sequence, at most.
	chartBlock = 256 * units.KiB
)

// chartRow is one line: what was asked, and what it took in sequence and at
// random; less than 0 is not known.
type chartRow struct {
	label              string
	sequential, random sim.Duration
}

// FlushChart measures the device's model in virtual time and draws what a FLUSH
// costs by how much was written before it, with a write and a FUA write beside
// it, in plain text. What it shows hangs on the profile alone.
func FlushChart(ctx context.Context, p *catalog.Profile) (string, error) {
	info := p.Info()
	var rows []chartRow
	add := func(label string, measure func(workloads.Pattern) (sim.Duration, error)) error {
		r := chartRow{label: label}
		var err error
		if r.sequential, err = measure(workloads.PatternSequential); err == nil {
			r.random, err = measure(workloads.PatternRandom)
		}
		rows = append(rows, r)
		return err
	}
	for _, dirty := range chartAmounts(p) {
		if !info.CanFlush {
			break
		}
		if err := add(dirty.String(), func(pattern workloads.Pattern) (sim.Duration, error) { return flushAfter(ctx, p, dirty, pattern) }); err != nil {
			return "", err
		}
	}
	for _, durable := range []bool{false, true} {
		if durable && info.FUA == devices.FUANone {
			break
		}
		err := add(map[bool]string{false: "write 4KiB", true: "FUA 4KiB"}[durable], func(pattern workloads.Pattern) (sim.Duration, error) {
			step := workloads.Step{Op: workloads.ActionWrite, Size: 4 * units.KiB, Pattern: pattern, Durable: durable}
			return meanOf(ctx, p, workloads.Profile{Name: "chart", Transaction: []workloads.Step{step}}, 100)
		})
		if err != nil {
			return "", err
		}
	}
	return drawChart(info.CanFlush, rows), nil
}

// chartAmounts are what is dirty in the chart: nothing, then sixteen times as much
// in each step, up to all that a volatile cache holds.
func chartAmounts(p *catalog.Profile) []units.Size {
	out := []units.Size{0}
	most := min(p.Size/2, 16*units.MiB)
	if p.Cache.Mode == "volatile" {
		most = min(p.Size/2, p.Cache.Capacity, chartMost)
	}
	for n := 4 * units.KiB; n < most; n *= 16 {
		out = append(out, n)
	}
	return append(out, most)
}

// flushAfter is the mean time of a FLUSH after so much was written, in extents of
// 4 KiB at random or longer ones in sequence.
func flushAfter(ctx context.Context, p *catalog.Profile, dirty units.Size, pattern workloads.Pattern) (sim.Duration, error) {
	size := min(dirty, chartBlock)
	if pattern == workloads.PatternRandom {
		size = min(dirty, 4*units.KiB)
	}
	w := workloads.Profile{Name: "chart", Transaction: []workloads.Step{{Op: workloads.ActionFlush}}}
	n := uint64(100)
	if dirty > 0 {
		count := (dirty + size - 1) / size
		if count > chartExtents && pattern == workloads.PatternRandom {
			return -1, nil
		}
		w.Between = []workloads.Step{{Op: workloads.ActionWrite, Size: size &^ 511, Pattern: pattern, Count: uint32(count), Parallel: true}}
		n = max(8, min(100, chartExtents/uint64(count)))
	}
	return meanOf(ctx, p, w, n)
}

// meanOf is the mean time of n commits on the device alone, after the first.
func meanOf(ctx context.Context, p *catalog.Profile, w workloads.Profile, n uint64) (sim.Duration, error) {
	loop := sim.NewLoop()
	dev, err := p.Open(loop, catalog.Options{Seed: checkSeed})
	if err != nil {
		return 0, err
	}
	m := &fitMeter{meter: meter{skip: 1}}
	b := bed{loop: loop, dev: dev}
	if err := b.run(ctx, m, workloads.Config{Profile: w, Commits: n + m.skip}); err != nil {
		return 0, fmt.Errorf("what FLUSH costs on %s: %w", p.Name, err)
	}
	return m.sum / time.Duration(n), nil
}

// drawChart draws the rows. Bars are of the slower of the two, logarithmic from
// the shortest to the longest.
func drawChart(flush bool, rows []chartRow) string {
	low, high := math.Inf(1), 0.0
	for _, r := range rows {
		if v := float64(max(r.sequential, r.random)); v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	var b strings.Builder
	b.WriteString("what a FLUSH takes after so much was written, simulated:\n")
	if !flush {
		b.Reset()
		b.WriteString("what a write takes, simulated:\n")
	}
	line(&b, "", "in sequence", "4KiB random", "")
	for _, r := range rows {
		line(&b, r.label, duration(r.sequential), duration(r.random), bar(float64(max(r.sequential, r.random)), low, high))
	}
	return b.String()
}

func line(b *strings.Builder, label, sequential, random, bar string) {
	text := fmt.Sprintf("  %-*s%*s%*s  %s", chartLabel, label, chartCell, sequential, chartCell, random, bar)
	b.WriteString(strings.TrimRight(text, " ") + "\n")
}

// duration is d with three significant digits.
func duration(d sim.Duration) string {
	if d < 0 {
		return "-"
	}
	unit := sim.Duration(1)
	for ; d >= 1000*unit; unit *= 10 {
	}
	return d.Round(unit).String()
}

// bar is one column for low, and all columns for high.
func bar(v, low, high float64) string {
	switch {
	case v <= 0:
		return ""
	case high <= low:
		return "#"
	}
	return strings.Repeat("#", 1+int(math.Round((chartBar-1)*math.Log(v/low)/math.Log(high/low))))
}
