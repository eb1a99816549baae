package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"nbdbench/results"
)

// formats write a document as text.
var formats = map[string]func(w io.Writer, r *results.Run) error{
	"table": func(w io.Writer, r *results.Run) error { return r.Summary().Text(w, widthOf(w)) },
	"md":    func(w io.Writer, r *results.Run) error { return r.WriteMarkdown(w) },
	"csv":   func(w io.Writer, r *results.Run) error { return r.Summary().CSV(w) },
	"json":  func(w io.Writer, r *results.Run) error { return r.WriteJSON(w) },
	"html":  func(w io.Writer, r *results.Run) error { return r.WriteHTML(w) },
}

func checkFormat(name string) error {
	if _, ok := formats[name]; !ok {
		return usage("--format: expected table, md, csv, json or html, got %q", name)
	}
	return nil
}

func write(w io.Writer, r *results.Run, format string) error { return formats[format](w, r) }

func newReport() *cobra.Command {
	var format, charts, kind string
	c := &cobra.Command{
		Use: "report RUN", Short: "Print a stored run in any format",
		Long: `Print a stored run: everything is computed from only the run directory.

  nbdbench report runs/20260101T120000-default-a1b2c3
  nbdbench report latest
  nbdbench report RUN --format html > report.html
  nbdbench report RUN --charts DIR --chart-format png`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			doc, err := loadRun(args[0])
			if err != nil {
				return err
			}
			if charts != "" {
				return saveCharts(c.ErrOrStderr(), doc, charts, kind)
			}
			return writeRun(c, doc, format)
		},
	}
	c.Flags().StringVar(&format, "format", "table", "table, md, csv, json or html")
	c.Flags().StringVar(&charts, "charts", "", "write the charts into this directory, and no table")
	c.Flags().StringVar(&kind, "chart-format", "svg", "format of the charts: svg, png or pdf")
	return c
}

// loadRun reads a stored run, see findRun.
func loadRun(name string) (*results.Run, error) {
	dir, err := findRun(name)
	if err != nil {
		return nil, err
	}
	doc, err := results.LoadWhole(dir)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return doc, nil
}

func saveCharts(stderr io.Writer, doc *results.Run, dir, kind string) error {
	switch kind {
	case "svg", "png", "pdf":
	default:
		return usage("--chart-format: expected svg, png or pdf, got %q", kind)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var failed []error
	for _, chart := range doc.Charts() {
		path := filepath.Join(dir, chart.Name+"."+kind)
		if err := chart.Save(path); err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(stderr, "saved %s\n", path)
	}
	return errors.Join(failed...)
}
