package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nbdbench/results/chart"
	"nbdbench/workloads"
)

func newWorkloads() *cobra.Command {
	c := &cobra.Command{
		Use: "workloads", Short: "List, show, check and fit workload profiles", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "List the workload profiles", Args: cobra.NoArgs, RunE: listWorkloads},
		newShowWorkload(),
		&cobra.Command{Use: "check FILE", Short: "Check a workload profile of your own", Args: cobra.ExactArgs(1), RunE: checkWorkload},
		newFitWorkload(),
	)
	return c
}

func listWorkloads(c *cobra.Command, _ []string) error {
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, name := range workloads.List() {
		p, err := workloads.Get(name)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(strings.TrimSpace(p.Description), ". ")
		fmt.Fprintf(w, "%s\t%s\n", name, strings.TrimSuffix(strings.Join(strings.Fields(first), " "), ".")) // a tabwriter keeps its error for Flush
	}
	return w.Flush()
}

func newShowWorkload() *cobra.Command {
	var picture string
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a workload profile, by name or path", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return showWorkload(c, args[0], picture) },
	}
	c.Flags().StringVar(&picture, "picture", "", "also draw who waits for what in a transaction, to a file .svg, .png or .pdf")
	return c
}

func showWorkload(c *cobra.Command, name, picture string) error {
	if picture != "" {
		if err := chart.CheckPath(picture); err != nil {
			return &exitError{exitUsage, fmt.Errorf("--picture: %w", err)}
		}
	}
	p, err := workloads.Open(name)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if picture != "" {
		if err := drawWorkload(&p, picture); err != nil {
			return err
		}
	}
	_, err = fmt.Fprint(c.OutOrStdout(), p.Describe())
	return err
}

// drawWorkload draws a profile's timeline.
func drawWorkload(p *workloads.Profile, picture string) error {
	t, err := p.Timeline()
	if err != nil {
		return err
	}
	if t == nil {
		return &exitError{exitUsage, fmt.Errorf("--picture: expected a workload with steps of its own: %s replays a trace", p.Name)}
	}
	return timelineChart(p.Name, t).Save(picture)
}

// letter is the width of a letter of a chart's labels at most, on average, in points.
const letter = 4.4

// timelineChart is the chart of a profile's timeline.
func timelineChart(name string, t *workloads.Timeline) *chart.Chart {
	bars := map[workloads.SpanKind]chart.BarKind{
		workloads.SpanWrite: chart.BarWrite, workloads.SpanFUA: chart.BarFUA, workloads.SpanFlush: chart.BarFlush, workloads.SpanWait: chart.BarWait, workloads.SpanOther: chart.BarOther,
	}
	f := chart.Timeline{
		Title: name + ": who waits for what", Moments: make([]string, t.Moments+1), Commits: map[int]string{}, Note: 60,
		Subtitle: fmt.Sprintf("%ss that begin together, on a device on which every request takes as long", strings.ToUpper(t.Word[:1])+t.Word[1:]),
		Footer:   "A flush covers what was written before it. " + left(t.Left),
	}
	if len(t.Done) == 1 {
		f.Commits[t.Done[0]] = "done"
		f.Subtitle = fmt.Sprintf("One %s alone, on a device on which every request takes as long", t.Word)
	}
	for i := range f.Moments {
		f.Moments[i] = fmt.Sprint(i)
	}
	for i := range t.Spans {
		s := &t.Spans[i]
		label := s.Who + ": " + s.What
		f.Label = max(f.Label, 12+letter*float64(len(label)))
		f.Bars = append(f.Bars, chart.Bar{Label: label, Note: s.Note, Begin: s.Begin, End: s.End, Kind: bars[s.Kind]})
	}
	if len(t.Done) > 1 {
		for i, at := range t.Done {
			done := fmt.Sprint(i + 1)
			if before, ok := f.Commits[at]; ok {
				done = strings.TrimSuffix(before, " done") + ", " + done
			}
			f.Commits[at] = done + " done"
		}
	}
	return f.Chart("timeline")
}

// left says how many spans were left out.
func left(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d steps more were left out.", n)
}

func checkWorkload(c *cobra.Command, args []string) error {
	p, err := workloads.LoadFile(args[0])
	if err != nil {
		return &exitError{exitUsage, err}
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok (%s)\n", args[0], p.Name)
	return err
}
