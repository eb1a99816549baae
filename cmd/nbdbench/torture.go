package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nbdbench/devices/fault"
	"nbdbench/internal/serve"
	"nbdbench/internal/torture"
	"nbdbench/internal/units"
)

const tortureHelp = `Run your program on a real file system on a simulated drive, cut the power many
times, and say whether it lost what it acknowledged.

  nbdbench torture --device nvme-990pro --fs ext4 --cuts 200 \
      --setup ./init.sh --check ./check.sh -- ./workload.sh
  nbdbench torture --app sqlite --cuts 20
  nbdbench torture --app sqlite --set synchronous=NORMAL     must be found to lose

The device is served by FUSE; a loop device is on it, and the file system on that.
--setup prepares the file system. Then the workload runs, and is started again when it
ends. It gets

  NBDBENCH_MOUNT      where the file system is mounted
  NBDBENCH_DEV        the block device
  NBDBENCH_ACK        3, the number of an open file descriptor: it writes a line to it
                      for each thing that it considers durable
  NBDBENCH_ACK_PATH   a FIFO for the same, for daemons

Cuts begin with the first acknowledgement, at moments that --seed chooses: half of them
at any time, half right after an acknowledgement. For each, what has been written to the
channel is read first: these are the acknowledgements that must survive. What the cut
leaves is copied; the drive and the workload go on. The copy is mounted elsewhere, which
recovers the file system, and --check runs with NBDBENCH_MOUNT and with NBDBENCH_ACKED,
a file of what was acknowledged. It exits with

  0   all is there                                         kept
  1   something is missing (prints lost=N: the N newest)   lost
  2   what is there contradicts itself (prints torn=N)     corrupt

Any other status ends the run with exit code 5. With --allow-loss 1s, the check of a lost
cut runs once more without the acknowledgements of that last second: if it passes, the cut
is bounded. An image that does not mount is unmountable; one in which fsck finds errors
after the check is corrupt.

--image says what a cut leaves: device, the medium, with those atomic units in flight
that the seed selects; worst, what a FLUSH or FUA that the drive carried out made
durable; random, of each atomic unit that or a later version. For these two, what the
drive has written back on its own is not durable, so that a lying drive loses all that it
claimed.

--at cuts at an event instead: flush:N, when the Nth FLUSH arrives after the acknowledgements
were read; write:FIRST-END, when a write to these bytes of the device does; ack:REGEXP, when
a line that matches is acknowledged.

The first image that fails is kept in --keep DIR, and beside it a reduced one: of the
atomic units that the image lacks, at most --reduce N checks seek a small set whose loss
alone fails in the same way. torture --replay DIR checks both again.
On this way into the kernel a FUA write arrives as a write and a FLUSH. A run in real
time does not repeat by its seed.

It needs root, Linux, /dev/fuse and loop devices; if they are missing, the exit code is 3.
Mounts, loop devices and processes are in namespaces of their own and end with the
command, even after kill -9. The exit code is 4 if anything was lost, corrupt or
unmountable.`

// tortureFlags are the flags of torture.
type tortureFlags struct {
	torture.Config
	size, fault, format string
}

func newTorture() *cobra.Command {
	var f tortureFlags
	c := &cobra.Command{
		Use: "torture [--app NAME | -- WORKLOAD...]", Short: "Cut the power under a program of yours and say what it lost", Long: tortureHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	fl := c.Flags()
	fl.StringVar(&f.Device, "device", "nvme-990pro", "a device's name, or the path of a profile")
	fl.StringVar(&f.Strategy, "strategy", "native", "strategy; see run --help")
	fl.StringVar(&f.FS, "fs", "ext4", "file system: "+strings.Join(torture.FileSystems(), ", "))
	countVar(fl, &f.Cuts, "cuts", torture.DefaultCuts, "power cuts")
	fl.Uint64Var(&f.Seed, "seed", 1, "seed of the moments, the images and the service times")
	fl.StringVar(&f.Via, "via", "", "way into the kernel: nbd, fuse or vm (default: the best one that there is)")
	fl.StringVar(&f.Image, "image", "device", "what a cut leaves: "+strings.Join(serve.Images(), ", "))
	fl.StringVar(&f.At, "at", "", "event at which to cut: flush:N, write:FIRST-END or ack:REGEXP (default: moments by the seed)")
	fl.StringVar(&f.Setup, "setup", "", "command that prepares the file system")
	fl.StringVar(&f.Check, "check", "", "command that checks what a cut left")
	fl.StringVar(&f.size, "size", "1GiB", "size of the device, which is in memory")
	fl.StringVar(&f.MkfsOptions, "mkfs-options", "", "further words for mkfs")
	fl.StringVar(&f.MountOptions, "mount-options", "", "mount options")
	durationVar(fl, &f.AllowLoss, "allow-loss", 0, "acknowledgements that are younger than this at a cut may be lost")
	fl.StringVar(&f.fault, "fault", "", "faults to inject; see crash --help")
	fl.StringVar(&f.App, "app", "", "a program with a workload and a check: "+strings.Join(torture.Apps(), ", "))
	fl.StringArrayVar(&f.Set, "set", nil, "KEY=VALUE: a setting of --app; may be repeated")
	fl.StringVar(&f.Keep, "keep", "", "new directory for the first image that fails (default: torture-TIME)")
	countVar(fl, &f.Reduce, "reduce", torture.DefaultReduce, "images to check at most to find one that fails with fewer losses; 0 is none")
	fl.StringVar(&f.Replay, "replay", "", "check the kept image in this directory again")
	fl.StringVar(&f.format, "format", "table", "output format: table, md or json")
	return c
}

// tortureFormats write the document.
var tortureFormats = map[string]func(*torture.Document, io.Writer) error{
	"table": (*torture.Document).Text, "md": (*torture.Document).Markdown, "json": (*torture.Document).JSON,
}

func (f *tortureFlags) run(c *cobra.Command, args []string) error {
	write, ok := tortureFormats[f.format]
	if !ok {
		return usage("--format: expected table, md or json, got %q", f.format)
	}
	if err := f.parse(args); err != nil {
		return err
	}
	f.Again = append(again(c.Flags()), append([]string{"--"}, args...)...)
	f.Again = append([]string{c.Name()}, f.Again...)
	doc, code, err := torture.Run(c.Context(), f.Config, c.OutOrStdout(), c.ErrOrStderr())
	switch {
	case err != nil:
		return err
	case doc == nil && code != exitOK:
		return &exitError{code: code} // the process that ran it has said why
	case doc == nil:
		return nil
	}
	if err := write(doc, c.OutOrStdout()); err != nil {
		return err
	}
	switch {
	case doc.Failed():
		return &exitError{code: exitDeviation}
	case doc.Partial:
		return &exitError{code: exitInterrupted}
	}
	return nil
}

// parse reads the flags that have a form of their own.
func (f *tortureFlags) parse(args []string) (err error) {
	f.Workload = args
	size, err := units.ParseSize(f.size)
	switch {
	case err != nil:
		return usage("--size: %w", err)
	case size == 0:
		return usage("--size: expected more than 0")
	}
	f.Size = uint64(size)
	if f.Config.Fault, err = fault.Parse(f.fault); err != nil {
		return usage("--fault: %w", err)
	}
	if err := f.Validate(); err != nil {
		return err
	}
	if f.Keep == "" {
		return nil
	}
	entries, err := os.ReadDir(f.Keep)
	if err == nil && len(entries) > 0 {
		return usage("--keep: %s has %d files: expected a new directory, or an empty one", f.Keep, len(entries))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return usage("--keep: %w", err)
	}
	return nil
}

// again are the flags as arguments that set them again.
func again(flags *pflag.FlagSet) (args []string) {
	flags.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if s, ok := f.Value.(pflag.SliceValue); ok {
			values = s.GetSlice()
		}
		for _, v := range values {
			args = append(args, fmt.Sprintf("--%s=%s", f.Name, v))
		}
	})
	return args
}
