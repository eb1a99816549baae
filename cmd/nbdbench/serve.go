package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/devices/fault"
	"nbdbench/devices/layer"
	"nbdbench/internal/bench"
	"nbdbench/internal/units"
	"nbdbench/nbd"
	"nbdbench/sim"
)

const serveHelp = `Serve one simulated device, in real time, to any NBD client.

Once it listens, the first line of stdout is its URI, and all else is on stderr:

  nbdbench serve nvme-990pro                        on a Unix socket of its own
  nbdbench serve hdd-7200 --strategy none           FUA is not advertised
  nbdbench serve ram --listen nbd://127.0.0.1:10809
  nbdbench serve ram --export log=nvme-990pro       two exports, the second named log
  nbdbench serve ram --tls-cert c.pem --tls-key k.pem --listen nbds://127.0.0.1

With --tls-cert clients must use TLS; --tls allow lets them. With --tls-ca they
must show a certificate that it has signed. Started by systemd with sockets
(LISTEN_FDS), it serves those, and says its URI on stderr.

--size is a multiple of the device's logical block, 512 bytes unless the profile
has another: one block or more of ram, 1 MiB or more of what has a mechanism.

The content is bytes in memory: what is written is there until the process ends.
With --image it is a sparse file: what is durable is there for the next serve,
also after kill -9; --image-sync waits for the host's disk each time.

SIGUSR1 cuts the power of all exports: connections are dropped, and what a power cut would lose
is lost. Clients that connect again find the drive restarted on what is left.
--control SOCKET takes commands, one a line, and answers each with a line of JSON:

  cut [--export NAME] [--seed N] [--image I]
                                 cuts the power of one export; its name may be
                                 left out if serve has one, "" is the empty name
  cut --clone NEW [--export NAME] [--seed N] [--image I]
                                 what a cut would leave is the new export NEW;
                                 the original runs on
  stats                          what was served, and what is at risk now

I is device for what this drive leaves: its medium, with what the seed has of the
atomic units in flight; worst for nothing of these; random, the default of
--clone with --seed, for any atomic units of what is not yet durable.

--log writes what was asked and answered; nbdbench crash --history replays it in
virtual time and judges what cuts would leave. --log-writes writes the data too.
Both are written as it happens, and have all that was promised to a client before
it is told, so that kill -9 leaves a log that can be read. They are new files, or
empty ones.

SIGTERM and SIGINT drain: what is in flight is finished, what comes gets
ESHUTDOWN.`

func newServe() *cobra.Command {
	var listen, strategy, advertise, size string
	var readOnly bool
	var delay, drain time.Duration
	var seed uint64
	var depth int
	var secure string
	var exports []string
	var files nbd.TLSFiles
	var image, faults, control, log, logWrites string
	var imageSync bool
	c := &cobra.Command{
		Use: "serve DEVICE", Short: "Serve one simulated device to any NBD client", Long: serveHelp, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			config := bench.ServeConfig{
				Device: args[0], Strategy: strategy, Listen: listen, ReadOnly: readOnly,
				Delay: delay, Drain: drain, Seed: sim.Seed(seed), Depth: depth, TLS: files,
				Image: image, ImageSync: imageSync, Control: control,
			}
			if err := serveFlags(c, &config, advertise, size); err != nil {
				return err
			}
			if err := exportFlags(&config, exports, secure); err != nil {
				return err
			}
			return serveLive(c, &config, faults, log, logWrites)
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
	f.StringVar(&advertise, "advertise", "", "flush,fua or less: override what the strategy advertises")
	f.StringVar(&size, "size", "", "of each device, in whole blocks (default: the profile's)")
	f.BoolVar(&readOnly, "read-only", false, "refuse writes")
	f.DurationVar(&delay, "delay", 0, "add to the time of every command")
	f.DurationVar(&drain, "drain", 30*time.Second, "how long to wait for requests in flight when told to end")
	f.Uint64Var(&seed, "seed", 1, "of the spread of the device's times")
	f.StringVar(&image, "image", "", "a file that holds what is durable (default: memory)")
	f.BoolVar(&imageSync, "image-sync", false, "wait until each durable write is on the host's disk")
	f.StringVar(&faults, "fault", "", "how the device misbehaves; see crash --help")
	f.StringVar(&control, "control", "", "a Unix socket for commands; see above")
	f.StringVar(&log, "log", "", "write what was asked and answered to this file")
	f.StringVar(&logWrites, "log-writes", "", "write what is written to this file, as the kernel's dm-log-writes does")
	f.IntVar(&depth, "depth", 0, "requests in progress on a connection under emulate; 0 is no limit, nbdkit has 16")
	return c
}

// serveLive serves with a journal, and with SIGUSR1 as the power switch.
func serveLive(c *cobra.Command, config *bench.ServeConfig, faults, log, logWrites string) (err error) {
	if config.Fault, err = fault.Parse(faults); err != nil {
		return usage("--fault: %w", err)
	}
	if config.ImageSync && config.Image == "" {
		return usage("--image-sync: expected --image too")
	}
	if log != "" {
		f, err := newLog(log)
		if err != nil {
			return usage("--log: %w", err)
		}
		defer f.Close()
		config.Log = f
	}
	if logWrites != "" {
		f, err := newLog(logWrites)
		if err == nil {
			_, err = f.Seek(0, io.SeekCurrent) // its first sector is written again
		}
		if err != nil {
			return usage("--log-writes: %w", err)
		}
		defer f.Close()
		config.LogWrites = f
	}
	cuts := make(chan os.Signal, 1)
	signal.Notify(cuts, syscall.SIGUSR1)
	defer close(cuts)
	defer signal.Stop(cuts)
	config.Cuts = cuts
	return serveError(bench.Serve(c.Context(), *config, c.OutOrStdout(), c.ErrOrStderr()))
}

// newLog opens the file of a log. A log is written in place, as a kill must leave
// what was recorded, so it takes no other one's place.
func newLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		err = fmt.Errorf("%s has %d bytes: expected a new file, or an empty one", path, info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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
		if n == 0 {
			return usage("--size: expected at least one block of the device, got 0")
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

// tlsPolicies are what --tls says.
var tlsPolicies = map[string]nbd.TLSPolicy{"off": nbd.NoTLS, "allow": nbd.MayTLS, "require": nbd.ForcedTLS}

// exportFlags reads the flags of further exports and of TLS.
func exportFlags(config *bench.ServeConfig, exports []string, secure string) error {
	for _, e := range exports {
		name, device, ok := strings.Cut(e, "=")
		if !ok || name == "" || device == "" {
			return usage("--export: expected NAME=DEVICE, got %q", e)
		}
		config.More = append(config.More, bench.NamedDevice{Name: name, Device: device})
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
	case policy == nbd.NoTLS && config.TLS != (nbd.TLSFiles{}):
		return usage("--tls-*: expected --tls-cert and --tls-key and not --tls off")
	}
	config.Secure = policy
	if policy != nbd.NoTLS {
		if _, err := config.TLS.Server(); err != nil {
			return usage("--tls-*: %w", err)
		}
	}
	if u, err := nbd.ParseURI(config.Listen); err == nil && u.TLS && policy != nbd.ForcedTLS {
		return usage("--listen: %s asks for TLS: expected --tls-cert and --tls-key", config.Listen)
	}
	if err := config.Validate(); err != nil {
		return usage("--export: %w", err)
	}
	return nil
}

// serveError makes what the user chose wrongly usage errors.
func serveError(err error) error {
	if errors.Is(err, layer.ErrUnsupported) || errors.Is(err, bench.ErrImage) {
		return &exitError{exitUsage, err}
	}
	return err
}
