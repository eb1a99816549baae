package main

import (
	"fmt"
	"io/fs"
	"math"
	"os"

	"github.com/spf13/cobra"

	"nbdbench/internal/input"
	"nbdbench/internal/trace"
)

// traceFlags are those of the imports of traces.
type traceFlags struct {
	durable, source, action, layout string
}

func newImportTraces() []*cobra.Command {
	return []*cobra.Command{
		newImportTrace("iolog", "A trace that fio has written, of version 2 or 3",
			"Times are as in the file: microseconds, of version 2 the waits. sync and datasync\nare flushes. Files are not put side by side: --source takes one."),
		newImportTrace("blkparse", "The text of blkparse",
			"Lines of one action are requests, by default Q. F before the operation is a flush\nbefore it, after it FUA. Lines of several CPUs are put in the order of time."),
		newImportTrace("nbdkit-log", "What nbdkit's log filter has written",
			"The connections are one load; --source N takes that one alone."),
		newImportTrace("csv-trace", "A published trace: --layout msr, alibaba, tencent or systor",
			"msr is MSR Cambridge (2008), alibaba and tencent are the cloud block traces of\n2020, systor is that of SYSTOR '17. --source takes one disk, volume or LUN."),
	}
}

func newImportTrace(format, short, more string) *cobra.Command {
	var f traceFlags
	c := transfer(format+" FILE", short, func(c *cobra.Command, to *os.File, from string) error {
		return importTrace(c, to, from, format, &f)
	})
	c.Long = "Store a trace's requests, compressed, for a workload of op replay.\n\n" + more + `

stderr says what was read and what the format cannot carry. Where it does not say
which writes were durable, --durable has to: none, all (each write has FUA) or
every:N (a flush follows each N writes). A line that is none is an error with its
place, and nothing is written.`
	fl := c.Flags()
	fl.StringVar(&f.source, "source", "", "take one device, file, volume or connection")
	if format != "blkparse" && format != "nbdkit-log" {
		fl.StringVar(&f.durable, "durable", "", "which writes were durable: none, all or every:N")
	}
	if format == "blkparse" {
		fl.StringVar(&f.action, "action", "Q", "take Q (queued), D (sent to the drive) or C (completed)")
	}
	if format == "csv-trace" {
		fl.StringVar(&f.layout, "layout", "", "msr, alibaba, tencent or systor")
	}
	return c
}

// options are the flags, checked.
func (f *traceFlags) options(format, file string) (o trace.Options, err error) {
	o = trace.Options{Format: format, File: file, Source: f.source, Action: f.action}
	if format == "csv-trace" {
		if o.Format = f.layout; !trace.IsLayout(o.Format) {
			return o, usage("--layout: expected msr, alibaba, tencent or systor, got %q", o.Format)
		}
	}
	if err := trace.ParseAction(o.Action); err != nil {
		return o, usage("--action: %w", err)
	}
	if f.durable == "" && !trace.Silent(o.Format) {
		return o, nil
	}
	if o.Durable, err = trace.ParseDurable(f.durable); err != nil {
		return o, usage("--durable: %w: the format does not say which writes were durable", err)
	}
	return o, nil
}

func importTrace(c *cobra.Command, to *os.File, from, format string, f *traceFlags) (err error) {
	o, err := f.options(format, from)
	if err != nil {
		return err
	}
	in, err := input.Open(from, math.MaxInt64)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	defer in.Close() // it was only read
	w := trace.NewWriter(to)
	sum, err := trace.Import(w, interruptible{c, in}, o)
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprint(c.ErrOrStderr(), sum.Report(o.Format))
	return err
}

// interruptible is a file of which reading ends with the command.
type interruptible struct {
	c *cobra.Command
	f fs.File
}

func (i interruptible) Read(p []byte) (int, error) {
	if i.c.Context().Err() != nil {
		return 0, &exitError{exitInterrupted, fmt.Errorf("interrupted")}
	}
	return i.f.Read(p)
}
