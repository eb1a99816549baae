package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"nbdbench/internal/text"
	"nbdbench/results"
)

// newExportRuns are the exports of a stored run's figures.
func newExportRuns() []*cobra.Command {
	return []*cobra.Command{
		exportOfRun("benchfmt RUN", "A run in the format of Go's benchmarks, which benchstat reads", `Write a run in the format of Go's benchmarks: one line for each run of each cell.

  nbdbench export benchfmt OLD > old.txt
  nbdbench export benchfmt NEW > new.txt
  benchstat old.txt new.txt

ns/op is the mean latency of a commit. A percentile is there if ten commits of the run
lie beyond it.`, (*results.Run).WriteBenchfmt),
		exportOfRun("openmetrics RUN", "A run as OpenMetrics text, for Prometheus", `Write the cells of a run as OpenMetrics text: a histogram of the commits' latencies in
seconds, their rate, requests by kind, power cuts and lost commits.

  nbdbench export openmetrics latest --output /var/lib/node_exporter/nbdbench.prom`, (*results.Run).WriteOpenMetrics),
		exportOfRun("csv RUN", "A run as CSV with one figure in each row", `Write a run as CSV with one figure in each row, of every run and of every cell.

  nbdbench export csv latest > run.csv

report --format csv has one cell in each row.`, (*results.Run).WriteLongCSV),
	}
}

func exportOfRun(use, short, long string, write func(r *results.Run, w io.Writer) error) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			doc, err := loadRun(args[0])
			if err != nil {
				return err
			}
			if output == "" {
				return write(doc, c.OutOrStdout())
			}
			return whole(output, func(f *os.File) error { return write(doc, text.NewWriter(f)) })
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write (default: standard output)")
	return c
}
