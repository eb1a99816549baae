package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/devices/catalog"
	"nbdbench/internal/calibrate"
	"nbdbench/internal/stack"
	"nbdbench/nbd/socket"
)

const fitHelp = `Measure a target and write a profile that reproduces it.

The target is an NBD URI, a file or a block device. Up to 256MiB at its beginning are
overwritten, so --destroy is required. It is measured with reads, writes and FUA
writes at depths of 1 to 32, writes with FLUSH at depths of 1 to 8, and FLUSH with
nothing to 16MiB dirty; docs/DEVICES.md describes the procedure.

  nbdbench devices fit nbd://localhost --destroy --output my-drive.yaml
  nbdbench devices check ./my-drive.yaml
  nbdbench run --device ./my-drive.yaml --link none

The profile contains the measurements under "published", and "devices check" compares
the fitted model with them. Times include the path to the target, so use the profile
with --link none. The cost of FUA and FLUSH shows whether FUA is a write and a FLUSH,
and whether there is a volatile cache.`

// fitFlags are the flags of devices fit.
type fitFlags struct {
	destroy, date bool
	output, name  string
	duration      time.Duration
	timeout       time.Duration
	tls           socket.TLSFiles
}

func newDevicesFit() *cobra.Command {
	var f fitFlags
	c := &cobra.Command{
		Use: "fit TARGET", Short: "Measure a target and write a profile that reproduces it", Long: fitHelp, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	fl := c.Flags()
	fl.BoolVar(&f.destroy, "destroy", false, "allow overwriting the beginning of the target")
	fl.StringVar(&f.output, "output", "", "file to write the profile to, which must not exist (default stdout)")
	fl.StringVar(&f.name, "name", "", "name of the profile (default: that of the output file, or fitted)")
	durationVar(fl, &f.duration, "duration", calibrate.FitDuration, "time to measure each of some 30 points")
	durationVar(fl, &f.timeout, "timeout", stack.DefaultTimeout, "limit for each reply over NBD; ten times as long for FLUSH")
	targetTLS(fl, &f.tls)
	fl.BoolVar(&f.date, "date", false, "state the date in the profile")
	return c
}

func (f *fitFlags) run(c *cobra.Command, target string) error {
	t, err := calibrate.ParseFitTarget(target)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if err := f.check(); err != nil {
		return err
	}
	if err := f.tls.Validate(); err != nil {
		return usage("--tls-cert and --tls-key: %w", err)
	}
	t.TLS, t.Timeout = f.tls, f.timeout
	if !f.destroy {
		return usage("%s", t.WouldOverwrite(c.Context()))
	}
	progress := newProgress(c.ErrOrStderr())
	m, err := t.Measure(c.Context(), f.duration, progress.update)
	progress.end()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(c.ErrOrStderr(), "interrupted: nothing was written but to the target")
		return &exitError{code: exitInterrupted}
	case err != nil:
		return fmt.Errorf("measuring %v: %w", t, err)
	}
	when := ""
	if f.date {
		when = time.Now().UTC().Format(time.DateOnly)
	}
	p, err := calibrate.Fit(m, f.name, when)
	if err != nil {
		return err
	}
	text, err := calibrate.EncodeFit(p)
	if err != nil {
		return err
	}
	if f.output == "" {
		_, err = c.OutOrStdout().Write(text)
		return err
	}
	if err := writeNew(f.output, text); err != nil {
		return errors.Join(err, keepFit(c.ErrOrStderr(), text))
	}
	return nil
}

// keepFit stores a profile, which took minutes to measure, among the temporary
// files, and prints its path.
func keepFit(talk io.Writer, text []byte) error {
	f, err := os.CreateTemp("", "nbdbench-*.yaml")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		fmt.Fprintf(talk, "saved %s instead\n", f.Name())
	}
	return err
}

// check refuses flags before anything is measured, and fills in the name.
func (f *fitFlags) check() error {
	if f.name == "" {
		f.name = "fitted"
		if f.output != "" {
			f.name = strings.TrimSuffix(filepath.Base(f.output), filepath.Ext(f.output))
		}
	}
	switch {
	case strings.ContainsAny(f.name, " \t\n/"):
		return usage("--name: expected a name without blanks and slashes, got %q", f.name)
	case slices.Contains(catalog.List(), f.name):
		return usage("--name: expected one that no profile has, got %q", f.name)
	case f.duration <= 0 || f.duration > calibrate.MaxFitDuration:
		return usage("--duration: expected more than 0 and at most %v, got %v", calibrate.MaxFitDuration, f.duration)
	case f.timeout <= 0 || f.timeout > stack.MaxTimeout:
		return usage("--timeout: expected more than 0 and at most %v, got %v", stack.MaxTimeout, f.timeout)
	}
	if f.output != "" {
		if _, err := os.Lstat(f.output); err == nil {
			return usage("--output: %s exists: expected a file that is not there yet", f.output)
		}
		if _, err := os.Stat(filepath.Dir(f.output)); err != nil {
			return usage("--output: %w", err)
		}
	}
	return nil
}

// writeNew writes a file whole, or not at all.
func writeNew(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // which does not replace what has come meanwhile
	}
	return errors.Join(err, os.Remove(f.Name()))
}
