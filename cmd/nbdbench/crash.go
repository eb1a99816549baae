package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"nbdbench/devices/fault"
	"nbdbench/internal/crash"
	"nbdbench/internal/stack"
	"nbdbench/internal/text"
	"nbdbench/results/chart"
	"nbdbench/workloads"
)

const crashHelp = `Cut the power of simulated devices many times and report what survives.

  nbdbench crash                                     the default matrix
  nbdbench crash --device nvme-990pro --strategy all
  nbdbench crash --device all --workload all --strategy durable --cuts 1000
  nbdbench crash --workload wal --commits 2 --exhaustive
  nbdbench crash --device nvme-pm963 --fault no-capacitor
  nbdbench crash --device go:lossy                   a Go plugin (docs/PLUGINS.md)
  nbdbench crash --device small-cache:hdd-7200 --workload mixed-geometry
  nbdbench crash --history session.log               recorded by serve --log

At each cut it checks the images that this device could leave and every image that
the device's contract allows: for promises made at the wire, for commits that the
application saw acknowledged, and for the workload's invariant. Images are built for
the invariant: all of them if there are at most 65536, else corner cases and random
ones; coverage says which.

Without --workload, each drive with a volatile cache is tested a second time as
small-cache:NAME: the drive with a cache of 256 KiB that is written back all the time,
under mixed-geometry, whose requests overlap in all ways. Bugs in how a drive handles
ranges show there.

A violation is reduced to the shortest history that still shows it, and printed
with its timeline and with the command that replays it.

--fault injects faults, separated by commas and composed, the first closest to the
device; parameters follow after colons:

  lying-flush fua-ignored flush-skips-inflight stale-after-fua shorn
  collateral-512e lost:every=10 misdirected:every=10 bit-rot:p=0.01
  eio-read:every=10 eio-write:every=10 eio-flush:every=10
  slow:every=10:time=100ms dead:after=100 no-capacitor

--history judges what serve --log or --log-writes has recorded, or dm-log-writes of any
kernel. Without --device and --strategy it is judged by the FLUSH and FUA of the log
itself, for any drive with a volatile cache:

  nbdbench crash --history fs.log --invariant commit-record
  nbdbench crash --history fs.log --check 'e2fsck -fy $NBDBENCH_IMAGE; test $? -le 1' --images DIR

commit-record: where a FUA write is there, all writes that were done since the previous
one are. --check judges images that a cut may leave after each FLUSH and FUA, by its
status: 0 kept, 1 lost, 2 corrupt. Nothing else is judged, and the verdict says so.

With --device and --strategy the log is replayed there, including its power cuts, and
what it was promised is checked: under a strategy that drops FLUSH or FUA, such as
none-unsafe, what the log asked for. --invariant is checked too, in images that are built.
A log has its own requests and no commits: --workload, --commits, --queue-depth and --connections do not apply to it.

The exit code is 4 if a promise was broken or a durable strategy lost a commit.`

// crashFlags are the flags that have a form of their own.
type crashFlags struct {
	crash.Config
	fault, requests, format, picture string
	hops                             []string

	own crash.LogConfig // of a history without --device and --strategy
}

// crashFormats write a document as text.
var crashFormats = map[string]func(w io.Writer, d *crash.Document) error{
	"table": func(w io.Writer, d *crash.Document) error { return d.WriteText(w, widthOf(w)) },
	"md":    func(w io.Writer, d *crash.Document) error { return d.Table().Markdown(w) },
	"json":  func(w io.Writer, d *crash.Document) error { return d.WriteJSON(w) },
}

func newCrash() *cobra.Command {
	f := crashFlags{Config: crash.Default()}
	c := &cobra.Command{
		Use: "crash", Short: "Cut the power many times and report what survives", Long: crashHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.Devices, "device", f.Devices, "names or paths, or all (except controls that break promises)")
	fl.StringSliceVar(&f.Workloads, "workload", f.Workloads, "names or paths, or all")
	fl.StringSliceVar(&f.Strategies, "strategy", f.Strategies, "names, or all, or durable")
	countVar(fl, &f.Cuts, "cuts", f.Cuts, "power cuts per cell")
	fl.Uint64Var(&f.Commits, "commits", f.Commits, "commits per run; a run has at most 64 cuts")
	fl.Uint64Var(&f.Seed, "seed", f.Seed, "seed of the first run; each following run adds 1")
	fl.BoolVar(&f.Exhaustive, "exhaustive", false, "one run, a cut after each event, all images built")
	fl.StringArrayVar(&f.hops, "hop", nil, "LINK:STRATEGY of a proxy between client and server, such as lan:emulate; may be repeated, the one next to the client first")
	fl.StringVar(&f.fault, "fault", "", "faults to inject; see above")
	fl.Uint32Var(&f.QueueDepth, "queue-depth", 0, "transactions in flight (default: the workload's)")
	fl.Uint32Var(&f.Connections, "connections", f.Connections, "connections to the server (default: 1, of mixed-geometry 3)")
	fl.StringVar(&f.History, "history", "", "replay this history, or dm-log-writes log, instead of workloads")
	fl.BoolVar(&f.ReadOrder, "read-order", false, "a read that returned the newer of two concurrent writes, and then a FLUSH, exclude the older one")
	fl.StringVar(&f.own.Invariant, "invariant", "", "of --history: commit-record")
	fl.StringVar(&f.own.Check, "check", "", "of --history: command that checks an image, $NBDBENCH_IMAGE")
	fl.StringVar(&f.own.Images, "images", "", "of --history: directory for the images that --check sees")
	fl.StringVar(&f.requests, "requests", "", "pass only these requests to the device, such as 1-3,7 (for replays)")
	fl.Uint64Var(&f.CutAt, "cut-at", 0, "cut once, after this event (for replays)")
	fl.StringVar(&f.picture, "picture", "", "draw the timeline of the first violation into this file: svg, png or pdf")
	countVar(fl, &f.Jobs, "jobs", 0, "cells in parallel; 0 is one for each core")
	fl.StringVar(&f.format, "format", "table", "output format: table, md or json")
	return c
}

func (f *crashFlags) run(c *cobra.Command) error {
	write, ok := crashFormats[f.format]
	if !ok {
		return usage("--format: expected table, md or json, got %q", f.format)
	}
	if err := f.parse(c); err != nil {
		return err
	}
	if f.ownLog(c) {
		return f.judgeLog(c, write)
	}
	if _, err := f.Cells(); err != nil {
		return &exitError{exitUsage, err}
	}
	progress := newProgress(c.ErrOrStderr())
	doc, err := crash.Run(c.Context(), f.Config, progress.update)
	progress.end()
	if errors.Is(err, crash.ErrTooMany) {
		return usage("--exhaustive: %w", err)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(write(c.OutOrStdout(), doc), f.draw(doc)); err != nil {
		return err
	}
	switch {
	case doc.Broken():
		return &exitError{exitDeviation, fmt.Errorf("%d violations", len(doc.Violations))}
	case doc.Partial:
		fmt.Fprintln(c.ErrOrStderr(), "interrupted: what there is was printed and is marked partial")
		return &exitError{code: exitInterrupted}
	}
	return nil
}

// ownLog reports whether a history is judged by its own FLUSH and FUA.
func (f *crashFlags) ownLog(c *cobra.Command) bool {
	return f.History != "" && !c.Flags().Changed("device") && !c.Flags().Changed("strategy")
}

// judgeLog judges a history by its own FLUSH and FUA.
func (f *crashFlags) judgeLog(c *cobra.Command, write func(io.Writer, *crash.Document) error) error {
	f.own.History, f.own.Cuts, f.own.Seed = f.History, f.Cuts, f.Seed
	doc, err := crash.JudgeLog(f.own, func(image string) (int, string, error) { return checkImage(c.Context(), f.own.Check, image) })
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if err := errors.Join(write(c.OutOrStdout(), doc), f.draw(doc)); err != nil {
		return err
	}
	if doc.Broken() {
		return &exitError{exitDeviation, fmt.Errorf("%d violations", len(doc.Violations))}
	}
	return nil
}

// maxSaid bounds what is kept of what a check writes, in bytes.
const maxSaid = 512

// checkImage runs a check on an image.
func checkImage(ctx context.Context, command, image string) (status int, said string, err error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), "NBDBENCH_IMAGE="+image)
	out, err := cmd.CombinedOutput()
	said = text.Line(strings.TrimSpace(string(out[max(0, len(out)-maxSaid):])))
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), said, nil
	}
	return 0, said, err
}

func (f *crashFlags) parse(c *cobra.Command) (err error) {
	if c.Flags().Changed("history") {
		for _, name := range []string{"workload", "commits", "queue-depth", "connections"} {
			if c.Flags().Changed(name) {
				return usage("--%s: expected no --history beside it: a history has its own requests, at their own times", name)
			}
		}
	}
	if f.History == "" && c.Flags().Changed("invariant") {
		return usage("--invariant: expected --history beside it: a workload has its own")
	}
	if f.Invariant = f.own.Invariant; f.Invariant != "" && f.Invariant != string(workloads.InvariantCommitRecord) {
		return usage("--invariant: expected %s, got %q", workloads.InvariantCommitRecord, f.Invariant)
	}
	for _, name := range []string{"check", "images"} {
		if c.Flags().Changed(name) && !f.ownLog(c) {
			return usage("--%s: expected --history beside it, and no --device and --strategy: a history is then judged by its own FLUSH and FUA", name)
		}
	}
	if f.Config.Fault, err = fault.Parse(f.fault); err != nil {
		return usage("--fault: %w", err)
	}
	for _, s := range f.hops {
		h, err := stack.ParseHop(s)
		if err != nil {
			return usage("--hop: %w", err)
		}
		f.Hops = append(f.Hops, h)
	}
	if err := stack.CheckHops(f.Hops); err != nil {
		return usage("--hop: %w", err)
	}
	if len(f.Hops) > 0 && f.ownLog(c) {
		return usage("--hop: expected --device and --strategy beside --history: a log that is judged by its own FLUSH and FUA passes no proxy")
	}
	if c.Flags().Changed("requests") {
		if f.Requests, err = crash.ParseRanges(f.requests); err != nil {
			return usage("--requests: %w", err)
		}
	}
	if c.Flags().Changed("cut-at") && f.CutAt == 0 {
		return usage("--cut-at: expected the number of an event, from 1 on")
	}
	if f.picture != "" {
		if err := chart.CheckPath(f.picture); err != nil {
			return usage("--picture: %w", err)
		}
	}
	return nil
}

// draw draws the first violation's timeline, if there is one.
func (f *crashFlags) draw(doc *crash.Document) error {
	if f.picture == "" || len(doc.Violations) == 0 {
		return nil
	}
	return doc.Violations[0].Chart().Save(f.picture)
}
