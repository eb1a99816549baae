package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"nbdbench/devices/history"
	"nbdbench/internal/bench"
	"nbdbench/internal/crash"
	"nbdbench/results"
)

const importHelp = `Read what other programs have recorded or run: a job file of fio as a plan, a trace
as one that a workload replays, and dm-log-writes as a history that crash replays.

  nbdbench import fio-job job.fio --output plan.yaml
  nbdbench import blkparse trace.txt --output trace.gz
  nbdbench import dm-log-writes LOG --output session.log
  nbdbench crash --history session.log

dm-log-writes is the log format of the kernel module of that name. It has no times
and records a write when it completes, so each request is replayed after the reply to
the one before it. In a log of the kernel, FUA may come before an older write of the
same sectors; in one of serve --log-writes it does not. The mark of a power cut is
imported as a power cut.`

const exportHelp = `Write a run or a history in the format of another program, or a workload as a job
file of fio.

  nbdbench export benchfmt RUN > new.txt
  nbdbench export openmetrics RUN > nbdbench.prom
  nbdbench export csv RUN > run.csv
  nbdbench export fio-job sync-4k --target /dev/nbd0 --output job.fio
  nbdbench export fio-json RUN --output run.json
  nbdbench export dm-log-writes RUN --cell nvme-990pro/wal/native --output LOG
  nbdbench export dm-log-writes session.log --output LOG

dm-log-writes is the log format of the kernel module of that name, which replay-log
of xfstests reads: requests on the wire, in the order in which they became durable.
A history has no data: each sector instead contains a description of itself (magic,
offset, version, transaction, checksum). serve --log-writes writes the same format
with the real data.

RUN is a run directory. A run in virtual time follows from its plan and seed, so its
cell is repeated with the stored profiles, and must take the same time as the stored
run. A run in real time cannot be exported.`

func newImport() *cobra.Command {
	c := &cobra.Command{
		Use: "import", Short: "Convert a fio job, a trace or a recording of another program", Long: importHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(transfer("dm-log-writes FILE", "The kernel's dm-log-writes", func(c *cobra.Command, to *os.File, from string) error {
		l, err := loadHistory(c, from)
		if err != nil {
			return err
		}
		return l.Write(to)
	}), newImportFio(), newImportHistory())
	c.AddCommand(newImportTraces()...)
	return c
}

func newExport() *cobra.Command {
	c := &cobra.Command{
		Use: "export", Short: "Write a history or a workload in the format of another program", Long: exportHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var cell string
	var run int
	dm := transfer("dm-log-writes RUN|HISTORY", "The kernel's dm-log-writes", func(c *cobra.Command, to *os.File, from string) error {
		if info, err := os.Stat(from); err == nil && info.IsDir() {
			return exportRun(c, to, from, cell, run)
		}
		if c.Flags().Changed("cell") || c.Flags().Changed("run") {
			return usage("--cell and --run: expected with a run directory, %s is none", from)
		}
		l, err := loadHistory(c, from)
		if err != nil {
			return err
		}
		return crash.ExportDM(to, l)
	})
	dm.Flags().StringVar(&cell, "cell", "", "of a run directory: device/workload/strategy (default: its only one)")
	dm.Flags().IntVar(&run, "run", 0, "of a run directory: which run of the cell, from 0 as in latency.hlog")
	c.AddCommand(dm, newExportFio(), newExportFioJSON())
	c.AddCommand(newExportRuns()...)
	return c
}

// loadHistory reads a history, and says if its file was cut short.
func loadHistory(c *cobra.Command, path string) (*history.Log, error) {
	l, err := crash.LoadHistory(path)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	if l.Torn != nil {
		fmt.Fprintf(c.ErrOrStderr(), "warning: %v: what is before it was read\n", l.Torn)
	}
	return l, nil
}

// exportRun runs one run of a stored cell again.
func exportRun(c *cobra.Command, to *os.File, dir, cell string, run int) error {
	doc, err := results.Load(dir)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	log := crash.NewDMExport(to)
	if err := bench.Record(doc, cell, run, log, func() bool { return c.Context().Err() != nil }); err != nil {
		if errors.Is(err, bench.ErrInterrupted) {
			return &exitError{exitInterrupted, err}
		}
		return err
	}
	return log.Close()
}

// transfer is a command that makes a file of a file.
func transfer(use, short string, convert func(c *cobra.Command, to *os.File, from string) error) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if output == "" {
				return usage("--output: expected the name of a file")
			}
			return whole(output, func(f *os.File) error { return convert(c, f, args[0]) })
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the file to write")
	return c
}

// whole writes a file whole or not at all.
func whole(path string, write func(f *os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".nbdbench")
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	err = write(f)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
