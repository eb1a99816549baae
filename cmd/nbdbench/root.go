package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nbdbench/devices/catalog"
	"nbdbench/devices/host"
	"nbdbench/internal/bench"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/internal/text"
	"nbdbench/nbd/kernel"
	"nbdbench/results"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2 // usage, or bad input
	exitCapability  = 3 // the machine lacks something
	exitInvalid     = 5 // a measurement must not be used
	exitThreshold   = 99
	exitInterrupted = 130
)

// exitError is an error that decides the exit code. With a nil Err there is
// nothing more to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// run is the whole program: it returns the exit code.
func run(stdout, stderr io.Writer, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	context.AfterFunc(ctx, stop) // the first signal ends the work, the second the program
	out, talk := text.NewWriter(stdout), text.NewWriter(stderr)
	root := newRoot(out, talk)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil && out.Err() != nil { // of what nobody looked at, such as the help
		err = fmt.Errorf("writing the output: %w", out.Err())
	}
	if err == nil {
		return exitOK
	}
	code := codeOf(err)
	var e *exitError
	if !errors.As(err, &e) || e.err != nil {
		fmt.Fprintf(talk, "nbdbench: %v\n", err)
	}
	return code
}

// endings are the signals that end the work in an orderly way. nohup has SIGHUP
// ignored, and that stays.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// codeOf is the exit code for an error. What cobra refuses is usage.
func codeOf(err error) int {
	var e *exitError
	var c *conf.Error
	var field *conf.FieldError
	var file *results.FileError
	var missing *kernel.Missing
	var noStorage *host.Missing
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &c), errors.As(err, &field), errors.As(err, &file), errors.Is(err, catalog.ErrUnknown):
		return exitUsage
	case errors.As(err, &missing), errors.As(err, &noStorage):
		return exitCapability
	case errors.Is(err, stack.ErrInvalid):
		return exitInvalid
	}
	return exitFailure
}

const rootHelp = `nbdbench simulates persistent storage (volatile write caches, media, power
loss), serves it over NBD, drives workloads through the NBD server, and compares
strategies: the places where a write can be made durable.

  native   the export advertises FUA and the device makes that one write durable
  emulate  the export advertises FUA and the server writes, then flushes everything
  none     FUA is not advertised: the client writes, awaits the reply, and flushes

There are six more (nbdbench run --help). Each strategy is judged by its latency and
by what a power cut loses, which is measured on the simulated device, not assumed.

  nbdbench run                                  the default comparison, in seconds
  nbdbench run --device hdd-7200 --link lan     one device behind a slower link
  nbdbench devices show nvme-990pro             a device's parameters and their sources
  nbdbench serve nvme-990pro                    serve this device to any NBD client
  nbdbench attach nvme-990pro                   attach this device as /dev/nbdN`

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use: "nbdbench", Short: "Simulate block devices over NBD and compare FUA strategies", Long: rootHelp,
		SilenceErrors: true, SilenceUsage: true, Version: bench.Version(),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate(versionLine(bench.Tool()) + "\n")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w%s (see %s --help)", err, didYouMean(c, err), c.CommandPath())
	})
	root.AddCommand(newRun(), newServe(), newAttach(), newDetach(), newCrash(), newTorture(), newHonesty(), newCompare(), newMerge(), newReport(), newRuns(), newImport(), newExport(), newDevices(), newWorkloads(), newResolve(), newDoctor(), newMan(), newVersion())
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() } // and refuse unknown shells
	}
	addTalkFlags(root)
	wrapArgs(root)
	completeValues(root)
	return root
}

// wrapArgs makes a wrong number of arguments usage errors, takes flags from the
// environment, and refuses unknown subcommands.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage("%w%s (see %s --help)", err, subcommand(c, args), c.CommandPath())
			}
			return nil
		}
	}
	if c.RunE != nil {
		body := c.RunE
		c.RunE = func(c *cobra.Command, args []string) error {
			if err := fromEnvironment(c.Flags()); err != nil {
				return err
			}
			if err := applyTalkFlags(c); err != nil {
				return err
			}
			return body(c, args)
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// fromEnvironment sets each flag that was not given from NBDBENCH_NAME.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "NBDBENCH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || err != nil {
			return
		}
		if e := flags.Set(f.Name, value); e != nil {
			err = usage("%s=%q: %w", name, value, e)
		}
	})
	return err
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Long: `Print the version, or the source revision that the program was built from, the
version of Go, and the platform, in one line. nbdbench --version does the same.`,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine(bench.Tool()))
			return err
		},
	}
}

// versionLine names a build: its tag if it has one, else its revision.
func versionLine(t results.Tool) string {
	line := "nbdbench " + t.Version
	switch {
	case t.Revision != "" && t.Modified:
		line += " (" + t.Revision + ", modified)"
	case t.Revision != "":
		line += " (" + t.Revision + ")"
	}
	return line + " " + t.Go + " " + runtime.GOOS + "/" + runtime.GOARCH
}
