package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/internal/bench"
	"nbdbench/internal/stack"
	"nbdbench/internal/text"
)

// dryRun says what a plan comes to, and runs none of it but, in virtual time, a sample.
func (f *runFlags) dryRun(c *cobra.Command, p *bench.Plan) error {
	if f.format != "table" {
		return usage("--format: expected table with --dry-run, got %q", f.format)
	}
	cells, err := p.Cells()
	if err != nil {
		return &exitError{exitUsage, err}
	}
	parts := p.Outlines(cells)
	var work time.Duration
	if p.Clock == "virtual" && p.FindMax == "" {
		if work, err = sampled(c.Context(), p, cells, parts); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "device\tworkload\tcells\truns\tcommits\trequests\t")
	var all bench.Outline
	for _, o := range parts {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t\n", text.Line(o.Device), text.Line(o.Workload), o.Cells, o.Runs, thousands(o.Commits), about(o.Requests))
		all.Cells, all.Runs, all.Commits, all.Requests, all.Time = all.Cells+o.Cells, all.Runs+o.Runs, all.Commits+o.Commits, all.Requests+o.Requests, all.Time+o.Time
	}
	fmt.Fprintf(w, "all\t\t%d\t%d\t%s\t%s\t\n", all.Cells, all.Runs, thousands(all.Commits), about(all.Requests))
	if err := w.Flush(); err != nil {
		return err
	}
	if _, err = fmt.Fprintln(c.OutOrStdout(), "expected time: "+expected(p, all.Time, work)); err != nil || len(p.Hops) == 0 {
		return err
	}
	return drawHops(c.OutOrStdout(), p, cells)
}

// drawHops draws for each device where its chain of proxies makes a write durable.
func drawHops(w io.Writer, p *bench.Plan, cells []bench.Cell) error {
	drawn := map[string]bool{}
	for i := range cells {
		device := cells[i].Device
		if drawn[device] {
			continue
		}
		drawn[device] = true
		paths, err := p.Paths(cells, device)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprint(w, "\nOne durable write, by strategy of the server; * makes it durable:\n\n"+stack.DrawPaths(device, p.Hops, p.Link, paths)); err != nil {
			return err
		}
	}
	return nil
}

// sampled adds the requests to the parts of a plan in virtual time, and is how long all
// its runs are expected to take on one core.
func sampled(ctx context.Context, p *bench.Plan, cells []bench.Cell, parts []bench.Outline) (work time.Duration, err error) {
	for i := range cells {
		begun := time.Now()
		requests, times, err := p.Sample(ctx, cells[i])
		if err != nil {
			return 0, err
		}
		work += time.Duration(float64(time.Since(begun)) * times)
		for k := range parts {
			if o := &parts[k]; o.Device == cells[i].Device && o.Workload == cells[i].Name {
				o.Requests += requests
			}
		}
	}
	return work, ctx.Err()
}

// expected says how long a plan takes.
func expected(p *bench.Plan, measured, work time.Duration) string {
	switch {
	case p.Clock == "real" && p.Duration == 0:
		return "until all commits are done"
	case p.Clock == "real" && p.MoreRuns:
		return fmt.Sprintf("%v or more, up to three times as many runs", measured)
	case p.Clock == "real":
		return fmt.Sprintf("%v, besides starting and stopping", measured)
	case p.FindMax != "":
		return "not known before a search"
	}
	jobs := p.Jobs
	if jobs == 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	s := fmt.Sprintf("about %v in %d parallel jobs", (work / time.Duration(jobs)).Round(time.Second/10), jobs)
	if p.Warmup != 0 {
		s += ", besides warm-ups and the pilot runs before them"
	}
	return s
}

// thousands is a number with separators, a dash for none.
func thousands(n uint64) string {
	if n == 0 {
		return "-"
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// about is a number to two digits.
func about(n uint64) string {
	unit := uint64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	if unit == 1 {
		return thousands(n)
	}
	return "~" + thousands((n+unit/2)/unit*unit)
}
