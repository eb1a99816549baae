package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nbdbench/internal/bench"
	"nbdbench/results"
)

const mergeHelp = `Merge runs of one plan that were made apart, and store the result in --output.

  nbdbench run plan.yaml --shard 1/2 --output part1      # here
  nbdbench run plan.yaml --shard 2/2 --output part2      # on another machine
  nbdbench merge part1 part2 --output whole

Shards are the parts of run --shard: all N are needed, made by this very program. Other
runs are merged if their plans differ only in devices, workloads, strategies, the values
of a sweep's axes, or thresholds, and if together they have every cell of the plan that
has all of these, each once. In virtual time the result is, byte for byte, what one run
of the whole plan stores; if strategies of one device and workload are apart, give
--warmup a duration, as auto is that of the slowest one. No percentile is averaged:
histograms are exact.

Runs in real time must be of one machine. With --allow-hosts they may be of several, and
cells of another machine than the first run's have a warning that names it.

The output is the table, and the exit code is that of run.`

func newMerge() *cobra.Command {
	var output, format string
	var hosts bool
	c := &cobra.Command{
		Use: "merge RUN... --output DIR", Short: "Merge runs of one plan that were made apart", Long: mergeHelp,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if output == "" {
				return usage("--output: expected a directory for the merged run")
			}
			if err := checkFormat(format); err != nil {
				return err
			}
			doc, err := merged(args, hosts)
			if err != nil {
				return asUsage(err)
			}
			pending, err := reserveOutput(c, output)
			if err != nil {
				return err
			}
			saved := save(c, doc, pending)
			if err := errors.Join(saved, writeRun(c, doc, format)); err != nil {
				return err
			}
			return verdictOf(c, doc)
		},
	}
	c.Flags().StringVar(&output, "output", "", "run directory of the result, which must not exist")
	c.Flags().BoolVar(&hosts, "allow-hosts", false, "merge runs in real time of different machines")
	c.Flags().StringVar(&format, "format", "table", "output format: table, md, csv, json or html")
	return c
}

// merged is the document of stored runs, or of shards.
func merged(args []string, hosts bool) (*results.Run, error) {
	var shards []*results.Shard
	var docs []*results.Run
	for _, a := range args {
		dir, err := findRun(a)
		if err != nil {
			return nil, err
		}
		if results.IsShard(dir) {
			s, err := results.ReadShard(dir)
			if err != nil {
				return nil, err
			}
			shards = append(shards, s)
			continue
		}
		doc, err := results.LoadWhole(dir)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	switch {
	case shards == nil:
		return bench.Merge(docs, hosts)
	case docs != nil:
		return nil, usage("expected shards only, or whole runs only, got both")
	}
	return bench.MergeShards(shards)
}

// parseShard reads I/N.
func parseShard(s string) (shard, of int, err error) {
	i, n, ok := strings.Cut(s, "/")
	shard, err1 := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("expected I/N such as 1/16, got %q", s)
	}
	return shard, of, nil
}

// runShard carries out and stores a part of the plan's runs.
func (f *runFlags) runShard(c *cobra.Command, p *bench.Plan) error {
	shard, of, err := parseShard(f.shard)
	if err == nil {
		err = p.CheckShard(shard, of)
	}
	if err != nil {
		return usage("--shard: %w", err)
	}
	for _, name := range []string{"no-save", "format", "name", "note", "label"} {
		if c.Flags().Changed(name) {
			return usage("--%s: expected none with --shard, which stores its part of the runs and prints nothing", name)
		}
	}
	if f.output == "" {
		return usage("--shard: expected --output, a directory for this part")
	}
	pending, err := reserveOutput(c, f.output)
	if err != nil {
		return err
	}
	progress := newProgress(c.ErrOrStderr())
	s, err := bench.RunShard(c.Context(), p, shard, of, progress.update)
	progress.end()
	switch {
	case errors.Is(err, bench.ErrStopped):
		return &exitError{exitInterrupted, errors.Join(err, pending.Discard())}
	case err != nil:
		return errors.Join(err, pending.Discard())
	}
	if err := pending.SaveShard(s); err != nil {
		return fmt.Errorf("saving the shard: %w", err)
	}
	fmt.Fprintf(c.ErrOrStderr(), "saved %s: shard %d of %d, runs: %d\n", pending.Dir(), shard, of, len(s.Runs))
	return nil
}

// reserveOutput makes the directory of --output.
func reserveOutput(c *cobra.Command, dir string) (*results.Pending, error) {
	pending, err := results.Reserve(dir)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, usage("--output: %s exists: expected a directory that is not there yet", dir)
	case err != nil:
		return nil, usage("--output: %w", err)
	}
	reportLeftovers(c, pending)
	return pending, nil
}
