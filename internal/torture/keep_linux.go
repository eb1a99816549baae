package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/internal/input"
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
	keptAcks   = "acked"
	keptFile   = "replay.json"
	keptSaid   = "check.txt"
	maxKept    = 1 << 20 // of replay.json, in bytes
)

// keep writes the image of the last cut, and what its check needs, to a new directory.
func (r *run) keep(v *verdict, acked *journal, n uint64) error {
	c := r.config
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
	for name, data := range map[string][]byte{keptAcks: acked.data, keptFile: append(b, '\n'), keptSaid: []byte(v.said)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			return err
		}
	}
	r.cell.FirstFailure = &Failure{Seed: k.Seed, Cut: k.Cut, Outcome: k.Outcome, Image: image, Replay: "nbdbench torture --replay " + dir}
	fmt.Fprintf(r.talk, "cut %d: %s; its image is kept in %s%s\n", k.Cut, k.Outcome, dir, quoted(v.said))
	return nil
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
	image := filepath.Join(Dir, "image")
	if out, err := exec.CommandContext(ctx, "cp", "--sparse=always", "--", filepath.Join(c.Replay, keptImage), image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copying the image: %w%s", err, quoted(string(out)))
	}
	acked, err := os.ReadFile(filepath.Join(c.Replay, keptAcks))
	if err != nil {
		return nil, err
	}
	t := trial{config: &again, program: &p, image: image, block: k.Block}
	t.acked.add(acked, 0)
	v, err := t.judge(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(talk, "cut %d, which was %s, is %s%s\n", k.Cut, k.Outcome, v.outcome, quoted(v.said))
	cell := &Cell{Device: k.Device, Strategy: k.Strategy, FS: k.FS, App: p.name, Acks: t.acked.lines(), AcksLost: v.lost, Torn: v.torn}
	cell.count(v.outcome)
	return &Document{Schema: Schema, Via: viaImage, Commands: "none", Seed: k.Seed, Image: "device", Cells: []*Cell{cell}}, nil
}
