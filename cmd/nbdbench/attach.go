package main

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/internal/serve"
	"nbdbench/nbd/kernel"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

const attachHelp = `Give an export to the Linux kernel as /dev/nbdN, the first line of stdout.

  nbdbench attach nbd://storage:10809/disk     a server's export
  nbdbench attach nvme-990pro --strategy none  a simulated device

A server's export is the kernel's own from then on: the command ends, and nbdbench
detach takes the device away. A simulated device lives in this process, which
stays; SIGINT and SIGTERM write what the kernel has cached and detach it.

What the kernel sends for a durable write depends on what the export advertises.
Without FLUSH the kernel takes the device for one without a write cache: it sends
neither FLUSH nor FUA, even if FUA is advertised, and fsync does nothing. --advertise
shows it.

A request without a reply fails after --timeout: no process is left waiting for a
server that is gone. It needs root and the kernel's nbd module, which is loaded; if
that cannot be, the exit code is 3, and nbdbench doctor says what to do.`

// attachFlags are the flags of attach; those of a simulated device are refused
// for a URI.
type attachFlags struct {
	kernel                    kernel.Config
	strategy, advertise, size string
	seed                      uint64
	depth                     int
}

func newAttach() *cobra.Command {
	var a attachFlags
	c := &cobra.Command{
		Use: "attach URI|DEVICE", Short: "Give an export or a simulated device to the kernel as /dev/nbdN", Long: attachHelp, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			config, err := a.config(c, args[0])
			if err != nil {
				return err
			}
			return serveError(serve.Attach(c.Context(), config, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringVar(&a.kernel.Device, "device", "", "/dev/nbdN (default: the first that is free)")
	countVar(f, &a.kernel.Connections, "connections", 1, "sockets; more than 1 need an export with multi-conn")
	durationVar(f, &a.kernel.Timeout, "timeout", kernel.DefaultTimeout, "how long a request waits for its reply before it fails, in whole seconds")
	durationVar(f, &a.kernel.DeadTimeout, "dead-timeout", 0, "how long requests wait for a lost connection to be replaced")
	f.Uint32Var(&a.kernel.BlockSize, "block-size", 0, "logical block, 512 to 4096 (default: the export's least)")
	f.BoolVar(&a.kernel.Ioctl, "ioctl", false, "use the older ioctls in place of netlink; the command stays")
	f.StringVar(&a.strategy, "strategy", "pass", "of a simulated device: whose server half goes around it; see run --help")
	f.StringVar(&a.advertise, "advertise", "", "of a simulated device: flush,fua or less, in place of what the strategy advertises")
	f.StringVar(&a.size, "size", "", "of a simulated device (default: the profile's)")
	f.Uint64Var(&a.seed, "seed", 1, "of the spread of a simulated device's times")
	countVar(f, &a.depth, "depth", 0, "of a simulated device: requests in progress on a connection under emulate; 0 is no limit")
	return c
}

// config reads what is to be attached, and refuses what does not go with it.
func (a *attachFlags) config(c *cobra.Command, what string) (config serve.AttachConfig, err error) {
	if err := a.kernel.Validate(); err != nil {
		return config, usage("%w", err)
	}
	if a.kernel.Timeout < time.Second || a.kernel.Connections < 1 {
		return config, usage("--timeout and --connections: expected at least 1s and 1: without a timeout a dead server hangs whoever uses the device")
	}
	config.Kernel = a.kernel
	if !strings.Contains(what, "://") {
		s := serve.Config{Device: what, Strategy: a.strategy, Seed: sim.Seed(a.seed), Depth: a.depth, Drain: a.kernel.Timeout}
		if err := serveFlags(c, &s, a.advertise, a.size); err != nil {
			return config, err
		}
		config.Serve = &s
		return config, nil
	}
	for _, name := range []string{"strategy", "advertise", "size", "seed", "depth"} {
		if c.Flags().Changed(name) {
			return config, usage("--%s: expected a simulated device, got %s: how an export is served is its server's business", name, what)
		}
	}
	if config.URI, err = socket.ParseURI(what); err != nil {
		return config, usage("%w", err)
	}
	if config.URI.TLS || config.URI.Network == "vsock" {
		return config, usage("%s: expected nbd:// or nbd+unix://: the kernel's client has neither TLS nor vsock", what)
	}
	return config, nil
}

const detachHelp = `Take /dev/nbdN away from the kernel, whoever attached it. Requests in flight fail.

A device that is mounted, used as swap or below another device is left alone, unless
--force says otherwise: what uses it then gets errors. A device of which the server is
gone can be detached too.`

func newDetach() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "detach /dev/nbdN", Short: "Take a device away from the kernel", Long: detachHelp, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := kernel.ParseDevice(args[0]); err != nil {
				return usage("%w", err)
			}
			err := kernel.Detach(args[0], force)
			if errors.Is(err, kernel.ErrInUse) {
				return usage("%w; umount it, or give --force", err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&force, "force", false, "detach what is in use, too")
	return c
}
