package bench

import (
	"context"
	"fmt"
	"time"

	"nbdbench/internal/stack"
	"nbdbench/nbd/socket"
	"nbdbench/results"
)

// The defaults of a run in real time, which takes as long as it says.
const (
	realDuration = time.Second
	realWarmup   = 500 * time.Millisecond
	// DefaultMaxTime bounds a whole run in real time.
	DefaultMaxTime = 10 * time.Minute
)

// UseClock sets the clock. Real time takes its own defaults: it cannot be cut,
// it lasts, and its runs are as many as it takes. What the plan's file says of them stays.
func (p *Plan) UseClock(clock string) {
	p.Clock = clock
	if clock != "real" {
		return
	}
	p.Cuts = 0
	if !p.said.runs {
		p.Runs, p.MoreRuns = results.Looks[0], true
	}
	if !p.said.length {
		p.Duration, p.Commits = realDuration, 0
	}
}

// UseCommits makes a number of commits the bound of a run. A default duration
// would end it before; one that was given goes on beside it.
func (p *Plan) UseCommits(n uint64) {
	p.Commits = n
	if n > 0 && p.Clock == "real" && p.Duration == realDuration {
		p.Duration = 0
	}
}

// UseVia sets how the client reaches the server. The kernel's own client runs in
// real time.
func (p *Plan) UseVia(via string) {
	p.Via = via
	if via == ViaUserspace {
		p.Via = ""
	}
	if via == ViaKernel {
		p.UseClock("real")
	}
}

// UseTarget has the plan drive an external server in place of devices.
func (p *Plan) UseTarget(uri string) {
	p.useExternal()
	p.Target = uri
}

// UseNbdkit has the plan drive nbdkit with these arguments in place of devices.
func (p *Plan) UseNbdkit(args string) {
	p.useExternal()
	p.Nbdkit = args
}

// UseTargetCommand has the plan drive the server that a shell command starts, in
// place of devices.
func (p *Plan) UseTargetCommand(command string) {
	p.useExternal()
	p.TargetCommand = command
}

// useExternal sets the defaults of a plan for a server that is not ours. The strategies
// that the plan's file names stay.
func (p *Plan) useExternal() {
	p.Target, p.Nbdkit, p.TargetCommand = "", "", ""
	p.Devices = nil
	if !p.said.strategies {
		p.Strategies = TargetStrategies()
	}
	p.UseClock("real")
}

// UseDuration makes time the bound of a run in place of a number of commits.
func (p *Plan) UseDuration(d time.Duration) {
	p.Duration = d
	if d > 0 {
		p.Commits = 0
	}
}

// dialer connects to a target as the plan says.
func (p *Plan) dialer(u socket.URI) (socket.Dialer, error) { return stack.Dialer(u, &p.TLS, p.Timeout) }

// WouldOverwrite says what a run against the plan's target would do to it; empty if
// the plan has none.
func (p *Plan) WouldOverwrite(ctx context.Context) string {
	switch {
	case p.Nbdkit != "":
		return fmt.Sprintf("--nbdkit: this would start nbdkit %s and overwrite what it serves; give --destroy to allow it", p.Nbdkit)
	case p.TargetCommand != "":
		return fmt.Sprintf("--target-command: this would run %s and overwrite what it serves; give --destroy to allow it", p.TargetCommand)
	case p.Target == "":
		if d := p.externalPlugin(); d != "" {
			return fmt.Sprintf("--device: this would run %s and overwrite what it keeps; give --destroy to allow it", d)
		}
		return ""
	}
	u, err := socket.ParseURI(p.Target)
	if err != nil {
		return fmt.Sprintf("--target: %v", err)
	}
	d, err := p.dialer(u)
	if err != nil {
		return fmt.Sprintf("--target: %v", err)
	}
	return fmt.Sprintf("--target: this would overwrite %s at %v; give --destroy to allow it", stack.ExportName(ctx, d, u), u)
}
