package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nbdbench/devices/layer"
	"nbdbench/internal/conf"
	"nbdbench/internal/input"
	"nbdbench/internal/stack"
	"nbdbench/internal/target"
	"nbdbench/nbd"
	"nbdbench/nbd/kernel"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// external reports whether the plan drives a server that is not ours.
func (p *Plan) external() bool { return p.Target != "" || p.starts() }

// starts reports whether the plan starts that server itself.
func (p *Plan) starts() bool { return p.Nbdkit != "" || p.TargetCommand != "" }

// validateTarget checks what is said of a server that is not ours.
func (p *Plan) validateTarget() error {
	if !p.external() {
		return nil
	}
	var given []string
	for _, t := range [][2]string{{"target", p.Target}, {"nbdkit", p.Nbdkit}, {"target_command", p.TargetCommand}} {
		if t[1] != "" {
			given = append(given, t[0])
		}
	}
	switch key := given[0]; {
	case len(given) > 1:
		return conf.At(given[1], "expected one of target, nbdkit and target_command, got %s, too", key)
	case len(p.Devices) > 0:
		return conf.At(key, "expected devices or %s, got both", targetWords[key])
	case p.Via == ViaKernel && p.starts():
		return conf.At("via", "expected userspace for %s, of which it cannot be counted what the kernel sends", targetWords[key])
	case p.Via == ViaKernel:
		return conf.At("via", "expected userspace for a target, of which it cannot be counted what the kernel sends; nbdbench attach %s and a benchmark of files", p.Target)
	case p.Clock == "virtual":
		return conf.At("clock", "expected real for %s, got virtual", targetWords[key])
	case p.Target != "" && !isURI(p.Target):
		return conf.At("target", "expected an NBD URI such as nbd://localhost:10809, got %q", p.Target)
	}
	return p.validateStarted()
}

// targetWords are what errors call the targets.
var targetWords = map[string]string{"target": "a target", "nbdkit": "nbdkit", "target_command": "a target command"}

// validateStarted checks that the server can be started for every strategy.
func (p *Plan) validateStarted() error {
	var can []string
	var who string
	switch {
	case p.Nbdkit != "":
		if _, err := target.ParseNbdkit(p.Nbdkit); err != nil {
			return conf.At("nbdkit", "%v", err)
		}
		can, who = target.NbdkitStrategies(), "for nbdkit"
	case p.TargetCommand != "":
		c, err := target.ParseCommand(p.TargetCommand)
		if err != nil {
			return conf.At("target_command", "%v", err)
		}
		can, who = c.Strategies(), "for a target command, or one that uses $strategy or $fuamode"
	default:
		return nil
	}
	for i, s := range p.Strategies {
		if _, known := layer.Lookup(s); known && !slices.Contains(can, s) {
			return conf.At(fmt.Sprintf("strategies[%d]", i), "expected one of %s %s, got %q", strings.Join(can, ", "), who, s)
		}
	}
	return nil
}

// targetID is what a server that is not ours is called in the ids of cells.
func (p *Plan) targetID() string { return strings.ReplaceAll(p.targetLabel(), " ", "-") }

// targetLabel is what it is called in tables: of nbdkit the plugin without its
// parameters, of which some are paths. The plan has all.
func (p *Plan) targetLabel() string {
	if n, err := target.ParseNbdkit(p.Nbdkit); err == nil {
		return "nbdkit " + n.Name()
	}
	return "target"
}

// startedURI is what the document has for the URI of a server that the run starts:
// its socket is another one in every run.
const startedURI = "nbd+unix:///?socket=$unixsocket"

// serverFor is the server of a strategy. The plan is valid and starts one.
func (p *Plan) serverFor(strategy string) (target.Server, error) {
	if p.Nbdkit != "" {
		n, err := target.ParseNbdkit(p.Nbdkit)
		if err != nil {
			return target.Server{}, err
		}
		return n.Server(strategy), nil
	}
	c, err := target.ParseCommand(p.TargetCommand)
	if err != nil {
		return target.Server{}, err
	}
	return c.Server(strategy), nil
}

// whoDurable says who makes a write durable under a strategy whose server half is
// not ours; empty where that is as the strategy has it.
func (p *Plan) whoDurable(strategy string) string {
	if p.kept.promises != nil {
		return p.kept.promises.WhoDurable(strategy)
	}
	if c, err := target.ParseCommand(p.TargetCommand); err == nil {
		return c.WhoDurable(strategy)
	}
	return ""
}

// cannot says why the plan's target cannot serve a strategy; empty if it can.
func (p *Plan) cannot(strategy string) string {
	s, _ := layer.Lookup(strategy)
	switch {
	case p.kept.promises != nil:
		return p.kept.promises.Cannot(strategy)
	case p.Target != "" && !s.AnyServer:
		return "how FUA is served is the target's choice: compare pass, none and none-unsafe"
	}
	return ""
}

// driveTarget is one run against a server that is not ours, which it starts if the
// plan says how.
func (o *outcome) driveTarget(ctx context.Context, p *Plan, c *Cell, seed sim.Seed) {
	if reason := p.cannot(c.Strategy.Name); reason != "" {
		o.err = &layer.Unsupported{Reason: reason}
		return
	}
	if p.starts() {
		o.driveStarted(ctx, p, c, seed)
		return
	}
	uri, err := socket.ParseURI(p.Target)
	if err != nil {
		o.err = err
		return
	}
	o.drive(ctx, p, c, seed, nil, uri)
}

// endNotice is how long a server that has closed its connections may take to end,
// before it counts as one that goes on.
const endNotice = 300 * time.Millisecond

// driveStarted starts the cell's server, drives it and stops it.
func (o *outcome) driveStarted(ctx context.Context, p *Plan, c *Cell, seed sim.Seed) {
	server, err := p.serverFor(c.Strategy.Name)
	if err != nil {
		o.err = err
		return
	}
	process, err := target.Start(ctx, server)
	if err != nil {
		o.err = unstarted(ctx, err, p.kept.target == nil)
		return
	}
	o.connected = process.Hide
	o.drive(ctx, p, c, seed, nil, socketURI(process.Socket()))
	o.connected = nil // outcomes are kept, and the process is over
	failed := o.err != nil && !errors.Is(o.err, layer.ErrUnsupported) && ctx.Err() == nil
	if failed {
		process.Ended(endNotice) // so that Stop does not end what is about to end
	}
	stopped := process.Stop()
	if failed {
		o.err = process.Explain(o.err)
	}
	o.err = errors.Join(o.err, stopped)
}

// unstarted is what becomes of a run whose server did not start: see unreached.
func unstarted(ctx context.Context, err error, first bool) error {
	var missing *target.Missing
	switch {
	case ctx.Err() != nil:
		return stack.ErrNotRun
	case errors.As(err, &missing):
		return lacking(missing)
	case !first:
		return fmt.Errorf("%w: %w", stack.ErrInvalid, err)
	}
	return err
}

// lacking is the error of a program that this machine lacks.
func lacking(m *target.Missing) error {
	return &kernel.Missing{What: m.Program + " is not installed", Fix: "apt-get install " + m.Program, Err: m.Err}
}

func socketURI(path string) socket.URI {
	u, err := socket.ParseURI("nbd+unix:///?socket=" + url.QueryEscape(path))
	if err != nil {
		panic(err) // a path that is quoted is a URI's
	}
	return u
}

// askNbdkit finds out, by a nbdkit with the log filter, what the plugin says of
// itself, if the plan drives nbdkit. It is not known otherwise: nbdkit advertises
// FUA alike whether it emulates it or not.
func (p *Plan) askNbdkit(ctx context.Context) error {
	if p.Nbdkit == "" {
		return nil
	}
	err := p.askPlugin(ctx)
	var missing *target.Missing
	switch {
	case ctx.Err() != nil:
		return nil // interrupted: there will be no runs
	case errors.As(err, &missing):
		return lacking(missing)
	case err != nil:
		return fmt.Errorf("asking nbdkit's plugin for its can_fua: %w", err)
	}
	return nil
}

func (p *Plan) askPlugin(ctx context.Context) (err error) {
	n, err := target.ParseNbdkit(p.Nbdkit)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "nbdbench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "log")
	process, err := target.Start(ctx, n.Asking(file))
	if err != nil {
		return err
	}
	uri := socketURI(process.Socket())
	d, err := p.dialer(uri)
	if err == nil {
		_, _, err = d.Ask(ctx, uri, nbd.OptGo)
	}
	stopped := process.Stop() // before its log is read
	if err != nil {
		return errors.Join(process.Explain(err), stopped)
	}
	log, err := input.Read(file, maxLog)
	if err != nil {
		return errors.Join(process.Explain(err), stopped)
	}
	promises, err := target.ReadPromises(log)
	if err != nil {
		return errors.Join(process.Explain(err), stopped)
	}
	p.kept.promises, p.kept.server = &promises, target.NbdkitVersion(ctx)
	return stopped
}

// maxLog bounds the log of a nbdkit that was asked once, in bytes.
const maxLog = 1 << 20
