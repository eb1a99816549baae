package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/internal/input"
	"nbdbench/internal/serve"
	"nbdbench/internal/stack"
)

// kept says how an image that failed is checked again: the file replay.json beside it.
type kept struct {
	Schema       string   `json:"schema"`
	Device       string   `json:"device"`
	Strategy     string   `json:"strategy"`
	FS           string   `json:"fs"`
	MountOptions string   `json:"mount_options"`
	App          string   `json:"app"`
	Set          []string `json:"set"`
	Check        string   `json:"check"`
	Block        uint32   `json:"block"`
	Seed         uint64   `json:"seed"`
	Cut          int      `json:"cut"`
	Outcome      string   `json:"outcome"`
}

// The files of a kept image, and their bounds.
const (
	keptSchema = "nbdbench/torture-image/v1"
	keptImage  = "image"
	// keptReduced fails as the image does, with fewer losses; it may be missing.
	keptReduced = "reduced"
	keptAcks    = "acked"
	keptFile    = "replay.json"
	keptSaid    = "check.txt"
	maxKept     = 1 << 20 // of replay.json, in bytes
)

// keep writes the image of the last cut, and what its check needs, to a new directory,
// and a reduced image beside it.
func (r *run) keep(ctx context.Context, v *verdict, t *trial, a *answer) error {
	c, n := r.config, uint64(r.cell.Cuts-1)
	dir, err := c.keepDir()
	if err != nil {
		return err
	}
	image := filepath.Join(dir, keptImage)
	if _, err := r.device.ask(order{Save: image}); err != nil {
		return err
	}
	k := kept{
		Schema: keptSchema, Device: c.Device, Strategy: c.Strategy, FS: c.FS, MountOptions: c.MountOptions, App: c.App, Set: c.Set, Check: c.Check,
		Block: r.device.first.Block, Seed: r.seedOf(n), Cut: r.cell.Cuts, Outcome: v.outcome.String(),
	}
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{keptAcks: t.acked.data, keptFile: append(b, '\n'), keptSaid: []byte(v.said)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			return err
		}
	}
	r.cell.FirstFailure = &Failure{Seed: k.Seed, Cut: k.Cut, Outcome: k.Outcome, Image: image, Replay: "nbdbench torture --replay " + dir}
	fmt.Fprintf(r.talk, "cut %d: %s; its image is kept in %s%s\n", k.Cut, k.Outcome, dir, quoted(v.said))
	if c.Reduce == 0 {
		return nil
	}
	reduced, err := r.reduceImage(ctx, v.outcome, t, a, filepath.Join(dir, keptReduced))
	if err != nil {
		return err
	}
	r.cell.FirstFailure.Reduced = reduced
	fmt.Fprintln(r.talk, reduced)
	return nil
}

// reduceImage seeks an image that lacks fewer units and still fails in the same way, and
// writes it to a file. The acknowledgements stay those of the cut.
func (r *run) reduceImage(ctx context.Context, failed Outcome, t *trial, a *answer, path string) (*Reduced, error) {
	out := &Reduced{Units: len(a.Units), Lost: len(a.Units)}
	switch {
	case a.Beyond:
		out.Reason = fmt.Sprintf("more than %d units are not durable", serve.MaxUndurable)
		return out, nil
	case len(a.Units) == 0:
		out.Reason = "the drive has lost nothing; what is missing was not sent to it, or not written"
		return out, nil
	}
	d := reduction{left: r.config.Reduce, fails: func(lost []int) (bool, error) { return r.failsWith(ctx, failed, t, a, lost) }}
	if d.try(nil) {
		out.Checks, out.Lost, out.Reason = d.calls, 0, "the check fails for an image that lacks nothing, too"
		return out, nil
	}
	lost, minimal := d.reduce(len(a.Units))
	if errors.Is(d.err, context.Canceled) {
		d.err = nil // with what has been found
	}
	out.Checks, out.Minimal, out.Lost = d.calls, minimal, len(lost)
	if d.err != nil || len(lost) == len(a.Units) && !minimal {
		out.Reason = fmt.Sprintf("no smaller set was found in %d checks", d.calls)
		return out, d.err
	}
	out.Image = path
	_, err := r.device.ask(order{Save: path, Restored: others(len(a.Units), lost)})
	fmt.Fprintf(r.talk, "lost units of the reduced image, in bytes: %s\n", places(a.Units, lost))
	return out, err
}

// failsWith reports whether the image that lacks these units alone fails as the cut did. A
// check that does not run is no such failure.
func (r *run) failsWith(ctx context.Context, failed Outcome, t *trial, a *answer, lost []int) (bool, error) {
	again := *t
	again.image = filepath.Join(Dir, "reduced")
	if _, err := r.device.ask(order{Save: again.image, Restored: others(len(a.Units), lost)}); err != nil {
		return false, err
	}
	v, err := again.judge(ctx)
	if errors.Is(err, stack.ErrInvalid) {
		err = nil
		v.outcome = Kept
	}
	return v.outcome == failed, errors.Join(err, os.Remove(again.image))
}

// others are the numbers up to n that a rising list lacks.
func others(n int, list []int) []int {
	out := make([]int, 0, n-len(list))
	for i := range n {
		if len(list) > 0 && list[0] == i {
			list = list[1:]
			continue
		}
		out = append(out, i)
	}
	return out
}

// keepDir makes the directory for the first failure.
func (c *Config) keepDir() (string, error) {
	if c.Keep == "" {
		name := "torture-" + time.Now().UTC().Format("20060102T150405Z") + "-"
		return os.MkdirTemp(".", name)
	}
	return c.Keep, os.MkdirAll(c.Keep, 0o777)
}

// readKept reads the replay.json of a kept image.
func readKept(dir string) (k kept, err error) {
	path := filepath.Join(dir, keptFile)
	b, err := input.Read(path, maxKept)
	if err != nil {
		return k, conf.At("--replay", "%v", err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&k); err != nil {
		return k, conf.At("--replay", "%s: %v", path, err)
	}
	if k.Schema != keptSchema {
		return k, conf.At("--replay", "%s: schema: expected %q, got %q", path, keptSchema, k.Schema)
	}
	return k, nil
}

// replay mounts and checks a copy of a kept image.
func (c *Config) replay(ctx context.Context, talk io.Writer) (*Document, error) {
	k, err := readKept(c.Replay)
	if err != nil {
		return nil, err
	}
	again := Config{
		Device: k.Device, Strategy: k.Strategy, FS: k.FS, MountOptions: k.MountOptions, App: k.App, Set: k.Set, Check: k.Check,
		Image: "device", Cuts: 1, Workload: []string{"true"}, AllowLoss: 0,
	}
	if c.Check != "" {
		again.Check = c.Check
	}
	if again.App != "" {
		again.Check, again.Workload = "", nil
	}
	if err := again.Validate(); err != nil {
		return nil, conf.At("--replay", "%s: %v", filepath.Join(c.Replay, keptFile), err)
	}
	p, err := again.program()
	if err != nil {
		return nil, err
	}
	acked, err := os.ReadFile(filepath.Join(c.Replay, keptAcks))
	if err != nil {
		return nil, err
	}
	t := trial{config: &again, program: &p, block: k.Block}
	t.acked.add(acked, 0)
	v, err := c.judgeCopy(ctx, &t, keptImage)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(talk, "cut %d, which was %s, is %s%s\n", k.Cut, k.Outcome, v.outcome, quoted(v.said))
	if _, err := os.Stat(filepath.Join(c.Replay, keptReduced)); err == nil {
		reduced, err := c.judgeCopy(ctx, &t, keptReduced)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(talk, "its reduced image is %s%s\n", reduced.outcome, quoted(reduced.said))
	}
	cell := &Cell{Device: k.Device, Strategy: k.Strategy, FS: k.FS, App: p.name, Acks: t.acked.lines(), AcksLost: v.lost, Torn: v.torn}
	cell.count(v.outcome)
	return &Document{Schema: Schema, Via: viaImage, Commands: "none", Seed: k.Seed, Image: "device", Cells: []*Cell{cell}}, nil
}

// judgeCopy mounts and checks a copy of a kept image.
func (c *Config) judgeCopy(ctx context.Context, t *trial, name string) (v verdict, err error) {
	t.image = filepath.Join(Dir, name)
	if out, err := exec.CommandContext(ctx, "cp", "--sparse=always", "--", filepath.Join(c.Replay, name), t.image).CombinedOutput(); err != nil {
		return v, fmt.Errorf("copying the image: %w%s", err, quoted(string(out)))
	}
	return t.judge(ctx)
}
