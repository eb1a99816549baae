package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/internal/text"
	"nbdbench/results"
)

// runsDir is where run stores without --output, and where runs are found by name.
const runsDir = "runs"

// latestRun stands for the newest finished run in runsDir.
const latestRun = "latest"

func newRuns() *cobra.Command {
	c := &cobra.Command{
		Use: "runs", Short: "List, show and remove stored runs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRunsList(), newRunsShow(), newRunsRemove())
	return c
}

func newRunsList() *cobra.Command {
	var dir, format string
	c := &cobra.Command{
		Use: "list", Short: "List the stored runs, the newest first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := listFormat(format); err != nil {
				return err
			}
			runs, err := results.StoredRuns(dir)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("--dir: %w", err)}
			}
			for i := range runs {
				runs[i].Read()
			}
			if format == "json" {
				return writeRuns(c.OutOrStdout(), runs)
			}
			return tableOfRuns(c.OutOrStdout(), runs)
		},
	}
	c.Flags().StringVar(&dir, "dir", runsDir, "directory that has the runs")
	c.Flags().StringVar(&format, "format", "table", "table or json")
	return c
}

// listFormat refuses formats that a list does not have.
func listFormat(format string) error {
	if format != "table" && format != "json" {
		return usage("--format: expected table or json, got %q", format)
	}
	return nil
}

func tableOfRuns(out io.Writer, runs []results.StoredRun) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tNAME\tSAVED\tCELLS\tSTATUS\tLABELS")
	for i := range runs {
		s := &runs[i]
		cells, saved := "-", "-"
		if s.Run != nil {
			cells = fmt.Sprint(len(s.Run.Cells))
		}
		if !s.Saved.IsZero() {
			saved = s.Saved.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", text.Line(s.Dir), orDash(s.Labels.Name), saved, cells, statusOf(s), orDash(pairs(s.Labels)))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// statusOf is a word for the state of a stored run.
func statusOf(s *results.StoredRun) string {
	switch {
	case s.Err != nil:
		return "unreadable"
	case s.Run.Partial:
		return "partial"
	}
	return "complete"
}

// pairs are a run's labels as KEY=VALUE, in the order of their keys.
func pairs(l *results.Labels) string {
	var out []string
	for k, v := range l.Labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// runJSON is a stored run in JSON.
type runJSON struct {
	Dir    string            `json:"dir"`
	Name   string            `json:"name"`
	Note   string            `json:"note"`
	Labels map[string]string `json:"labels"`
	Saved  *time.Time        `json:"saved"` // null where there is no document
	Status string            `json:"status"`
	Reason string            `json:"reason"` // why it is unreadable
	Cells  int               `json:"cells"`
	// Verdicts are the sentences of the run's verdicts.
	Verdicts []string `json:"verdicts"`
}

func jsonOf(s *results.StoredRun) runJSON {
	r := runJSON{Dir: s.Dir, Name: s.Labels.Name, Note: s.Labels.Note, Labels: s.Labels.Labels, Status: statusOf(s), Verdicts: []string{}}
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	if !s.Saved.IsZero() {
		r.Saved = &s.Saved
	}
	if s.Err != nil {
		r.Reason = s.Err.Error()
		return r
	}
	r.Cells = len(s.Run.Cells)
	for _, v := range s.Run.Verdicts {
		r.Verdicts = append(r.Verdicts, v.Sentence)
	}
	return r
}

func writeRuns(w io.Writer, runs []results.StoredRun) error {
	doc := struct {
		Schema string    `json:"schema"`
		Runs   []runJSON `json:"runs"`
	}{"nbdbench/runs/v1", []runJSON{}}
	for i := range runs {
		doc.Runs = append(doc.Runs, jsonOf(&runs[i]))
	}
	return indented(w, doc)
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(text.JSON(w))
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func newRunsShow() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "show RUN", Short: "Show what a stored run is, and its verdicts", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := listFormat(format); err != nil {
				return err
			}
			dir, err := findRun(args[0])
			if err != nil {
				return err
			}
			s := results.ReadStored(dir)
			if s.Err != nil {
				return &exitError{exitUsage, s.Err}
			}
			if format == "json" {
				return indented(c.OutOrStdout(), jsonOf(&s))
			}
			return showRun(c.OutOrStdout(), &s)
		},
	}
	c.Flags().StringVar(&format, "format", "table", "table or json")
	return c
}

func showRun(out io.Writer, s *results.StoredRun) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"run", text.Line(s.Dir)},
		{"name", s.Labels.Name},
		{"note", s.Labels.Note},
		{"labels", pairs(s.Labels)},
		{"saved", s.Saved.Format(time.DateTime) + " UTC"},
		{"status", statusOf(s)},
		{"program", strings.TrimSpace(s.Run.Tool.Version + " " + s.Run.Tool.Revision)},
		{"cells", fmt.Sprint(len(s.Run.Cells))},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", row[0], text.Line(row[1]))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, v := range s.Run.Verdicts {
		if _, err := fmt.Fprintln(out, text.Line(v.Sentence)); err != nil {
			return err
		}
	}
	return nil
}

func newRunsRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm RUN...", Short: "Remove run directories",
		Long: `Remove run directories. Each must have a valid run.json and nothing that run does not
store there; otherwise none is removed.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var dirs []string
			for _, a := range args {
				dir, err := findRun(a)
				if err == nil {
					err = results.Removable(dir)
				}
				if err != nil {
					return asUsage(err)
				}
				if !slices.Contains(dirs, dir) {
					dirs = append(dirs, dir)
				}
			}
			for _, dir := range dirs {
				if err := results.Remove(dir); err != nil {
					return err
				}
				fmt.Fprintf(c.ErrOrStderr(), "removed %s\n", text.Line(dir))
			}
			return nil
		},
	}
}

// asUsage gives an error the exit code of bad input, unless it has one.
func asUsage(err error) error {
	var e *exitError
	if errors.As(err, &e) {
		return err
	}
	return &exitError{exitUsage, err}
}

// findRun is the directory of a stored run: of a path, of the word latest, or of a run
// in runsDir by the name that it was given.
func findRun(name string) (string, error) {
	if _, err := os.Stat(name); err == nil || strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	runs, err := results.StoredRuns(runsDir)
	if err != nil {
		return "", &exitError{exitUsage, err}
	}
	var found []string
	for i := range runs {
		switch s := &runs[i]; {
		case s.Err != nil:
		case name == latestRun:
			return s.Dir, nil
		case s.Labels.Name == name:
			found = append(found, s.Dir)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", usage("%q is the name of %d runs: expected one of %s", name, len(found), strings.Join(found, ", "))
	case name == latestRun:
		return "", usage("latest: expected a finished run in %s, found none", runsDir)
	}
	return "", usage("%s: expected a run directory, a run's name (see nbdbench runs list), or %s", name, latestRun)
}

// labelFlags are the flags of run that say something about it.
type labelFlags struct {
	name, note string
	labels     []string
}

// parse returns nil where nothing is said.
func (f *labelFlags) parse() (*results.Labels, error) {
	l := &results.Labels{Name: f.name, Note: f.note}
	for _, pair := range f.labels {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usage("--label: expected KEY=VALUE, got %q", pair)
		}
		if l.Labels == nil {
			l.Labels = map[string]string{}
		}
		if _, twice := l.Labels[k]; twice {
			return nil, usage("--label: %s is given twice", k)
		}
		l.Labels[k] = v
	}
	if err := l.Check(); err != nil {
		return nil, usage("--name, --note, --label: %w", err)
	}
	if l.Name == latestRun {
		return nil, usage("--name: %s stands for the newest run", latestRun)
	}
	if l.Empty() {
		return nil, nil
	}
	return l, nil
}
