package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/devices/layer"
	"nbdbench/internal/bench"
	"nbdbench/internal/units"
	"nbdbench/nbd"
	"nbdbench/sim"
)

const serveHelp = `Serve one simulated device, in real time, to any NBD client.

Once it listens, the first line of stdout is its URI:

  nbdbench serve nvme-990pro                        on a Unix socket of its own
  nbdbench serve hdd-7200 --strategy none           FUA is not advertised
  nbdbench serve ram --listen nbd://127.0.0.1:10809

The content is bytes in memory: what is written is there until the process ends.
SIGTERM and SIGINT drain: what is in flight is finished, what comes gets
ESHUTDOWN.`

func newServe() *cobra.Command {
	var listen, strategy, advertise, size string
	var readOnly bool
	var delay, drain time.Duration
	var seed uint64
	var depth int
	c := &cobra.Command{
		Use: "serve DEVICE", Short: "Serve one simulated device to any NBD client", Long: serveHelp, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			config := bench.ServeConfig{
				Device: args[0], Strategy: strategy, Listen: listen, ReadOnly: readOnly,
				Delay: delay, Drain: drain, Seed: sim.Seed(seed), Depth: depth,
			}
			if err := serveFlags(c, &config, advertise, size); err != nil {
				return err
			}
			return serveError(bench.Serve(c.Context(), config, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "", "an NBD URI, nbd:// or nbd+unix:// (default: a Unix socket of its own)")
	f.StringVar(&strategy, "strategy", "pass", "whose server half goes around the device; see run --help")
	f.StringVar(&advertise, "advertise", "", "flush,fua or less: override what the strategy advertises")
	f.StringVar(&size, "size", "", "of the device (default: the profile's)")
	f.BoolVar(&readOnly, "read-only", false, "refuse writes")
	f.DurationVar(&delay, "delay", 0, "add to the time of every command")
	f.DurationVar(&drain, "drain", 30*time.Second, "how long to wait for requests in flight when told to end")
	f.Uint64Var(&seed, "seed", 1, "of the spread of the device's times")
	f.IntVar(&depth, "depth", 0, "requests in progress on a connection under emulate; 0 is no limit, nbdkit has 16")
	return c
}

// serveFlags reads the flags that have a form of their own.
func serveFlags(c *cobra.Command, config *bench.ServeConfig, advertise, size string) error {
	if c.Flags().Changed("advertise") {
		a, err := layer.ParseAdvertised(advertise)
		if err != nil {
			return usage("--advertise: %w", err)
		}
		config.Advertise = &a
	}
	if size != "" {
		n, err := units.ParseSize(size)
		if err != nil {
			return usage("--size: %w", err)
		}
		config.Size = uint64(n)
	}
	if config.Listen != "" {
		if _, err := nbd.ParseURI(config.Listen); err != nil {
			return usage("--listen: %w", err)
		}
	}
	if _, ok := layer.Lookup(config.Strategy); !ok {
		return usage("--strategy: expected one of %v, got %q", bench.StrategyNames(), config.Strategy)
	}
	if config.Delay < 0 || config.Depth < 0 {
		return usage("--delay and --depth: expected nothing below 0")
	}
	return nil
}

// serveError makes what the user chose wrongly usage errors.
func serveError(err error) error {
	if errors.Is(err, layer.ErrUnsupported) {
		return &exitError{exitUsage, err}
	}
	return err
}
