package torture

import (
	"errors"
	"slices"
	"strings"
	"time"

	"nbdbench/devices/catalog"
	"nbdbench/devices/fault"
	"nbdbench/devices/layer"
	"nbdbench/internal/conf"
	"nbdbench/internal/serve"
)

// Dir is where a run has its mounts, which only its own processes see.
const Dir = "/run/nbdbench"

// The defaults and bounds of a Config.
const (
	DefaultSize = 1 << 30 // bytes
	// MaxSize bounds the simulated drive, whose content is in memory, in bytes.
	MaxSize     = 64 << 30
	DefaultCuts = 20
	MaxCuts     = 1 << 20
	// DefaultReduce is how many images are checked at most to reduce one that failed.
	DefaultReduce = 64
	MaxReduce     = 1 << 16
)

// Ways are the ways into the kernel: the block device nbd, a loop device on a file of
// FUSE, a virtual machine. Empty is the best one that there is.
func Ways() []string { return []string{"nbd", "fuse", "vm"} }

// FileSystems are those that can be made, or none.
func FileSystems() []string { return []string{"ext4", "xfs", "btrfs", "none"} }

// Config is one run. The zero value of a field is its default, where there is one.
type Config struct {
	Device   string // a profile's name or path
	Strategy string // its server half goes around the device
	Fault    fault.Plan
	FS       string // one of FileSystems
	Via      string // one of Ways, or empty
	Image    string // one of serve.Images
	At       string // the event that each cut waits for: see docs/SURVIVAL.md; empty is a moment by the seed
	Size     uint64 // of the device, in bytes; 0 is DefaultSize
	Seed     uint64
	Cuts     int // power cuts; at least 1

	MkfsOptions  string // words for mkfs
	MountOptions string // as mount -o has them
	Setup        string // a command of sh that prepares the file system; may be empty
	Check        string // a command of sh
	Workload     []string
	App          string // one of Apps, in place of Setup, Check and Workload
	Set          []string
	// AllowLoss is how old a lost acknowledgement may be at the cut.
	AllowLoss time.Duration
	Keep      string // the directory for the first image that fails; empty is one of its own
	// Reduce bounds how many images are checked to find a failing one with fewer losses; 0
	// is none.
	Reduce int
	Replay string // the directory of a kept image, which is checked again
	// Again are the arguments by which this program does the same.
	Again []string
}

// Validate reports the first field that cannot be meant. It sets none.
func (c *Config) Validate() error {
	if c.Replay != "" {
		return nil
	}
	for _, f := range []struct {
		flag, value string
		of          []string
	}{
		{"--fs", c.FS, FileSystems()},
		{"--via", c.Via, append(Ways(), "")},
		{"--image", c.Image, serve.Images()},
		{"--strategy", c.Strategy, layer.Names()},
		{"--app", c.App, append(Apps(), "")},
	} {
		if !slices.Contains(f.of, f.value) {
			return conf.At(f.flag, "expected one of %s, got %q", strings.Join(slices.DeleteFunc(f.of, func(s string) bool { return s == "" }), ", "), f.value)
		}
	}
	switch {
	case c.Cuts < 1 || c.Cuts > MaxCuts:
		return conf.At("--cuts", "expected 1 to %d, got %d", MaxCuts, c.Cuts)
	case c.Reduce < 0 || c.Reduce > MaxReduce:
		return conf.At("--reduce", "expected 0 to %d, got %d", MaxReduce, c.Reduce)
	case c.Size > MaxSize:
		return conf.At("--size", "expected at most %d bytes, as the content is in memory, got %d", uint64(MaxSize), c.Size)
	case c.App != "" && (c.Setup != "" || c.Check != "" || len(c.Workload) > 0):
		return conf.At("--app", "expected no --setup, --check and workload beside it: %s has its own", c.App)
	case c.App == "" && len(c.Set) > 0:
		return conf.At("--set", "expected --app too")
	case c.App == "" && len(c.Workload) == 0:
		return conf.At("workload", "expected a command after --, or --app")
	case c.App == "" && c.Check == "":
		return conf.At("--check", "expected a command that exits with 0 if nothing is lost, 1 if something is, 2 if it is corrupt")
	}
	if _, err := parseEvent(c.At); err != nil {
		return err
	}
	if err := c.validateApp(); err != nil {
		return err
	}
	return c.validateDevice()
}

// validateDevice checks that there is the device, and that it may have the size.
func (c *Config) validateDevice() error {
	profile, err := catalog.Load(c.Device)
	if err != nil {
		return err
	}
	_, err = profile.Resized(c.size())
	var field *conf.FieldError
	if errors.As(err, &field) && field.Path == "size" {
		return conf.At("--size", "%s: %s", c.Device, field.Msg)
	}
	return err
}

// validateApp checks what --app and --set say together.
func (c *Config) validateApp() error {
	if c.App == "" {
		return nil
	}
	if c.FS == "none" {
		return conf.At("--fs", "expected a file system for --app %s, got none", c.App)
	}
	_, err := c.program()
	return err
}

// size is the device's size in bytes.
func (c *Config) size() uint64 {
	if c.Size == 0 {
		return DefaultSize
	}
	return c.Size
}
