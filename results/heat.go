package results

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"nbdbench/internal/text"
	"nbdbench/sim"
)

// FileHeat holds how many commits of each cell's first run had which latency when: what
// a heat map shows.
const FileHeat = "heatmap.csv.gz"

// maxHeatRows bounds the rows of FileHeat, some 10 bytes each. Cells that would go beyond
// it are left out whole.
const maxHeatRows = 1 << 21

// WriteHeat writes the latencies of the intervals of each cell's first run, as
// compressed CSV. Equal runs give equal bytes.
func (r *Run) WriteHeat(w io.Writer) error {
	z := gzip.NewWriter(w)
	b := bufio.NewWriter(z)
	b.WriteString("cell,run,start_ns,latency_ns," + nounOf(r.Cells).many + "\n")
	var line []byte
	rows := 0
	for _, c := range r.Cells {
		if len(c.runs) == 0 {
			continue
		}
		n := 0
		for _, v := range c.runs[0].Intervals {
			n += len(v.Latencies)
		}
		if rows+n > maxHeatRows {
			continue
		}
		rows += n
		head := text.QuotedCell(c.ID) + ",0"
		for _, v := range c.runs[0].Intervals {
			for _, k := range v.Latencies {
				line = append(line[:0], head...)
				for _, x := range [...]int64{int64(v.Start), int64(k.Latency), int64(k.Count)} {
					line = strconv.AppendInt(append(line, ','), x, 10)
				}
				b.Write(append(line, '\n'))
			}
		}
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return z.Close()
}

// readHeat adds the latencies to intervals that were read before.
func readHeat(runs map[runKey]*RunResult, in io.Reader) error {
	return eachZippedRow(in, runs, func(run *RunResult, n []int64) error {
		start, latency, count := sim.Duration(n[2]), sim.Duration(n[3]), n[4]
		i, ok := slices.BinarySearchFunc(run.Intervals, start, func(v Interval, at sim.Duration) int { return cmp.Compare(v.Start, at) })
		if !ok {
			return fmt.Errorf("start_ns: %d is no interval of %s", n[2], FileIntervals)
		}
		v := &run.Intervals[i]
		if k := len(v.Latencies); k > 0 && v.Latencies[k-1].Latency >= latency {
			return fmt.Errorf("latency_ns: expected more than %d, got %d", v.Latencies[k-1].Latency, latency)
		}
		if count > v.Count || count > math.MaxUint32 {
			return fmt.Errorf("expected a count of at most %d, got %d", v.Count, count)
		}
		v.Latencies = append(v.Latencies, LatencyCount{latency, uint32(count)})
		return nil
	})
}
