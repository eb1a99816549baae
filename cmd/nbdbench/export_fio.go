package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/internal/conf"
	"nbdbench/workloads"
)

const exportFioHelp = `Write a workload as a job file of fio, for an NBD export or a block device:

  nbdbench export fio-job sync-4k --target nbd://localhost --output job.fio
  nbdbench export fio-job ./mine.yaml --target /dev/nbd0 --output job.fio

What fio cannot do is refused, with the place in the profile: several steps in one
transaction beyond writes and their flush, what runs between two, shared logs,
bursts, replays. fio's nbd engine sends no FUA, so durable writes need a device,
where fio opens it with sync=dsync. A stream without an end runs for --runtime.`

func newExportFio() *cobra.Command {
	target, runtime := "", 10*time.Second
	c := transfer("fio-job WORKLOAD", "A workload as a job file of fio", func(_ *cobra.Command, to *os.File, from string) error {
		if target == "" || strings.ContainsAny(target, ";#\n") {
			return usage("--target: expected an NBD URI or a block device")
		}
		if runtime < time.Second || runtime%time.Second != 0 {
			return usage("--runtime: expected whole seconds, got %v", runtime)
		}
		p, err := workloads.Open(from)
		if err != nil {
			return &exitError{exitUsage, err}
		}
		text, err := fioJob(&p, target, runtime)
		if err != nil {
			return &exitError{exitUsage, fmt.Errorf("workload %s: %w", p.Name, err)}
		}
		_, err = to.WriteString(text)
		return err
	})
	c.Long = exportFioHelp
	c.Flags().StringVar(&target, "target", "", "an NBD URI, or a block device")
	c.Flags().DurationVar(&runtime, "runtime", runtime, "how long streams without an end run")
	return c
}

const exportFioJSONHelp = `Write a run's cells in the form of fio's --output-format=json+, which fio-plot and other
programs read: a job for each cell, or the one of --cell.

  nbdbench export fio-json RUN --cell nvme-990pro/sync-4k/native --output native.json

A job has reads, writes with and without FUA together, trims, and flushes as syncs, at
the wire and over all runs; write_zeroes, which fio does not have, are left out. lat_ns and
clat_ns are the same, slat_ns is 0: the time before a request is sent is in run.json
(lag). Bytes are split between reads and writes by their numbers. numjobs is the number
of connections, iodepth the queue depth of each.`

func newExportFioJSON() *cobra.Command {
	var cell string
	c := transfer("fio-json RUN", "A run in the form of fio's JSON", func(_ *cobra.Command, to *os.File, from string) error {
		doc, err := loadRun(from)
		if err != nil {
			return asUsage(err)
		}
		if err := doc.WriteFio(to, cell); err != nil {
			return &exitError{exitUsage, fmt.Errorf("%s: %w", from, err)}
		}
		return nil
	})
	c.Long = exportFioJSONHelp
	c.Flags().StringVar(&cell, "cell", "", "device/workload/strategy of the one cell to write (default: all)")
	return c
}

// fioJob is a workload as a job file.
func fioJob(p *workloads.Profile, target string, runtime time.Duration) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "; %s\n[global]\n", p.Name)
	nbd := strings.Contains(target, "://")
	if nbd {
		fmt.Fprintf(&b, "ioengine=nbd\nuri=%s\n", target)
	} else {
		fmt.Fprintf(&b, "ioengine=libaio\ndirect=1\nfilename=%s\n", strings.ReplaceAll(target, ":", `\:`))
	}
	all, seen := p.All(), map[int]bool{}
	for n, phase := range p.EachPhase() {
		for k, i := range phase {
			s, at := &all[i], ""
			if len(p.Streams) > 0 {
				at = fmt.Sprintf("streams[%d]", i)
			}
			if seen[i] {
				return "", conf.At(at, "expected each stream in one phase")
			}
			seen[i] = true
			text, err := fioStream(p, s, nbd, runtime)
			if err != nil {
				return "", conf.Under(at, err)
			}
			name := s.Name
			if name == "" {
				name = p.Name
			}
			fmt.Fprintf(&b, "[%s]\n", name)
			if n > 0 && k == 0 {
				b.WriteString("stonewall\n")
			}
			b.WriteString(text)
		}
	}
	return b.String(), nil
}

// fioStream is the settings of a stream.
func fioStream(p *workloads.Profile, s *workloads.Stream, nbd bool, runtime time.Duration) (string, error) {
	if len(s.Between) > 0 {
		return "", conf.At("between", "expected none: fio has nothing between two transactions")
	}
	steps := s.Transaction
	flushed := len(steps) == 2 && steps[1].Op == workloads.ActionFlush && steps[1].Count <= 1 && steps[0].Op == workloads.ActionWrite
	if len(steps) != 1 && !flushed {
		return "", conf.At("transaction", "expected one step, or writes and a flush")
	}
	step := &steps[0]
	count := max(uint64(step.Count), 1)
	switch {
	case step.Parallel && count > 1:
		return "", conf.At("transaction[0].parallel", "expected false: fio has no group of requests in flight together")
	case !flushed && count > 1:
		return "", conf.At("transaction[0].count", "expected 1 without a flush: for fio each request is one of its own")
	case flushed && s.QueueDepth > 1:
		return "", conf.At("queue_depth", "expected 1 with a flush: fio does not wait for what is in flight before it flushes")
	case step.Durable && nbd:
		return "", conf.At("transaction[0].durable", "expected false, or a block device: fio's nbd engine sends no FUA")
	}
	lines, err := fioStep(step)
	if err != nil {
		return "", conf.Under("transaction[0]", err)
	}
	if flushed {
		lines = append(lines, fmt.Sprintf("fsync=%d", count))
	}
	more, err := fioPace(s, count)
	if err != nil {
		return "", err
	}
	lines = append(lines, more...)
	if s.Transactions > 0 {
		lines = append(lines, fmt.Sprintf("number_ios=%d", s.Transactions*count))
	} else {
		lines = append(lines, "time_based", fmt.Sprintf("runtime=%ds", runtime/time.Second))
	}
	more, err = fioRegion(p, step.Region)
	return strings.Join(append(lines, more...), "\n") + "\n", err
}

// fioStep is what a step asks for, and where.
func fioStep(s *workloads.Step) (lines []string, err error) {
	kind := map[workloads.Action]string{
		workloads.ActionRead: "read", workloads.ActionWrite: "write", workloads.ActionTrim: "trim", workloads.ActionMix: "rw",
	}[s.Op]
	ordered := s.Pattern == "" || s.Pattern == workloads.PatternSequential && s.RandomPercent == 0
	switch {
	case kind == "":
		return nil, conf.At("op", "expected read, write, trim or mix, got %s", s.Op)
	case s.Op == workloads.ActionMix && (ordered || s.Pattern == workloads.PatternStride):
		return nil, conf.At("pattern", "expected a random one with op mix: fio's reads and writes each have a position of their own")
	case s.Op == workloads.ActionMix:
		read, ok := percentOf(s.Mix.Read, s.Mix.Read+s.Mix.Write)
		if !ok || s.Mix.Trim+s.Mix.WriteZeroes > 0 {
			return nil, conf.At("mix", "expected only read and write, in whole percent")
		}
		lines = append(lines, fmt.Sprintf("rwmixread=%d", read))
	}
	where, random, err := fioPattern(s)
	if err != nil {
		return nil, err
	}
	if random {
		kind = "rand" + kind
	}
	if s.Pattern == workloads.PatternStride {
		kind += fmt.Sprintf(":%d", s.Stride-s.Size)
	}
	lines = append([]string{"rw=" + kind}, append(lines, where...)...)
	if s.Durable {
		lines = append(lines, "sync=dsync")
	}
	size, err := fioSize(s)
	return append(lines, size), err
}

func fioSize(s *workloads.Step) (string, error) {
	switch {
	case len(s.Split) > 0:
		var parts []string
		sum := 0.0
		for _, x := range s.Split {
			sum += x.Weight
		}
		for i, x := range s.Split {
			n, ok := percentOf(x.Weight, sum)
			if !ok {
				return "", conf.At(fmt.Sprintf("split[%d].weight", i), "expected whole percent")
			}
			parts = append(parts, fmt.Sprintf("%d/%d", x.Size, n))
		}
		return "bssplit=" + strings.Join(parts, ":"), nil
	case s.Size%512 != 0 || s.Record != 0:
		return "", conf.At("size", "expected a multiple of 512 bytes, and no record: fio would send what is none")
	case s.MaxSize > s.Size:
		return fmt.Sprintf("bsrange=%d-%d", s.Size, s.MaxSize), nil
	}
	return fmt.Sprintf("bs=%d", s.Size), nil
}

// percentOf is a part of a sum in whole percent.
func percentOf(part, sum float64) (n int, ok bool) {
	exact := part / sum * 100
	return int(math.Round(exact)), math.Abs(exact-math.Round(exact)) < 1e-9
}

func fioPattern(s *workloads.Step) (lines []string, random bool, err error) {
	float := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	switch s.Pattern {
	case "", workloads.PatternSequential:
		if s.RandomPercent == 0 {
			return nil, false, nil
		}
		if s.RandomPercent != math.Round(s.RandomPercent) {
			return nil, false, conf.At("random_percent", "expected whole percent")
		}
		return []string{fmt.Sprintf("percentage_random=%.0f", s.RandomPercent), "norandommap"}, true, nil
	case workloads.PatternStride:
		return nil, false, nil
	case workloads.PatternShuffled:
		return nil, true, nil
	case workloads.PatternRandom:
		return []string{"norandommap"}, true, nil
	case workloads.PatternZipf:
		theta := s.Theta
		if theta == 0 {
			theta = 0.99
		}
		return []string{"random_distribution=zipf:" + float(theta)}, true, nil
	case workloads.PatternPareto:
		if s.H == 0 {
			return []string{"random_distribution=pareto:0.2"}, true, nil
		}
		return []string{"random_distribution=pareto:" + float(s.H)}, true, nil
	case workloads.PatternNormal:
		if s.Deviation == 0 {
			return []string{"random_distribution=normal:10"}, true, nil
		}
		return []string{"random_distribution=normal:" + float(s.Deviation)}, true, nil
	case workloads.PatternZoned:
		return fioZones(s)
	}
	return nil, false, conf.At("pattern", "expected one that fio has, got %s", s.Pattern)
}

func fioZones(s *workloads.Step) ([]string, bool, error) {
	zones := s.Zones
	if len(zones) == 0 {
		zones = []workloads.Zone{{Percent: 20, Weight: 80}, {Percent: 80, Weight: 20}}
	}
	sum, parts := 0.0, []string(nil)
	for _, z := range zones {
		sum += z.Weight
	}
	for i, z := range zones {
		n, ok := percentOf(z.Weight, sum)
		if !ok || z.Percent != math.Round(z.Percent) {
			return nil, false, conf.At(fmt.Sprintf("zones[%d]", i), "expected whole percent")
		}
		parts = append(parts, fmt.Sprintf("%d/%.0f", n, z.Percent))
	}
	return []string{"random_distribution=zoned:" + strings.Join(parts, ":")}, true, nil
}

// fioPace is how many, and when.
func fioPace(s *workloads.Stream, count uint64) (lines []string, err error) {
	if s.Count > 1 {
		lines = append(lines, fmt.Sprintf("numjobs=%d", s.Count))
	}
	if s.QueueDepth > 1 {
		lines = append(lines, fmt.Sprintf("iodepth=%d", s.QueueDepth))
	}
	switch s.Arrival {
	case "", workloads.ArrivalClosed:
	case workloads.ArrivalConstant, workloads.ArrivalPoisson:
		if float64(s.Rate) != math.Round(float64(s.Rate)) || count > 1 {
			return nil, conf.At("rate", "expected a whole number of requests a second, each a transaction")
		}
		lines = append(lines, fmt.Sprintf("rate_iops=%.0f", float64(s.Rate)))
		if s.Arrival == workloads.ArrivalPoisson {
			lines = append(lines, "rate_process=poisson")
		}
	default:
		return nil, conf.At("arrival", "expected closed, constant or poisson, got %s", s.Arrival)
	}
	for _, pause := range []struct {
		key, ours string
		d         time.Duration
	}{{"thinktime", "think", s.Think.Std()}, {"startdelay", "start_delay", s.StartDelay.Std()}} {
		switch {
		case pause.d == 0:
		case pause.d%time.Microsecond != 0:
			return nil, conf.At(pause.ours, "expected whole microseconds, got %v", pause.d)
		case pause.key == "thinktime" && (count > 1 || s.QueueDepth > 1 || slices.ContainsFunc(s.Transaction, func(x workloads.Step) bool { return x.Op == workloads.ActionFlush })):
			return nil, conf.At("think", "expected none with several requests in flight or a flush, before which fio would pause")
		default:
			lines = append(lines, fmt.Sprintf("%s=%dus", pause.key, pause.d/time.Microsecond))
		}
	}
	if s.Connections > 0 {
		return nil, conf.At("connections", "expected none: each job of fio has its own")
	}
	return lines, nil
}

// fioRegion is a step's part of the device.
func fioRegion(p *workloads.Profile, name string) (lines []string, err error) {
	for i := range p.Regions {
		r := &p.Regions[i]
		if r.Name != name {
			continue
		}
		at := fmt.Sprintf("regions[%d]", i)
		if r.AtMost != 0 {
			return nil, conf.At(at+".at_most", "expected none: fio has no such bound")
		}
		amounts := map[string]*workloads.Amount{"offset": &r.Offset, "size": r.Size}
		for _, key := range []string{"offset", "size"} {
			switch a := amounts[key]; {
			case a == nil || *a == workloads.Amount{}:
			case a.Percent != math.Round(a.Percent):
				return nil, conf.At(at+"."+key, "expected whole percent")
			case a.Percent != 0:
				lines = append(lines, fmt.Sprintf("%s=%.0f%%", key, a.Percent))
			default:
				lines = append(lines, fmt.Sprintf("%s=%d", key, a.Bytes))
			}
		}
	}
	return lines, nil
}
