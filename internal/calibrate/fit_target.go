package calibrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/bench"
	"nbdbench/internal/stack"
	"nbdbench/internal/units"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// FitTarget is what devices fit measures: an NBD export, a file or a block
// device. The zero value is none; see ParseFitTarget.
type FitTarget struct {
	TLS     socket.TLSFiles // for a URI of nbds://
	Timeout time.Duration   // of each reply over NBD; 0 is DefaultTimeout

	uri  *socket.URI // nil for a path
	path string
	size uint64 // of a file or block device
	kind string // in words
}

// MinFitSize is the least that a target must have: the smallest device that a
// profile describes.
const MinFitSize = units.MiB

// ParseFitTarget reads a target. Of a path it looks what is there; of a URI it
// asks nothing.
func ParseFitTarget(s string) (*FitTarget, error) {
	if strings.Contains(s, "://") {
		u, err := socket.ParseURI(s)
		if err != nil {
			return nil, err
		}
		return &FitTarget{uri: &u, kind: "an NBD export"}, nil
	}
	i, err := os.Stat(s)
	if err != nil {
		return nil, fmt.Errorf("%q: expected an NBD URI, a file or a block device: %w", s, errors.Unwrap(err))
	}
	t := &FitTarget{path: s, size: uint64(i.Size())}
	switch m := i.Mode(); {
	case m.IsRegular():
		t.kind = "a file"
	case m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0:
		t.kind = "a block device"
		if t.size, err = blockSize(s); err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
	default:
		return nil, fmt.Errorf("%q: expected an NBD URI, a file or a block device, got %v", s, m.Type())
	}
	return t, t.large(t.size)
}

func (t *FitTarget) large(size uint64) error {
	if size < uint64(MinFitSize) {
		return fmt.Errorf("%v: expected at least %v, got %v", t, MinFitSize, units.Size(size))
	}
	return nil
}

// String names the target.
func (t *FitTarget) String() string {
	if t.uri != nil {
		return t.uri.String()
	}
	return t.path
}

// WouldOverwrite says what a measurement would do to the target.
func (t *FitTarget) WouldOverwrite(ctx context.Context) string {
	what := fmt.Sprintf("%v, %s of %v", t, t.kind, units.Size(t.size))
	if t.uri != nil {
		d, err := stack.Dialer(*t.uri, &t.TLS, t.Timeout)
		if err != nil {
			return err.Error()
		}
		what = fmt.Sprintf("%s at %v", stack.ExportName(ctx, d, *t.uri), t)
	}
	return fmt.Sprintf("this would overwrite the beginning of %s; give --destroy to allow it", what)
}

// Measure measures the target, each point for that long, and overwrites its
// beginning. When ctx ends, so does it, with ctx's error.
func (t *FitTarget) Measure(ctx context.Context, each time.Duration, progress bench.Progress) (m *Measurement, err error) {
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, real.Close()) }()
	m = &Measurement{Target: t.String(), Kind: t.kind}
	if t.uri == nil {
		f, err := openFile(t.path, t.size, real, m)
		if err != nil {
			return nil, err
		}
		return m, errors.Join(measureReal(ctx, real, f, m, each, progress), f.close())
	}
	trip, err := bench.RoundTrip(ctx)
	if err != nil {
		return nil, err
	}
	d, err := stack.Dialer(*t.uri, &t.TLS, t.Timeout)
	if err != nil {
		return nil, err
	}
	c, err := d.Dial(ctx, *t.uri, real)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), stack.Unreached(ctx, err, true))
	}
	m.Notes = append(m.Notes, fmt.Sprintf("Measured over one connection, on a host of which a socket's own round trip took %v; it is within all times.", units.Rough(trip)))
	if err = measureReal(ctx, real, c, m, each, progress); err == nil {
		return m, c.Close()
	}
	real.Do(func() {
		if cause := c.Cause(); cause != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", stack.ErrInvalid, cause)
		}
	})
	return nil, errors.Join(err, c.Abort())
}

// measureReal measures dev, which is on real's loop.
func measureReal(ctx context.Context, real *sim.Real, dev devices.Device, m *Measurement, each time.Duration, progress bench.Progress) error {
	var info devices.Info
	real.Do(func() { info = dev.Info() })
	switch {
	case info.ReadOnly:
		return errors.New("the target is read-only: expected one that can be written")
	case info.Size < uint64(MinFitSize):
		return fmt.Errorf("the target has %v: expected at least %v", units.Size(info.Size), MinFitSize)
	}
	b := bed{loop: real.Loop(), real: real, dev: dev}
	return b.measureAll(ctx, m, each, progress)
}
