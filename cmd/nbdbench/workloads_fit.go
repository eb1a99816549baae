package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nbdbench/internal/input"
	"nbdbench/internal/trace"
	"nbdbench/internal/tracefit"
)

const fitWorkloadHelp = `Make a workload profile that resembles a trace, which nbdbench import has written:

  nbdbench import blkparse trace.txt --output trace.gz
  nbdbench workloads fit trace.gz --output mine.yaml
  nbdbench run --workload ./mine.yaml

The profile has the trace's operations, with FUA or without, their rates and sizes,
how many go on where one ended, where the others go (anywhere, in a hot zone, or by
zipf's law), and whether they come evenly, independently or in bursts. It is then run
on an ideal device, and stdout has what it requests beside what the trace has. Which
request follows which is not kept, nor change over time: import keeps both, for op
replay. A trace is read twice, in memory that does not grow with it.`

func newFitWorkload() *cobra.Command {
	c := transfer("fit TRACE", "Make a workload profile that resembles a trace", fitWorkload)
	c.Long = fitWorkloadHelp
	return c
}

func fitWorkload(c *cobra.Command, to *os.File, from string) error {
	open := func() (func() (trace.Record, error), func() error, error) {
		in, err := input.Open(from, math.MaxInt64)
		if err != nil {
			return nil, nil, err
		}
		r, err := trace.NewReader(interruptible{c, in})
		if err != nil {
			in.Close() // it was only read
			return nil, nil, err
		}
		return r.Next, in.Close, nil
	}
	name := strings.TrimSuffix(filepath.Base(from), filepath.Ext(from))
	fit, err := tracefit.Fit(open, tracefit.Name(name))
	if err != nil {
		if c.Context().Err() != nil {
			return &exitError{exitInterrupted, err}
		}
		return &exitError{exitUsage, fmt.Errorf("%s: %w", from, err)}
	}
	if _, err := to.WriteString(fit.YAML); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\ttrace\tprofile\t")
	for _, row := range fit.Rows() {
		fmt.Fprintf(w, "%s\t%s\t%s\t\n", row[0], row[1], row[2]) // a tabwriter keeps its error for Flush
	}
	return w.Flush()
}
