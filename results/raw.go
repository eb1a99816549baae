package results

import (
	"bufio"
	"compress/gzip"
	"io"
	"strconv"

	"nbdbench/internal/text"
	"nbdbench/sim"
)

// FileRaw holds every commit of a run that was asked to keep them.
const FileRaw = "commits.csv.gz"

// RawCommit is one measured commit: when it was due, when its first request was
// submitted and when it was acknowledged, since the window began.
type RawCommit struct{ Due, Started, Acked sim.Duration }

// raw reports whether any run kept its commits.
func (r *Run) raw() bool {
	for _, c := range r.Cells {
		for _, run := range c.runs {
			if run.Raw != nil {
				return true
			}
		}
	}
	return false
}

// WriteRaw writes every commit that was kept, as compressed CSV, in the order in
// which they were acknowledged. Equal runs give equal bytes.
func (r *Run) WriteRaw(w io.Writer) error {
	z := gzip.NewWriter(w)
	b := bufio.NewWriter(z)
	b.WriteString("cell,run,due_ns,started_ns,acked_ns\n")
	var line []byte
	for _, c := range r.Cells {
		for i, run := range c.runs {
			head := text.QuotedCell(c.ID) + "," + strconv.Itoa(i)
			for _, k := range run.Raw {
				line = append(line[:0], head...)
				for _, d := range [...]sim.Duration{k.Due, k.Started, k.Acked} {
					line = strconv.AppendInt(append(line, ','), int64(d), 10)
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
