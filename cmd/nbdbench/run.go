package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"nbdbench/internal/bench"
	"nbdbench/internal/stack"
	"nbdbench/internal/units"
	"nbdbench/nbd/socket"
	"nbdbench/results"
	"nbdbench/workloads"
)

const runHelp = `Benchmark devices x workloads x strategies through the NBD server.

Without arguments it compares native, emulate, none and none-unsafe on three
devices and two workloads in virtual time, in seconds. A plan file or flags
select others; flags override the file. RUN is a run directory or its run.json: it
is repeated with the plan and the profiles stored in it. In virtual time the new
document is identical, except for the program's version.

Strategies, and what makes a durable write durable:
  native           the device, for that write alone            1 round trip
  emulate          the server: write, then one flush each      1
  emulate-grouped  the server: one flush shared by many        1
  none             the client: write, await the reply, flush   2
  none-grouped     the client, as Linux's blk-flush does it    2
  none-unsafe      nothing: the client drops FUA and FLUSH     1
  force            the device, on every write; FLUSH does nothing
  discard          nothing, although FUA and FLUSH are advertised
  pass             as the device

Virtual time is exact and reproducible: the same version, plan and seed give the
same bytes. --clock real runs in real time over a Unix socket.
--target measures an external NBD server and overwrites its data.
--nbdkit 'file ./disk.img' starts nbdkit with that plugin and its fua filter, for each
strategy; native and force over a plugin whose can_fua is EMULATE are unsupported.
--target-command 'CMD' starts any server: CMD listens at $unixsocket, stays in the
foreground, and serves native, emulate, force or discard if it uses $strategy or
$fuamode. Each run starts its own server and stops it at the end.
--device go:NAME?key=value is a Go plugin, in virtual time unless it uses something
outside of the process. --device sh:PATH?key=value is a script by nbdkit's sh protocol.
Scripts and such plugins run in real time and need --destroy.
--device ./disk.img or /dev/sdX measures the host's storage in real time with direct
I/O, a directory a scratch file in it of --size; --destroy allows overwriting what is
there (docs/HOST.md). With a profile beside it, --device ./mine.yaml,/dev/sdX runs both
through the same kind of socket, interleaved.
--via kernel uses Linux's own client, as /dev/nbdN: the table shows what the kernel
sent for each commit, as counted by the server.

--queue-depth, --connections, --link and --rate take a list (1,4,16) or a range
(1..256*2 by a factor, 1..64+8 by a step): every combination of their values is a point
of a sweep, with cells, verdicts, charts and crossovers. A plan's sweep also varies any
parameter of a profile: device.PATH and workload.PATH.
--find-max 'commit.p99<2ms' --over rate searches the highest rate, or with --over
queue_depth the highest queue depth, at which the bound holds.

A threshold such as 'nvme-990pro/wal-noisy/emulate:commit.p99<2ms' makes the exit
code 99 when the far end of its interval violates it. CELL may contain
* (*/*/emulate). Other metrics: ratio<3, lost_per_cut==0, rates.commits_per_s>90.
The exit code does not depend on what power cuts lost: the loss is a result.

Virtual time: 7 runs of 2000 commits, each after its device has reached steady
state; a window of at most 15 virtual minutes. Real time: 10 blocks in random order
of one run of every cell, each 1s after a flush and a warm-up of 500ms; 15, 20 or 30
blocks if the deciding percentile lacks ten samples beyond it or its interval is
wider than 5% to either side, for at most 10 minutes (--max-time); no power cuts.`

// runFlags are the flags of run, which override a plan.
type runFlags struct {
	devices, workloads, strategies []string
	clock, target, via             string
	nbdkit, targetCommand          string
	queueDepth, rate               []ofStream
	link, connections              string
	hops                           []string
	findMax, over                  string
	arrival                        string
	commits                        uint64
	duration, maxTime, timeout     time.Duration
	warmup, decide                 string
	raw, sensitivity               bool
	allowErrors                    float64
	runs, cuts, jobs               int
	seed                           uint64
	thresholds                     []string
	output, format                 string
	shard                          string
	noSave, destroy, yes, dry      bool
	size, precondition             string
	rest                           time.Duration
	tls                            socket.TLSFiles
	about                          labelFlags
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run [PLAN.yaml | RUN]", Short: "Benchmark devices x workloads x strategies through the NBD server", Long: runHelp,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	d := bench.Default()
	fl := c.Flags()
	fl.StringSliceVar(&f.devices, "device", d.Devices, "profiles, by name or path; or block devices, files or directories of the host")
	fl.StringSliceVar(&f.workloads, "workload", []string{"sync-4k", "wal-noisy"}, "profiles, by name or path")
	fl.StringSliceVar(&f.strategies, "strategy", d.Strategies, "where writes are made durable")
	fl.StringVar(&f.clock, "clock", d.Clock, "virtual or real")
	fl.StringVar(&f.link, "link", d.Link.Name, "none, unix, lan, wan or LATENCY,BANDWIDTH, one way; unix,lan or 10us..1ms*10,1GB/s sweeps")
	fl.StringArrayVar(&f.hops, "hop", nil, "LINK:STRATEGY of a proxy between client and server, such as lan:emulate, in virtual time; may be repeated, the one next to the client first")
	fl.StringVar(&f.target, "target", "", "NBD URI of an external server, instead of --device")
	fl.StringVar(&f.nbdkit, "nbdkit", "", "nbdkit plugin with its filters and parameters, started for each strategy, instead of --device")
	fl.StringVar(&f.targetCommand, "target-command", "", "shell command that starts a server at $unixsocket, with $strategy and $fuamode, instead of --device")
	targetTLS(fl, &f.tls)
	fl.StringVar(&f.via, "via", bench.ViaUserspace, "userspace: our own NBD client; kernel: the kernel's client, as /dev/nbdN, in real time")
	fl.Var(streamsFlag{bench.AxisQueueDepth, &f.queueDepth}, "queue-depth", "transactions in flight; 1,4,16 or 1..256*2 sweeps; STREAM=4 for one of several streams; empty is the workload's own")
	fl.StringVar(&f.connections, "connections", fmt.Sprint(d.Connections), "NBD connections; 1,2,4 or 1..8+1 sweeps")
	fl.Var(streamsFlag{bench.AxisRate, &f.rate}, "rate", "arrival rate of transactions, such as 5000/s, for an open loop; 1000/s..8000/s*2 sweeps; STREAM=5000/s for one of several streams")
	fl.StringVar(&f.findMax, "find-max", "", "search the highest load at which METRIC<VALUE holds, such as 'commit.p99<2ms'; see --over")
	fl.StringVar(&f.over, "over", "", "what --find-max searches: queue_depth or rate")
	fl.StringVar(&f.arrival, "arrival", "", "closed, constant or poisson; empty is the workload's own")
	fl.Uint64Var(&f.commits, "commits", d.Commits, "durable transactions per run; 0 is limited by --duration only")
	fl.DurationVar(&f.duration, "duration", 0, "length of a run; 0 is until all commits are done (at most 15 virtual minutes)")
	fl.StringVar(&f.warmup, "warmup", d.Warmup.String(), "time before the measurement: a duration; auto: until steady state (500ms in real time); 0: start with a clean device")
	fl.StringVar(&f.decide, "decide", d.Decide, "metric that decides verdicts: commit.mean, commit.p50, commit.p90 or commit.p99")
	fl.DurationVar(&f.maxTime, "max-time", 0, "limit for the whole benchmark in wall-clock time (default 10m in real time)")
	fl.BoolVar(&f.raw, "raw", false, "store every commit in commits.csv.gz")
	fl.DurationVar(&f.timeout, "timeout", stack.DefaultTimeout, "limit for each reply of a target; ten times as long for FLUSH")
	fl.Float64Var(&f.allowErrors, "allow-errors", 0, "share of commits, from 0 to 1, that may fail before a cell is invalid")
	fl.BoolVar(&f.sensitivity, "sensitivity", false, "repeat with other values of parameters that are estimates, and report which change a verdict; virtual time only, takes minutes")
	fl.IntVar(&f.runs, "runs", d.Runs, "runs per cell, each with its own seed")
	fl.Uint64Var(&f.seed, "seed", d.Seed, "seed of all randomness")
	fl.IntVar(&f.cuts, "cuts", d.Cuts, "power cuts per run, in virtual time; 0 is none")
	fl.IntVar(&f.jobs, "jobs", 0, "runs in parallel; 0 is one for each core")
	fl.StringArrayVar(&f.thresholds, "threshold", nil, "CELL:METRIC<VALUE; exit code 99 if it does not hold")
	fl.StringVar(&f.output, "output", "", "run directory (default runs/<utc>-<name>-<hash6>)")
	fl.StringVar(&f.shard, "shard", "", "I/N: carry out the I-th of N equal parts of the plan's runs, from 1, and store it in --output for nbdbench merge; virtual time only")
	fl.BoolVar(&f.dry, "dry-run", false, "measure nothing: print the number of cells, runs, commits and requests, and the expected time")
	fl.BoolVar(&f.noSave, "no-save", false, "write no run directory")
	fl.StringVar(&f.format, "format", "table", "output format: table, md, csv or json")
	fl.StringVar(&f.size, "size", "", "how much of a block device or file is used, or of a directory's scratch file (default: all; 1GiB)")
	fl.StringVar(&f.precondition, "precondition", bench.PreconditionNone, "what is written to a block device or file first: none; seq: all of it; random: as much at random; pts: by SNIA's PTS, until steady")
	fl.DurationVar(&f.rest, "rest", bench.DefaultRest, "how long a device rests before each run in real time, after a flush")
	fl.BoolVar(&f.destroy, "destroy", false, "allow writing to a target, block device or file that nbdbench did not create")
	fl.StringVar(&f.about.name, "name", "", "name of the stored run, by which report and compare find it; in labels.json, as are note and labels")
	fl.StringVar(&f.about.note, "note", "", "one line about the run")
	fl.StringArrayVar(&f.about.labels, "label", nil, "KEY=VALUE; may be repeated")
	fl.BoolVar(&f.yes, "yes", false, "with --destroy, do not ask before a block device is overwritten")
	return c
}

func (f *runFlags) run(c *cobra.Command, args []string) error {
	p, name, err := f.plan(c, args)
	if err != nil {
		return err
	}
	if err := checkFormat(f.format); err != nil {
		return err
	}
	if err := f.check(c, &p); err != nil {
		return err
	}
	labels, err := f.about.parse()
	switch {
	case err != nil:
		return err
	case f.dry:
		return f.dryRun(c, &p)
	case f.shard != "":
		return f.runShard(c, &p)
	case labels != nil && f.noSave:
		return usage("--name, --note and --label: expected a run that is stored, got --no-save, too")
	}
	pending, err := f.reserve(c, &p, name)
	if err != nil {
		return err
	}
	if pending != nil {
		pending.Label(labels)
	}
	paceGC()
	progress := newProgress(c.ErrOrStderr())
	doc, err := bench.Run(c.Context(), &p, progress.update)
	progress.end()
	if err != nil {
		return errors.Join(err, discard(pending))
	}
	saved := save(c, doc, pending) // what cannot be stored is printed all the same
	if err := errors.Join(saved, writeRun(c, doc, f.format)); err != nil {
		return err
	}
	return verdictOf(c, doc)
}

// plan makes the plan of file and flags. A flag that was not given leaves the
// file's word.
func (f *runFlags) plan(c *cobra.Command, args []string) (p bench.Plan, name string, err error) {
	p, name = bench.Default(), "default"
	if len(args) == 1 {
		if p, name, err = planFrom(args[0]); err != nil {
			return p, "", err
		}
	}
	if err := f.override(c, &p); err != nil {
		return p, "", err
	}
	p.TLS = f.tls
	if err := f.tls.Validate(); err != nil {
		return p, "", usage("--tls-cert and --tls-key: %w", err)
	}
	return p, name, nil
}

// planFrom reads a plan file, or the plan of a stored run.
func planFrom(path string) (p bench.Plan, name string, err error) {
	if !results.IsDocument(path) {
		p, err = bench.Load(path)
		return p, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), err
	}
	doc, err := results.ReadDocument(path)
	if err != nil {
		return p, "", &exitError{exitUsage, err}
	}
	p, err = bench.Rerun(doc)
	return p, nameOfRun(doc.Path()), err
}

// runDir matches the names that save gives, of which the middle is the plan's name.
var runDir = regexp.MustCompile(`^\d{8}T\d{6}-(.+)-[0-9a-f]{6}(-\d+)?$`)

// nameOfRun is the name of the plan of a stored run.
func nameOfRun(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if filepath.Base(path) == results.FileRun {
		if dir, err := filepath.Abs(filepath.Dir(path)); err == nil {
			name = filepath.Base(dir)
		}
	}
	if m := runDir.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return name
}

// override applies the flags that were given.
func (f *runFlags) override(c *cobra.Command, p *bench.Plan) (err error) {
	given := c.Flags().Changed
	set := func(name string, assign func() error) {
		if given(name) && err == nil {
			if e := assign(); e != nil {
				err = usage("--%s: %w", name, e)
			}
		}
	}
	set("target", func() error { p.UseTarget(f.target); return nil })
	set("nbdkit", func() error { p.UseNbdkit(f.nbdkit); return one("nbdkit", f.nbdkit, given("target")) })
	set("target-command", func() error {
		p.UseTargetCommand(f.targetCommand)
		return one("target-command", f.targetCommand, given("target") || given("nbdkit"))
	})
	set("via", func() error { p.UseVia(f.via); return nil })
	set("clock", func() error { p.UseClock(f.clock); return nil })
	set("device", func() error {
		if p.UseDevices(f.devices); !given("clock") {
			p.UseClockOfPlugins()
		}
		return nil
	})
	if given("clock") { // also where storage needs real time
		p.Clock = f.clock
	}
	set("precondition", func() error { p.Precondition = f.precondition; return nil })
	set("rest", func() error { p.Rest = f.rest; return positive(f.rest) })
	set("size", func() error { return sizeFlag(&p.Size, f.size) })
	set("workload", func() error { p.UseWorkloads(refs(f.workloads)); return nil })
	set("strategy", func() error { p.Strategies = f.strategies; return nil })
	set("hop", func() error { return p.UseHops(f.hops) })
	set("link", func() error { return p.UseAxis(bench.AxisLink, f.link) })
	set("queue-depth", func() error { return useStreams(p, bench.AxisQueueDepth, f.queueDepth) })
	set("connections", func() error { return p.UseAxis(bench.AxisConnections, f.connections) })
	set("rate", func() error { return useStreams(p, bench.AxisRate, f.rate) })
	set("find-max", func() error { return p.UseFindMax(f.findMax) })
	set("over", func() error { p.Over = f.over; return nil })
	set("arrival", func() error { p.Arrival = f.arrival; return nil })
	set("duration", func() error { p.UseDuration(f.duration); return nil })
	set("commits", func() error {
		if p.UseCommits(f.commits); given("duration") {
			p.Duration = f.duration
		}
		return nil
	})
	set("warmup", func() error { return p.Warmup.UnmarshalText([]byte(f.warmup)) })
	set("decide", func() error { p.Decide = f.decide; return nil })
	set("max-time", func() error { p.MaxTime = f.maxTime; return nil })
	set("raw", func() error { p.Raw = f.raw; return nil })
	set("sensitivity", func() error { p.Sensitivity = f.sensitivity; return nil })
	set("threshold", func() error { p.Thresholds = f.thresholds; return nil })
	set("runs", func() error { p.Runs, p.MoreRuns = f.runs, false; return nil })
	set("timeout", func() error { p.Timeout = f.timeout; return positive(f.timeout) })
	set("allow-errors", func() error { p.AllowErrors = f.allowErrors; return nil })
	set("seed", func() error { p.Seed = f.seed; return nil })
	set("cuts", func() error { p.Cuts = f.cuts; return nil })
	set("jobs", func() error { p.Jobs = f.jobs; return nil })
	return err
}

// useStreams has the plan use the values of a flag, of all streams or of single ones.
func useStreams(p *bench.Plan, axis string, values []ofStream) error {
	for _, v := range values {
		if err := p.UseAxis(v.axis(axis), v.value); err != nil {
			return err
		}
	}
	return nil
}

// one refuses a target that is one of several, or none.
func one(name, value string, another bool) error {
	switch {
	case another:
		return fmt.Errorf("expected one of --target, --nbdkit and --target-command, got %s, too", name)
	case value == "":
		return errors.New("expected how a server is started, got nothing")
	}
	return nil
}

// positive refuses a bound of nothing, which would be no bound.
func positive(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("expected more than 0, got %v", d)
	}
	return nil
}

func refs(names []string) (out []workloads.Ref) {
	for _, n := range names {
		out = append(out, workloads.Ref{Name: n})
	}
	return out
}

// check refuses what must not or cannot be run, before anything is.
func (f *runFlags) check(c *cobra.Command, p *bench.Plan) error {
	if _, err := p.Cells(); err != nil {
		return &exitError{exitUsage, err}
	}
	if f.dry {
		return nil
	}
	if what := p.WouldOverwrite(c.Context()); what != "" && !f.destroy {
		return usage("%s", what)
	}
	over, err := p.Overwrites()
	switch {
	case isStorageError(err):
		return usage("--device: %w", err)
	case err != nil:
		return err
	}
	return mayOverwrite(c, "--device", over, f.destroy, f.yes)
}

// mayOverwrite refuses what --destroy does not allow. A block device is asked for
// besides, if somebody is there to answer. where is what the storage was named by.
func mayOverwrite(c *cobra.Command, where string, over bench.Overwrites, destroy, yes bool) error {
	switch {
	case len(over.What) == 0:
		return nil
	case !destroy:
		return usage("%s: this would overwrite %s; give --destroy to allow it", where, strings.Join(over.What, " and "))
	}
	in, ok := c.InOrStdin().(*os.File)
	if over.Block && !yes && ok && term.IsTerminal(int(in.Fd())) && !agreed(in, c.ErrOrStderr(), over.What) {
		return usage("%s: not overwritten: expected yes", where)
	}
	return nil
}

// agreed asks whether storage may be overwritten.
func agreed(in io.Reader, out io.Writer, what []string) bool {
	fmt.Fprintf(out, "This overwrites %s.\nType yes to go on: ", strings.Join(what, " and "))
	line, _ := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n') // without an answer it is no
	return strings.TrimSpace(line) == "yes"
}

// sizeFlag reads --size.
func sizeFlag(size *units.Size, text string) (err error) {
	if *size, err = units.ParseSize(text); err == nil && *size == 0 {
		return errors.New("expected more than 0")
	}
	return err
}

// maxSame is how many runs of one plan may begin in one second.
const maxSame = 100

// reserve makes the run directory, so that what cannot be stored is not measured
// either, and says what was left over of earlier runs. It is nil with --no-save.
func (f *runFlags) reserve(c *cobra.Command, p *bench.Plan, name string) (*results.Pending, error) {
	if f.noSave {
		return nil, nil
	}
	if f.output != "" {
		return reserveOutput(c, f.output)
	}
	plan, err := p.JSON()
	if err != nil {
		return nil, err
	}
	h := sha256.Sum256(append(plan, bench.Version()...))
	dir := filepath.Join(runsDir, fmt.Sprintf("%s-%s-%s", time.Now().UTC().Format("20060102T150405"), name, hex.EncodeToString(h[:3])))
	pending, err := results.Reserve(dir)
	for n := 2; errors.Is(err, fs.ErrExist) && n < maxSame; n++ {
		pending, err = results.Reserve(fmt.Sprintf("%s-%d", dir, n))
	}
	if err != nil {
		return nil, fmt.Errorf("the run directory: %w (--output DIR takes another one, --no-save none)", err)
	}
	reportLeftovers(c, pending)
	return pending, nil
}

func reportLeftovers(c *cobra.Command, p *results.Pending) {
	for _, l := range results.Leftovers(filepath.Dir(p.Dir())) {
		fmt.Fprintf(c.ErrOrStderr(), "note: %v\n", l)
	}
}

func discard(p *results.Pending) error {
	if p == nil {
		return nil
	}
	return p.Discard()
}

// save stores the run and prints its path: if that fails in another directory too.
func save(c *cobra.Command, doc *results.Run, p *results.Pending) error {
	if p == nil {
		return nil
	}
	err := p.Save(doc)
	if err == nil {
		fmt.Fprintf(c.ErrOrStderr(), "saved %s\n", p.Dir())
		return nil
	}
	err = fmt.Errorf("saving the run: %w", err)
	other, elsewhere := saveElsewhere(doc, filepath.Base(p.Dir()))
	if elsewhere == nil {
		fmt.Fprintf(c.ErrOrStderr(), "saved %s, as %s could not take all of it\n", other, p.Dir())
		return err
	}
	return errors.Join(err, fmt.Errorf("and elsewhere: %w", elsewhere))
}

// saveElsewhere stores a run among the temporary files, or where the program runs.
func saveElsewhere(doc *results.Run, name string) (dir string, err error) {
	for _, parent := range []string{os.TempDir(), "."} {
		made, e := os.MkdirTemp(parent, "nbdbench-*")
		if e == nil {
			dir = filepath.Join(made, name)
			if e = results.Save(dir, doc); e == nil {
				return dir, nil
			}
		}
		err = errors.Join(err, e)
	}
	return "", err
}

// verdictOf decides the exit code of a run that went through.
func verdictOf(c *cobra.Command, doc *results.Run) error {
	if doc.Partial && c.Context().Err() != nil {
		fmt.Fprintln(c.ErrOrStderr(), "interrupted: what there is was kept and marked partial")
		return &exitError{code: exitInterrupted}
	}
	for _, cell := range doc.Cells {
		if cell.Status == results.StatusInvalid {
			return &exitError{exitInvalid, fmt.Errorf("%s: %s", cell.ID, cell.Reason)}
		}
	}
	var failed, unknown []error
	for _, t := range doc.Thresholds {
		switch err := fmt.Errorf("threshold %s: %s", t.Expression, t.Reason); {
		case t.OK == nil:
			unknown = append(unknown, err)
		case !*t.OK:
			failed = append(failed, err)
		}
	}
	switch overloaded := doc.Overloaded(); {
	case len(failed) > 0:
		return &exitError{exitThreshold, errors.Join(append(failed, unknown...)...)}
	case len(unknown) > 0:
		return &exitError{exitInvalid, errors.Join(unknown...)}
	case overloaded != "":
		return &exitError{exitInvalid, fmt.Errorf("%s: no strategy sustained the rate", overloaded)}
	}
	return nil
}

// targetTLS are the flags of a client of nbds://.
func targetTLS(fl *pflag.FlagSet, files *socket.TLSFiles) {
	fl.StringVar(&files.CA, "tls-ca", "", "PEM file of the CA of an nbds:// target (default: the system's)")
	fl.StringVar(&files.Cert, "tls-cert", "", "PEM file of the client certificate for such a target")
	fl.StringVar(&files.Key, "tls-key", "", "PEM file of its key")
	fl.StringVar(&files.ServerName, "tls-hostname", "", "host name expected in the server certificate (default: the URI's host; localhost for a Unix socket)")
}
