package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nbdbench/devices/host"
	"nbdbench/internal/bench"
	"nbdbench/internal/honesty"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

const honestyHelp = `Say whether a real drive kept its promises over a real power cut.

  nbdbench honesty listen --record cuts.txt --listen 10.0.0.1:10810     on a machine that
                                                                        keeps its power
  nbdbench honesty write --server 10.0.0.1:10810 /dev/nvme1n1 --destroy on the one that
                                                                        loses it
  (cut the power while it writes; start the machine again)
  nbdbench honesty verify --server 10.0.0.1:10810 /dev/nvme1n1

All three take --token, or the environment's NBDBENCH_TOKEN: the same secret of at least 8
bytes. The writer numbers the versions of each 4 KiB. Before it writes one it tells the
listener its intent; when the device has acknowledged that it is durable, its promise.
After the cut each 4 KiB may hold any version from its last promise to its last intent.
An older one is a broken promise: exit code 4.

Pull the plug, or switch the socket off. A reset or a kill tests the caches of the host
and not those of the drive. The listener is for a network that you trust: the token is
not sent, but what follows it is not encrypted.`

// honestyPort is the listener's.
const honestyPort = "10810"

func newHonesty() *cobra.Command {
	c := &cobra.Command{
		Use: "honesty", Short: "Did a real drive keep its promises over a real power cut?", Long: honestyHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newHonestyListen(), newHonestyWrite(), newHonestyVerify())
	return c
}

func tokenFlag(fl *pflag.FlagSet, token *string) {
	fl.StringVar(token, "token", "", "secret that writer, listener and verifier share")
}

// reporter prints lines for people.
func reporter(c *cobra.Command) func(string) {
	return func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) }
}

func newHonestyListen() *cobra.Command {
	var (
		l       = honesty.ListenerConfig{}
		address string
		most    string
	)
	c := &cobra.Command{
		Use: "listen --record FILE", Short: "Store what a writer intends and promises", Args: cobra.NoArgs,
		Long: `Store what a writer intends and promises, on a machine that keeps its power. The
address is the first line of stdout. What the record has is kept and added to.`,
		RunE: func(c *cobra.Command, _ []string) error {
			size, err := units.ParseSize(most)
			switch {
			case err != nil:
				return usage("--max-record: %w", err)
			case l.Record == "":
				return usage("--record: expected a file's name")
			case len(l.Token) < honesty.MinToken:
				return usage("--token: expected at least %d bytes, got %d", honesty.MinToken, len(l.Token))
			}
			l.MaxRecord, l.Report = int64(size), reporter(c)
			return listen(c.Context(), c.OutOrStdout(), l, address)
		},
	}
	fl := c.Flags()
	fl.StringVar(&address, "listen", "127.0.0.1:"+honestyPort, "address to listen on")
	fl.StringVar(&l.Record, "record", "", "file that what is sent is added to")
	fl.StringVar(&most, "max-record", "4GiB", "how long the record may become; then the writer is refused")
	tokenFlag(fl, &l.Token)
	return c
}

// listen serves writers and verifiers until ctx ends.
func listen(ctx context.Context, stdout io.Writer, config honesty.ListenerConfig, address string) error {
	l, err := honesty.NewListener(config)
	if err != nil {
		return usage("--record: %w", err)
	}
	on, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return errors.Join(usage("--listen: %w", err), l.Close())
	}
	fmt.Fprintln(stdout, on.Addr())
	return errors.Join(l.Serve(ctx, on), l.Close())
}

func newHonestyWrite() *cobra.Command {
	var (
		w            honesty.WriteConfig
		size, method string
		destroy, yes bool
	)
	c := &cobra.Command{
		Use: "write --server HOST:PORT DEVICE --destroy", Short: "Write to a real drive until its power is cut", Args: cobra.ExactArgs(1),
		Long: `Write to a block device or a file, and tell a listener of each write before it is made
and after it is durable, until the power goes. FUA and FLUSH are used for some fifty
rounds each, alternating: a FLUSH would hide that FUA writes before it were not
durable.`,
		RunE: func(c *cobra.Command, args []string) (err error) {
			n, err := units.ParseSize(size)
			if err != nil {
				return usage("--size: %w", err)
			}
			if w.Methods, err = honesty.ParseMethods(method); err != nil {
				return usage("--method: %w", err)
			}
			if err := serverAndToken(w.Server, w.Token); err != nil {
				return err
			}
			if w.Depth < 1 || w.Depth > honesty.MaxDepth {
				return usage("--depth: expected 1 to %d, got %d", honesty.MaxDepth, w.Depth)
			}
			w.Device, w.Report = args[0], reporter(c)
			config := host.Config{Direct: true, Size: uint64(n)}
			if !c.Flags().Changed("size") {
				if config.Size, err = atMost(args[0], config.Size); err != nil {
					return err
				}
			}
			return overwrite(c, w, config, destroy, yes)
		},
	}
	fl := c.Flags()
	fl.StringVar(&w.Server, "server", "", "the listener's address, HOST:PORT")
	tokenFlag(fl, &w.Token)
	fl.StringVar(&size, "size", "64MiB", "how much of the beginning of the device is written, at most 4 GiB")
	fl.StringVar(&method, "method", "fua,flush", "what makes writes durable: fua, flush or both")
	countVar(fl, &w.Depth, "depth", 16, "units in flight")
	fl.Uint64Var(&w.Seed, "seed", 1, "seed of which units are written")
	durationVar(fl, &w.Duration, "duration", 0, "end after so long, for a rehearsal without a cut (default: never)")
	fl.BoolVar(&destroy, "destroy", false, "allow overwriting the device")
	fl.BoolVar(&yes, "yes", false, "with --destroy, do not ask before a block device is overwritten")
	return c
}

func serverAndToken(server, token string) error {
	if _, _, err := net.SplitHostPort(server); err != nil {
		return usage("--server: expected HOST:PORT, got %q", server)
	}
	if len(token) < honesty.MinToken {
		return usage("--token: expected at least %d bytes, got %d", honesty.MinToken, len(token))
	}
	return nil
}

// overwrite opens the storage and writes to it.
func overwrite(c *cobra.Command, w honesty.WriteConfig, config host.Config, destroy, yes bool) (err error) {
	s, err := openForHonesty(w.Device, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.Kind() == host.Scratch {
		return usage("expected a block device or a file, which is there after the cut: %s is a directory", w.Device)
	}
	over := bench.Overwrites{What: []string{s.Describe()}, Block: s.Kind() == host.Block}
	if err := mayOverwrite(c, w.Device, over, destroy, yes); err != nil {
		return err
	}
	if d := s.Disk(); !d.FUA {
		w.Report("the queue has no FUA: the kernel sends a write and a FLUSH for each FUA write")
	}
	if s.Kind() == host.File {
		if _, err := s.Fill(); err != nil {
			return err
		}
	}
	done, err := honesty.Write(c.Context(), s, w)
	fmt.Fprintf(c.ErrOrStderr(), "session %016x: %s in %s\n", uint64(done.Session), strings.Join(done.Counts(), ", "), done.Elapsed.Round(time.Millisecond))
	return err
}

// atMost is how much is used of the storage where nobody says: n, or all if it is smaller.
func atMost(path string, n uint64) (uint64, error) {
	s, err := openForHonesty(path, host.Config{Direct: true, ReadOnly: true})
	if err != nil {
		return 0, err
	}
	return min(n, s.Size()), s.Close()
}

func openForHonesty(path string, config host.Config) (*host.Storage, error) {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return nil, usage("expected a block device or a file, got %s", text.Line(path))
	}
	s, err := host.Open(path, config)
	if isStorageError(err) {
		return nil, usage("%w", err)
	}
	return s, err
}

func newHonestyVerify() *cobra.Command {
	var (
		v               honesty.VerifyConfig
		format, session string
	)
	c := &cobra.Command{
		Use: "verify [--server HOST:PORT | --record FILE] DEVICE", Short: "Say which promises a drive broke", Args: cobra.ExactArgs(1),
		Long: `Read the drive, after the cut, and say which promises it broke. Nothing is written. The
record comes from the listener, or from its file.`,
		RunE: func(c *cobra.Command, args []string) (err error) {
			print, ok := honestyFormats[format]
			switch {
			case !ok:
				return usage("--format: expected table, md or json, got %q", format)
			case (v.Record == "") == (v.Server == ""):
				return usage("expected either --server or --record")
			case v.Server != "":
				if err := serverAndToken(v.Server, v.Token); err != nil {
					return err
				}
			}
			if v.Session, err = honesty.ParseSession(session); err != nil {
				return usage("--session: %w", err)
			}
			s, err := openForHonesty(args[0], host.Config{Direct: true, ReadOnly: true})
			if err != nil {
				return err
			}
			verdict, err := honesty.Verify(c.Context(), s, v)
			if err := errors.Join(err, s.Close()); err != nil {
				return err
			}
			if err := print(verdict, c.OutOrStdout()); err != nil {
				return err
			}
			if verdict.Failed() {
				return &exitError{code: exitDeviation}
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&v.Server, "server", "", "the listener's address, HOST:PORT")
	fl.StringVar(&v.Record, "record", "", "the record's file")
	fl.StringVar(&session, "session", "", "session to judge, as the writer printed it (default: the last one)")
	fl.StringVar(&format, "format", "table", "output format: table, md or json")
	tokenFlag(fl, &v.Token)
	return c
}

// honestyFormats write a verdict.
var honestyFormats = map[string]func(*honesty.Verdict, io.Writer) error{
	"table": (*honesty.Verdict).Text, "md": (*honesty.Verdict).Markdown, "json": (*honesty.Verdict).JSON,
}
