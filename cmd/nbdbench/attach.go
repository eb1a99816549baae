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

const attachHelp = `Attach an export to the Linux kernel as /dev/nbdN, the first line of stdout.

  nbdbench attach nbd://storage:10809/disk     a server's export
  nbdbench attach nvme-990pro --strategy none  a simulated device

For a server's export the command ends once the kernel serves it; nbdbench detach
detaches it. A simulated device lives in this process, which stays; SIGINT and
SIGTERM write back what the kernel has cached and detach the device.

What the kernel sends for a durable write depends on what the export advertises.
Without FLUSH the kernel assumes no write cache: it sends neither FLUSH nor FUA, even
if FUA is advertised, and fsync does nothing. --advertise demonstrates it.

A request without a reply fails after --timeout, so no process hangs on a server
that has disappeared. It needs root and the kernel's nbd module, which it loads; if
it cannot, the exit code is 3, and nbdbench doctor says what to do.`

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
		Use: "attach URI|DEVICE", Short: "Attach an export or a simulated device to the kernel as /dev/nbdN", Long: attachHelp, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			config, err := a.config(c, args[0])
			if err != nil {
				return err
			}
			return serveError(serve.Attach(c.Context(), config, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringVar(&a.kernel.Device, "device", "", "/dev/nbdN (default: the first free one)")
	countVar(f, &a.kernel.Connections, "connections", 1, "number of sockets; more than 1 require an export with multi-conn")
	durationVar(f, &a.kernel.Timeout, "timeout", kernel.DefaultTimeout, "time after which a request without a reply fails, in whole seconds")
	durationVar(f, &a.kernel.DeadTimeout, "dead-timeout", 0, "how long requests wait for a lost connection to be replaced")
	f.Uint32Var(&a.kernel.BlockSize, "block-size", 0, "logical block size, 512 to 4096 (default: the export's minimum)")
	f.BoolVar(&a.kernel.Ioctl, "ioctl", false, "use the older ioctls instead of netlink; the command keeps running")
	f.StringVar(&a.strategy, "strategy", "pass", "simulated device: server side of this strategy; see run --help")
	f.StringVar(&a.advertise, "advertise", "", "simulated device: flush,fua or a subset, instead of what the strategy advertises")
	f.StringVar(&a.size, "size", "", "simulated device: its size (default: the profile's)")
	f.Uint64Var(&a.seed, "seed", 1, "simulated device: seed of its service times")
	countVar(f, &a.depth, "depth", 0, "simulated device: maximum requests in flight on a connection under emulate; 0 is no limit")
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

const detachHelp = `Detach /dev/nbdN from the kernel, whoever attached it. Requests in flight fail.

A device that is mounted, used as swap or part of another device is not detached,
except with --force: its users then get errors. A device whose server has disappeared
can be detached too.`

func newDetach() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "detach /dev/nbdN", Short: "Detach a device from the kernel", Long: detachHelp, Args: cobra.ExactArgs(1),
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
	c.Flags().BoolVar(&force, "force", false, "detach even a device that is in use")
	return c
}
