package main

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nbdbench/devices/fault"
	"nbdbench/devices/layer"
	"nbdbench/internal/serve"
	"nbdbench/internal/units"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

const serveHelp = `Serve one simulated device, or a plugin, in real time, to any NBD client.

Once it listens, the first line of stdout is its URI, and all else is on stderr:

  nbdbench serve nvme-990pro                        on a Unix socket of its own
  nbdbench serve hdd-7200 --strategy none           FUA is not advertised
  nbdbench serve ram --listen nbd://127.0.0.1:10809
  nbdbench serve ram --export log=nvme-990pro       two exports, the second named log
  nbdbench serve ram --tls-cert c.pem --tls-key k.pem --listen nbds://127.0.0.1

  nbdbench serve go:memory?size=1GiB                a Go plugin (docs/PLUGINS.md)
  nbdbench serve sh:./plugin.sh key=value           a script, as nbdkit's sh plugin runs it

A plugin has its size and its durability by its own answers. What does not go with
one: --image, --image-sync, --size, --fault, --log, --log-writes, --stop power-cut;
SIGUSR1 and cut cut the power of the simulated devices alone. --plugin-timeout
bounds each of its calls: one that takes longer fails with EIO, and keeps its worker
of the 16 of its connection; with none left, requests fail with EIO.

--fuamode does what nbdkit's fua filter does, to plugins and simulated devices: none,
emulate, native (which a device that emulates FUA goes on to emulate), force, pass,
discard. It goes with --strategy pass, the default.

With --tls-cert clients must use TLS; --tls allow lets them. With --tls-ca they
must show a certificate that it has signed. Started by systemd with sockets
(LISTEN_FDS), it serves those, and says its URI on stderr.

--size is a multiple of the device's logical block, 512 bytes unless the profile
has another: one block or more of ram, 1 MiB or more of what has a mechanism.

The content is bytes in memory: what is written is there until the process ends.
With --image it is a sparse file: what is durable is there for the next serve,
also after kill -9; --image-sync waits for the host's disk each time.

Each export has files of its own: of --image FILE, --log FILE and --log-writes FILE
the first export has FILE and the export NAME has FILE.NAME, with what a file's name
cannot have as %2F. What cannot be stored or recorded, as on a full disk, is not
acknowledged: from then on writes get EIO, reads go on, and the exit code is 1.

SIGUSR1 cuts the power of all exports: connections are dropped, and what a power cut would lose
is lost. Clients that connect again find the drive restarted on what is left.
--control SOCKET takes commands, one a line, and answers each with a line of JSON:

  cut [--export NAME] [--seed N] [--image I]
                                 cuts the power of one export; its name may be
                                 left out if serve has one, "" is the empty name
  cut --clone NEW [--export NAME] [--seed N] [--image I]
                                 what a cut would leave is the new export NEW;
                                 the original runs on; a clone is in memory
                                 and has no logs
  stats                          what was served, and what is at risk now

I is device for what this drive leaves: its medium, with what the seed has of the
atomic units in flight; worst for nothing of these; random, the default of
--clone with --seed, for any atomic units of what is not yet durable.

--log writes what was asked and answered; nbdbench crash --history replays it in
virtual time and judges what cuts would leave. --log-writes writes the data too.
Both are written as it happens, and have all that was promised to a client before
it is told, so that kill -9 leaves a log that can be read; with --image-sync it is
on the host's disk by then. They are new files, or empty ones.


--memory bounds what all clients together can have the server hold: data on its way
and replies that they do not read. A client may hold half of what is free; beyond
that the server reads no more from it until it has read replies, or others have.

SIGTERM and SIGINT drain: what is in flight is finished, what comes gets ESHUTDOWN.
A client that takes longer than --drain is named, and exit is 1. Then the devices are
shut down in order, which makes durable what they have only acknowledged, and stderr
says how much that was. With --stop power-cut they lose it, as in a power cut.`

func newServe() *cobra.Command {
	var listen, strategy, advertise, size, memory string
	var readOnly bool
	var delay, drain time.Duration
	var seed uint64
	var depth int
	var secure string
	var exports []string
	var files socket.TLSFiles
	var faults, control, stop string
	var paths filePaths
	var imageSync bool
	var mode string
	var pluginTimeout time.Duration
	var events eventFlags
	c := &cobra.Command{
		Use: "serve DEVICE [KEY=VALUE...]", Short: "Serve one simulated device, or a plugin, to any NBD client", Long: serveHelp, Args: serveArgs,
		RunE: func(c *cobra.Command, args []string) error {
			config := serve.Config{
				Device: args[0], Words: args[1:], Strategy: strategy, Listen: listen, ReadOnly: readOnly,
				Delay: delay, Drain: drain, Seed: sim.Seed(seed), Depth: depth, TLS: files,
				ImageSync: imageSync, Control: control, PowerCut: stop == stopPowerCut, PluginTimeout: pluginTimeout,
				LogFormat: events.format, Verbose: events.verbose,
			}
			if stop != stopFlush && stop != stopPowerCut {
				return usage("--stop: expected %s or %s, got %q", stopFlush, stopPowerCut, stop)
			}
			if err := serveFlags(c, &config, advertise, size); err != nil {
				return err
			}
			if err := memoryFlag(&config, memory); err != nil {
				return err
			}
			if err := exportFlags(&config, exports, secure); err != nil {
				return err
			}
			if err := pluginFlags(c, &config, mode); err != nil {
				return err
			}
			return serveLive(c, &config, faults, &paths)
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "", "an NBD URI, nbd://, nbd+unix:// or nbd+vsock:// (default: a Unix socket of its own)")
	f.StringArrayVar(&exports, "export", nil, "NAME=DEVICE: another export; may be given often")
	f.StringVar(&secure, "tls", "", "require, allow or off (default: require with --tls-cert, else off)")
	f.StringVar(&files.Cert, "tls-cert", "", "the server's certificate, a file in PEM")
	f.StringVar(&files.Key, "tls-key", "", "its key, a file in PEM")
	f.StringVar(&files.CA, "tls-ca", "", "clients must show a certificate that this one, a file in PEM, has signed")
	f.StringVar(&strategy, "strategy", "pass", "whose server half goes around the device; see run --help")
	f.StringVar(&mode, "fuamode", "", "none, emulate, native, force, pass or discard: what nbdkit's fua filter does over the devices")
	durationVar(f, &pluginTimeout, "plugin-timeout", 30*time.Second, "how long a call of a plugin may take; 0 is no limit")
	f.StringVar(&advertise, "advertise", "", "flush,fua or less: override what the strategy advertises")
	f.StringVar(&size, "size", "", "of each device, in whole blocks (default: the profile's)")
	f.StringVar(&memory, "memory", "", "what all clients together may hold, from 128MiB on (default: a quarter of the machine or of its cgroup)")
	f.BoolVar(&readOnly, "read-only", false, "refuse writes")
	durationVar(f, &delay, "delay", 0, "add to the time of every command")
	durationVar(f, &drain, "drain", 30*time.Second, "how long to wait for requests in flight when told to end")
	f.Uint64Var(&seed, "seed", 1, "of the spread of the device's times")
	f.StringVar(&paths.image, "image", "", "a file that holds what is durable (default: memory)")
	f.BoolVar(&imageSync, "image-sync", false, "wait until each durable write, and what the logs have of it, is on the host's disk")
	f.StringVar(&stop, "stop", stopFlush, "what SIGTERM does to the devices: flush or power-cut")
	f.StringVar(&faults, "fault", "", "how the device misbehaves; see crash --help")
	events.add(f)
	f.StringVar(&control, "control", "", "a Unix socket for commands; see above")
	f.StringVar(&paths.log, "log", "", "write what was asked and answered to this file")
	f.StringVar(&paths.logWrites, "log-writes", "", "write what is written to this file, as the kernel's dm-log-writes does")
	countVar(f, &depth, "depth", 0, "requests in progress on a connection under emulate; 0 is no limit, nbdkit has 16")
	return c
}

// What --stop says.
const (
	stopFlush    = "flush"
	stopPowerCut = "power-cut"
)

// serveLive serves with logs, and with SIGUSR1 as the power switch.
func serveLive(c *cobra.Command, config *serve.Config, faults string, paths *filePaths) (err error) {
	if config.Fault, err = fault.Parse(faults); err != nil {
		return usage("--fault: %w", err)
	}
	if config.ImageSync && paths.image == "" {
		return usage("--image-sync: expected --image too")
	}
	files := fileSet{used: map[string]bool{}}
	defer files.close()
	if err := files.all(config, paths); err != nil {
		return err
	}
	cuts := make(chan os.Signal, 1)
	signal.Notify(cuts, syscall.SIGUSR1)
	defer close(cuts)
	defer signal.Stop(cuts)
	config.Cuts = cuts
	return serveError(serve.Serve(c.Context(), *config, c.OutOrStdout(), c.ErrOrStderr()))
}

// serveFlags reads the flags that have a form of their own.
func serveFlags(c *cobra.Command, config *serve.Config, advertise, size string) error {
	if format := c.Flags().Lookup("log-format"); format.Changed && !slices.Contains(serve.LogFormats(), config.LogFormat) {
		return usage("--log-format: expected %s, got %q", strings.Join(serve.LogFormats(), " or "), config.LogFormat)
	}
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
		if n == 0 {
			return usage("--size: expected at least one block of the device, got 0")
		}
		config.Size = uint64(n)
	}
	if config.Listen != "" {
		if _, err := socket.ParseURI(config.Listen); err != nil {
			return usage("--listen: %w", err)
		}
	}
	if _, ok := layer.Lookup(config.Strategy); !ok {
		return usage("--strategy: expected one of %v, got %q", layer.Names(), config.Strategy)
	}
	if config.Delay < 0 || config.Depth < 0 {
		return usage("--delay and --depth: expected nothing below 0")
	}
	return nil
}

// memoryFlag reads --memory.
func memoryFlag(config *serve.Config, memory string) error {
	if memory == "" {
		return nil
	}
	n, err := units.ParseSize(memory)
	switch {
	case err != nil:
		return usage("--memory: %w", err)
	case n < socket.MinMemory:
		return usage("--memory: expected at least %v, got %v", units.Size(socket.MinMemory), n)
	}
	config.Memory = int64(n)
	return nil
}

// tlsPolicies are what --tls says.
var tlsPolicies = map[string]nbd.TLSPolicy{"off": nbd.NoTLS, "allow": nbd.MayTLS, "require": nbd.ForcedTLS}

// exportFlags reads the flags of further exports and of TLS.
func exportFlags(config *serve.Config, exports []string, secure string) error {
	for _, e := range exports {
		name, device, ok := strings.Cut(e, "=")
		if !ok || name == "" || device == "" {
			return usage("--export: expected NAME=DEVICE, got %q", e)
		}
		config.More = append(config.More, serve.NamedDevice{Name: name, Device: device})
	}
	if secure == "" {
		if secure = "off"; config.TLS.Cert != "" {
			secure = "require"
		}
	}
	policy, ok := tlsPolicies[secure]
	switch {
	case !ok:
		return usage("--tls: expected require, allow or off, got %q", secure)
	case policy == nbd.NoTLS && config.TLS != (socket.TLSFiles{}):
		return usage("--tls-*: expected --tls-cert and --tls-key and not --tls off")
	}
	config.Secure = policy
	if policy != nbd.NoTLS {
		if _, err := config.TLS.Server(); err != nil {
			return usage("--tls-*: %w", err)
		}
	}
	if u, err := socket.ParseURI(config.Listen); err == nil && u.TLS && policy != nbd.ForcedTLS {
		return usage("--listen: %s asks for TLS: expected --tls-cert and --tls-key", config.Listen)
	}
	if err := config.Validate(); err != nil {
		return usage("--export: %w", err)
	}
	return nil
}

// serveError makes what the user chose wrongly usage errors.
func serveError(err error) error {
	if errors.Is(err, layer.ErrUnsupported) || errors.Is(err, serve.ErrImage) || errors.Is(err, serve.ErrPlugin) {
		return &exitError{exitUsage, err}
	}
	return err
}

// eventFlags are how events are reported.
type eventFlags struct {
	verbose bool
	format  string
}

func (e *eventFlags) add(f *pflag.FlagSet) {
	f.BoolVarP(&e.verbose, "verbose", "v", false, "also report each connection that opens and closes")
	f.StringVar(&e.format, "log-format", "", "write events to stderr as records: text or json (default: plain lines)")
}
