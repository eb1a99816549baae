package kernel

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The defaults and bounds of a Config.
const (
	DefaultTimeout = 30 * time.Second
	MaxConnections = 16 // the kernel makes a hardware queue of each
	maxBlockSize   = 4096
)

// Config is how an export is attached. The zero value is one connection, the
// first device that is free, and DefaultTimeout.
type Config struct {
	Device      string // "/dev/nbd3"; empty is the first that is free
	Connections int    // sockets; 0 is 1; more need an export with multi-conn
	BlockSize   uint32 // logical block in bytes, 512 to 4096; 0 is the least that the export allows
	// Timeout is how long a request waits for its reply before it fails, rounded
	// up to seconds; 0 is DefaultTimeout. There is no way to wait forever.
	Timeout time.Duration
	// DeadTimeout is how long requests wait for a connection that is lost to be
	// replaced, rounded up to seconds; 0 is not at all. only Netlink has it.
	DeadTimeout time.Duration
	// Ioctl uses the ioctls even where there is netlink.
	Ioctl bool
}

// Validate reports what cannot be meant.
func (c *Config) Validate() error {
	switch {
	case c.Connections < 0 || c.Connections > MaxConnections:
		return fmt.Errorf("connections: expected 1 to %d, got %d", MaxConnections, c.Connections)
	case c.BlockSize != 0 && (c.BlockSize < 512 || c.BlockSize > maxBlockSize || c.BlockSize&(c.BlockSize-1) != 0):
		return fmt.Errorf("block size: expected 512, 1024, 2048 or 4096, got %d", c.BlockSize)
	case c.Timeout < 0 || c.DeadTimeout < 0:
		return fmt.Errorf("timeout: expected at least 0, got %v and %v", c.Timeout, c.DeadTimeout)
	}
	if c.Device != "" {
		if _, err := ParseDevice(c.Device); err != nil {
			return err
		}
	}
	return nil
}

// ParseDevice is the index of /dev/nbdN.
func ParseDevice(path string) (int, error) {
	digits, ok := strings.CutPrefix(path, "/dev/nbd")
	n, err := strconv.ParseUint(digits, 10, 20) // 2^20: the minors that a major has
	if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
		return -1, fmt.Errorf("expected a device such as /dev/nbd0, got %q", path)
	}
	return int(n), nil
}

// DiskConfig is how a Disk is opened. The zero value is DefaultDepth.
type DiskConfig struct {
	Depth    int // requests in the kernel at a time; others wait; 0 is DefaultDepth
	ReadOnly bool
}

// Validate reports a depth that cannot be had.
func (c DiskConfig) Validate() error {
	if c.Depth < 0 || c.Depth > 1024 {
		return fmt.Errorf("depth: expected 1 to 1024, got %d", c.Depth)
	}
	return nil
}

// State is how a kernel has a module.
type State uint8

// The states of a module.
const (
	Absent   State = iota // it cannot be had; the error says why
	Loadable              // it is there and not loaded
	Loaded                // it is loaded
	BuiltIn               // it is part of the kernel
)

func (s State) String() string {
	return [...]string{"absent", "there, not loaded", "loaded", "built in"}[s]
}

// Errors of Detach.
var (
	ErrNotAttached = errors.New("no export is attached to it")
	ErrInUse       = errors.New("it is in use")
)
