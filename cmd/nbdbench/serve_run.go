package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"nbdbench/internal/serve"
	"nbdbench/internal/text"
	"nbdbench/nbd/socket"
)

// serveFor serves for as long as the command of --run runs, which begins once clients can
// connect. Its exit status is that of serve. The first signal reaches it as SIGTERM.
func serveFor(c *cobra.Command, config *serve.Config, command string, live func() error) error {
	switch {
	case !c.Flags().Changed("run"):
		return live()
	case command == "":
		return usage("--run: expected a command")
	}
	ctx, done := context.WithCancel(c.Context())
	defer done()
	ended := make(chan error, 1)
	started, out := false, text.Beneath(c.OutOrStdout())
	config.Ready = func(uri socket.URI) {
		started = true
		child := exec.CommandContext(c.Context(), "/bin/sh", "-c", command)
		child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
		child.Env = append(os.Environ(), "uri="+uri.String())
		if uri.Network == "unix" {
			child.Env = append(child.Env, "unixsocket="+uri.Address)
		}
		child.Stdin, child.Stdout, child.Stderr = os.Stdin, out, text.Beneath(c.ErrOrStderr())
		go func() {
			ended <- child.Run()
			done()
		}()
	}
	c.SetContext(ctx)
	c.SetOut(io.Discard) // stdout is the command's
	err := live()
	if !started {
		return err
	}
	done()
	status := <-ended
	var failed *exec.ExitError
	switch {
	case err != nil:
		return errors.Join(err, status)
	case errors.As(status, &failed) && failed.ExitCode() > 0:
		return &exitError{code: failed.ExitCode()}
	}
	return status
}
