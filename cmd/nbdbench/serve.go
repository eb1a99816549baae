package main

import (
	"cmp"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nbdbench/devices/fault"
	"nbdbench/devices/host"
	"nbdbench/devices/layer"
	"nbdbench/internal/serve"
	"nbdbench/internal/units"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

const serveHelp = `Serve a simulated device, a plugin, a file or a block device to any NBD client.

When it listens, it prints its URI as the first line of stdout; everything else
goes to stderr:

  nbdbench serve nvme-990pro                        on a temporary Unix socket
  nbdbench serve hdd-7200 --strategy none           FUA is not advertised
  nbdbench serve ram --listen nbd://127.0.0.1:10809
  nbdbench serve ram --export log=nvme-990pro       two exports, the second named log
  nbdbench serve ram --tls-cert c.pem --tls-key k.pem --listen nbds://127.0.0.1

  nbdbench serve go:memory?size=1GiB                a Go plugin (docs/PLUGINS.md)
  nbdbench serve sh:./plugin.sh key=value           a script, as nbdkit's sh plugin runs it
  nbdbench serve ./disk.img                         a file (docs/HOST.md)
  nbdbench serve /dev/sdX --direct                  a block device, past the page cache

A plugin defines its own size and durability. Plugins do not support --image,
--image-sync, --size, --fault, --log, --log-writes and --stop power-cut; SIGUSR1 and
cut affect simulated devices only. --plugin-timeout limits each call of a plugin: a
call that takes longer fails with EIO and keeps one of the 16 workers of its
connection. With no worker free, requests fail with EIO.

A path of a block device, a file or a directory, in which a scratch file is made, is
storage of the host; one that ends in .yaml or .yml is a profile. FUA is RWF_DSYNC,
FLUSH is fdatasync. It is served through the page cache, or with --direct past it.
Storage that is mounted, swap, below another device, or locked or opened for writing
by another program is refused, but for --read-only. What does not go with it: --image,
--image-sync, --fault, --log, --log-writes, --stop power-cut; --size uses a part of it.

--fuamode does what nbdkit's fua filter does, for plugins and simulated devices: none,
emulate, native (which a device that emulates FUA still emulates), force, pass,
discard. It requires --strategy pass, the default.

With --tls-cert clients must use TLS; with --tls allow they may. With --tls-ca they
must present a certificate signed by it. Started by systemd with sockets
(LISTEN_FDS), it serves those and prints its URI on stderr.

--size is a multiple of the device's logical block, which is 512 bytes unless the
profile says otherwise: at least one block for ram, 1 MiB for other devices.

A device with a logical block of 4 KiB (4Kn) advertises that as the minimum block
and refuses requests that are not whole blocks of it; --min-block asks for more.

The content is in memory and lost when the process ends. With --image it is in a
sparse file: the next serve finds all durable data, even after kill -9. --image-sync
waits for the host's disk on every durable write.

Each export has its own files: for --image FILE, --log FILE and --log-writes FILE
the first export uses FILE and the export NAME uses FILE.NAME, with characters that
a file name cannot contain written as %2F. Data that cannot be stored or recorded,
as on a full disk, is not acknowledged: from then on writes get EIO, reads continue,
and the exit code is 1.

SIGUSR1 cuts the power of all exports: it closes connections and discards what a
power cut would lose. Clients that reconnect find the drive restarted with what
remains. --control SOCKET accepts commands, one per line, and answers each with a
line of JSON:

  cut [--export NAME] [--seed N] [--image I]
                                 cut the power of one export; NAME may be
                                 omitted if there is one export, "" is the
                                 empty name
  cut --clone NEW [--export NAME] [--seed N] [--image I]
                                 export what a cut would leave as NEW; the
                                 original continues; a clone is in memory
                                 and has no logs
  stats                          counters, and what is at risk now

I is device: the medium, with those atomic units in flight that the seed selects;
worst: the medium alone; random, the default of --clone with --seed: any atomic
units of data that is not yet durable.

--log records requests and replies; nbdbench crash --history replays them in
virtual time and checks what power cuts would leave. --log-writes records the data
too. Both contain everything promised to a client before the client is answered,
so kill -9 leaves a readable log; with --image-sync it is on the host's disk by then.
The files must be new or empty.

--run 'CMD' runs a shell command once clients can connect, with $uri and, of a Unix
socket, $unixsocket; serve ends when it ends, with its exit code. Readiness is also
reported by the protocol of sd_notify. --metrics ADDR serves counters of requests,
power cuts, bytes at risk and of the device at http://ADDR/metrics, as OpenMetrics text;
whoever reaches ADDR reads them.

--memory limits what the server holds for all clients together: data in flight and
replies that they have not read. One client may hold half of what is free; beyond
that the server stops reading from it until memory is released.

SIGTERM and SIGINT drain: requests in flight complete, new ones get ESHUTDOWN. A
client that takes longer than --drain is named, and the exit code is 1. Then the
devices shut down cleanly: data that was only acknowledged becomes durable, and
stderr reports how much. With --stop power-cut the power is cut instead.`

func newServe() *cobra.Command {
	var listen, strategy, advertise, size, memory, minBlock string
	var readOnly, direct, imageSync bool
	var delay, drain time.Duration
	var seed uint64
	var depth int
	var secure string
	var exports []string
	var files socket.TLSFiles
	var faults, control, stop, metrics, command string
	var paths filePaths
	var mode string
	var pluginTimeout time.Duration
	var events eventFlags
	c := &cobra.Command{
		Use: "serve DEVICE [KEY=VALUE...]", Short: "Serve a simulated device, a plugin, a file or a block device to any NBD client", Long: serveHelp, Args: serveArgs,
		RunE: func(c *cobra.Command, args []string) error {
			config := serve.Config{
				Device: args[0], Words: args[1:], Strategy: strategy, Listen: listen, ReadOnly: readOnly, Direct: direct,
				Delay: delay, Drain: drain, Seed: sim.Seed(seed), Depth: depth, TLS: files,
				ImageSync: imageSync, Control: control, Metrics: metrics, PowerCut: stop == stopPowerCut, PluginTimeout: pluginTimeout,
				LogFormat: events.format, Verbose: events.verbose,
			}
			if stop != stopFlush && stop != stopPowerCut {
				return usage("--stop: expected %s or %s, got %q", stopFlush, stopPowerCut, stop)
			}
			if err := serveFlags(c, &config, advertise, size); err != nil {
				return err
			}
			if err := cmp.Or(minBlockFlag(&config, minBlock), memoryFlag(&config, memory)); err != nil {
				return err
			}
			if err := exportFlags(&config, exports, secure); err != nil {
				return err
			}
			if err := pluginFlags(c, &config, mode); err != nil {
				return err
			}
			return serveFor(c, &config, command, func() error { return serveLive(c, &config, faults, &paths) })
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "", "NBD URI to listen on, nbd://, nbd+unix:// or nbd+vsock:// (default: a temporary Unix socket)")
	f.StringArrayVar(&exports, "export", nil, "NAME=DEVICE: another export; may be repeated")
	tlsFlags(f, &secure, &files)
	f.StringVar(&strategy, "strategy", "pass", "server side of this strategy; see run --help")
	f.StringVar(&mode, "fuamode", "", "mode of nbdkit's fua filter: none, emulate, native, force, pass or discard")
	durationVar(f, &pluginTimeout, "plugin-timeout", 30*time.Second, "limit for a call of a plugin; 0 is no limit")
	f.StringVar(&advertise, "advertise", "", "flush,fua or a subset, instead of what the strategy advertises")
	f.StringVar(&size, "size", "", "size of each device, in whole blocks (default: the profile's)")
	f.StringVar(&minBlock, "min-block", "", "minimum block, a power of two up to 64KiB; smaller requests are refused (default: the device's)")
	f.StringVar(&memory, "memory", "", "memory that all clients together may hold, at least 128MiB (default: a quarter of the memory of the machine or cgroup)")
	f.BoolVar(&direct, "direct", false, "block devices and files past the page cache")
	f.BoolVar(&readOnly, "read-only", false, "refuse writes")
	durationVar(f, &delay, "delay", 0, "delay added to every command")
	durationVar(f, &drain, "drain", 30*time.Second, "how long to wait for requests in flight at shutdown")
	f.Uint64Var(&seed, "seed", 1, "seed of the device's service times")
	f.BoolVar(&imageSync, "image-sync", false, "wait until each durable write and its log entries are on the host's disk")
	f.StringVar(&stop, "stop", stopFlush, "what SIGTERM does to the devices: flush or power-cut")
	f.StringVar(&faults, "fault", "", "faults to inject; see crash --help")
	events.add(f)
	paths.add(f)
	f.StringVar(&control, "control", "", "Unix socket for commands; see above")
	f.StringVar(&metrics, "metrics", "", "TCP address at which /metrics has counters as OpenMetrics text, such as 127.0.0.1:9810")
	f.StringVar(&command, "run", "", "shell command to run once clients can connect, with $uri and $unixsocket; serve ends with it, and its status")
	countVar(f, &depth, "depth", 0, "maximum requests in flight on a connection under emulate; 0 is no limit, nbdkit has 16")
	return c
}

// add declares them.
func (paths *filePaths) add(f *pflag.FlagSet) {
	f.StringVar(&paths.image, "image", "", "file that stores durable data (default: memory)")
	f.StringVar(&paths.log, "log", "", "record requests and replies in this file")
	f.StringVar(&paths.logWrites, "log-writes", "", "record writes with their data in this file, in the format of the kernel's dm-log-writes")
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
	notifyCuts(cuts)
	defer close(cuts)
	defer signal.Stop(cuts)
	config.Cuts = cuts
	return serveError(serve.Serve(c.Context(), *config, c.OutOrStdout(), c.ErrOrStderr()))
}

// tlsFlags declares who may use TLS, and with what.
func tlsFlags(f *pflag.FlagSet, secure *string, files *socket.TLSFiles) {
	f.StringVar(secure, "tls", "", "require, allow or off (default: require with --tls-cert, otherwise off)")
	f.StringVar(&files.Cert, "tls-cert", "", "PEM file of the server certificate")
	f.StringVar(&files.Key, "tls-key", "", "PEM file of its key")
	f.StringVar(&files.CA, "tls-ca", "", "PEM file of the CA that must have signed client certificates")
}

// minBlockFlag reads --min-block.
func minBlockFlag(config *serve.Config, text string) error {
	if text == "" {
		return nil
	}
	n, err := units.ParseSize(text)
	if err != nil {
		return usage("--min-block: %w", err)
	}
	if n < 1 || n > 64*units.KiB || n&(n-1) != 0 {
		return usage("--min-block: expected a power of two from 1 to 64KiB, got %q", text)
	}
	config.MinBlock = uint32(n)
	return nil
}

// serveFlags reads the flags that have a form of their own.
func serveFlags(c *cobra.Command, config *serve.Config, advertise, size string) error {
	if c.Flags().Changed("log-format") && !slices.Contains(serve.LogFormats(), config.LogFormat) {
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
	if errors.Is(err, layer.ErrUnsupported) || errors.Is(err, serve.ErrImage) || errors.Is(err, serve.ErrPlugin) || isStorageError(err) {
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

// isStorageError reports whether storage was chosen that is of no use.
func isStorageError(err error) bool {
	var inUse *host.InUse
	return errors.As(err, &inUse) || errors.Is(err, host.ErrUnfit)
}
