package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nbdbench/results"
)

const compareHelp = `Compare stored runs: what changed from the first to each of the others.

  nbdbench compare runs/OLD runs/NEW
  nbdbench compare runs/OLD runs/NEW --format md > comment.md
  nbdbench compare runs/OLD runs/NEW --format html > changes.html
  nbdbench compare runs/OLD runs/NEW --max-regress commit.p99=5%
  nbdbench compare runs/NVME runs/SATA --match device
  nbdbench compare --baseline release-1 latest

A run is a directory, the name that run --name gave it, or latest: the newest in runs/.

Cells are matched by their id. --match device ignores the device, for runs of one
device each. In virtual time, runs with the same seed are compared pairwise, so that
their common noise cancels. In real time, or without common seeds, they are compared
as independent samples. Ratios are new/old: less than 1 means that new is faster.

--max-regress METRIC=PERCENT exits with 99 if the whole 95% interval of a cell's ratio
shows an increase of more than PERCENT. If the interval includes such an increase but
does not show it, stderr reports it and the exit code is unaffected. Metrics:
commit.mean, commit.p50, commit.p90, commit.p99.`

// compareFormats write one comparison, with a heading.
var compareFormats = map[string]func(w io.Writer, d *results.Diff, old, now string) error{
	"table": func(w io.Writer, d *results.Diff, old, now string) error {
		if err := heading(w, d, "", old, now); err != nil {
			return err
		}
		return d.Table().Text(w, widthOf(w))
	},
	"md": func(w io.Writer, d *results.Diff, old, now string) error {
		if err := heading(w, d, "* ", "`"+old+"`", "`"+now+"`"); err != nil {
			return err
		}
		return d.Table().Markdown(w)
	},
	"csv": func(w io.Writer, d *results.Diff, _, _ string) error { return d.Table().CSV(w) },
	"html": func(w io.Writer, d *results.Diff, old, now string) error {
		return d.WriteHTML(w, []string{"old: " + old, "new: " + now})
	},
	"json": func(w io.Writer, d *results.Diff, _, _ string) error { return d.WriteJSON(w) },
}

// heading names the two runs, and in what else they differ.
func heading(w io.Writer, d *results.Diff, bullet, old, now string) error {
	lines := append([]string{"old: " + old, "new: " + now}, d.Differences...)
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%s%s\n", bullet, l); err != nil {
			return err
		}
	}
	return nil
}

func newCompare() *cobra.Command {
	var format, match, baseline string
	var limits []string
	c := &cobra.Command{
		Use: "compare RUN RUN...", Short: "Compare stored runs", Long: compareHelp,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if baseline != "" {
				args = append([]string{baseline}, args...)
			}
			if len(args) < 2 {
				return usage("expected two runs or more, or one with --baseline, got %s", args[0])
			}
			if compareFormats[format] == nil {
				return usage("--format: expected table, md, csv, json or html, got %q", format)
			}
			if match != "id" && match != "device" {
				return usage("--match: expected id or device, got %q", match)
			}
			if len(args) > 2 && format != "table" && format != "md" {
				return usage("--format %s: expected two runs, got %d", format, len(args))
			}
			bounds, err := parseRegressions(limits)
			if err != nil {
				return err
			}
			diffs, err := compareRuns(args, match == "device")
			if err != nil {
				return asUsage(err)
			}
			if err := checkRegressions(diffs, bounds); err != nil {
				return err
			}
			for i, d := range diffs {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				if err := writeDiff(c.OutOrStdout(), d, format, args[0], args[i+1]); err != nil {
					return err
				}
			}
			return judgeRegressions(c.ErrOrStderr(), diffs, bounds)
		},
	}
	c.Flags().StringVar(&format, "format", "table", "table, md, csv, json or html")
	c.Flags().StringVar(&match, "match", "id", "match cells by id, or by id without the device (device)")
	c.Flags().StringVar(&baseline, "baseline", "", "the run, by path or name, that the others are compared with")
	c.Flags().StringArrayVar(&limits, "max-regress", nil, "exit with 99 if a metric increased by more, as commit.p99=5%; may be repeated")
	return c
}

func writeDiff(w io.Writer, d *results.Diff, format, old, now string) error {
	return compareFormats[format](w, d, old, now)
}

// compareRuns compares each run but the first with the first.
func compareRuns(dirs []string, devices bool) (out []*results.Diff, err error) {
	first, err := loadRun(dirs[0])
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs[1:] {
		doc, err := loadRun(dir)
		if err != nil {
			return nil, err
		}
		compare := func(before, after *results.Run) (*results.Diff, error) { return results.Compare(before, after), nil }
		if devices {
			compare = results.CompareDevices
		}
		d, err := compare(first, doc)
		if err != nil {
			return nil, fmt.Errorf("--match device: %s and %s: %w", dirs[0], dir, err)
		}
		if len(d.OnlyOld) == len(first.Cells) {
			return nil, fmt.Errorf("%s and %s have no cell in common: the first has %s", dirs[0], dir, some(d.OnlyOld))
		}
		out = append(out, d)
	}
	return out, nil
}

// some are the first of ids, so that an error stays short.
func some(ids []string) string {
	const most = 3
	if len(ids) <= most {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
}

// regression is a bound on how much a metric may increase, as a share.
type regression struct {
	metric string
	limit  float64
}

// maxRegression is the largest bound, as a share: 100 times.
const maxRegression = 100

func parseRegressions(texts []string) (out []regression, err error) {
	for _, t := range texts {
		metric, bound, ok := strings.Cut(t, "=")
		percent, err := strconv.ParseFloat(strings.TrimSuffix(bound, "%"), 64)
		switch {
		case !ok || err != nil || !strings.HasSuffix(bound, "%") || !(percent >= 0 && percent <= 100*maxRegression):
			return nil, usage("--max-regress: expected METRIC=PERCENT such as commit.p99=5%%, from 0%% to %d%%, got %q", 100*maxRegression, t)
		case !slices.Contains(results.Metrics(), metric):
			return nil, usage("--max-regress: expected one of %s, got %q", strings.Join(results.Metrics(), ", "), metric)
		}
		out = append(out, regression{metric, percent / 100})
	}
	return out, nil
}

// checkRegressions refuses a bound on a metric that no cell can have: those without
// commits have ops.p99 where others have commit.p99. One that a cell has too few commits
// for is judged, as not decided.
func checkRegressions(diffs []*results.Diff, bounds []regression) error {
	for _, b := range bounds {
		family, _, _ := strings.Cut(b.metric, ".")
		var others []string
		found := false
		for _, d := range diffs {
			for _, r := range d.Rows {
				found = found || strings.HasPrefix(r.Metric, family+".")
				if !slices.Contains(others, r.Metric) {
					others = append(others, r.Metric)
				}
			}
		}
		if !found && len(others) > 0 {
			return usage("--max-regress: expected a metric of the cells, one of %s, got %q", strings.Join(others, ", "), b.metric)
		}
	}
	return nil
}

// judgeRegressions says which bounds are exceeded, which is an error, and which may
// be.
func judgeRegressions(talk io.Writer, diffs []*results.Diff, bounds []regression) error {
	failed := false
	for _, d := range diffs {
		for _, b := range bounds {
			if !slices.ContainsFunc(d.Rows, func(r results.DiffRow) bool { return r.Metric == b.metric }) {
				fmt.Fprintf(talk, "not decided: no cell has %s: there are too few commits for it\n", b.metric)
			}
			for _, r := range d.Regressed(b.metric, b.limit) {
				failed = true
				fmt.Fprintf(talk, "regressed: %s of %s is %s, more than %+.4g%%\n", b.metric, r.Cell, change(&r), 100*b.limit)
			}
			for _, r := range d.NotExcluded(b.metric, b.limit) {
				if r.CI95 == nil {
					fmt.Fprintf(talk, "not decided: %s of %s has no interval: %s\n", b.metric, r.Cell, r.Reason)
				} else {
					fmt.Fprintf(talk, "not excluded: %s of %s is %s, which may be more than %+.4g%%\n", b.metric, r.Cell, change(&r), 100*b.limit)
				}
			}
		}
	}
	if failed {
		return &exitError{exitThreshold, nil}
	}
	return nil
}

// change is a row's ratio as a percentage: "+7.1% [+5.2%, +9.3%]".
func change(r *results.DiffRow) string {
	percent := func(x float64) string { return fmt.Sprintf("%+.3g%%", 100*(x-1)) }
	return fmt.Sprintf("%s [%s, %s]", percent(r.Ratio), percent(r.CI95[0]), percent(r.CI95[1]))
}
