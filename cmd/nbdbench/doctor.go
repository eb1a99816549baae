package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nbdbench/internal/bench"
	"nbdbench/nbd/kernel"
)

// finding is one line of doctor's answer.
type finding struct {
	what, state, fix string
}

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check this machine and say how to fix what is missing", Args: cobra.NoArgs,
		Long: `Check this machine and say how to fix what is missing.

Benchmarks in virtual time need nothing. The other NBD programs are needed only for
tests against them, the kernel's nbd module only for /dev/nbdN. If the module or the
permission to use it is missing, the exit code is 3.`,
		RunE: func(c *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			findings := []finding{{"virtual time", "ok", ""}, realTime(c), kernelModule()}
			for _, p := range peers {
				findings = append(findings, p.find())
			}
			for _, f := range findings {
				if f.fix != "" {
					f.state += "; fix: " + f.fix
				}
				fmt.Fprintf(w, "%s\t%s\n", f.what, f.state)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if !strings.HasPrefix(findings[kernelLine].state, "ok") {
				return &exitError{code: exitCapability} // the line says what and how to fix it
			}
			return nil
		},
	}
}

// kernelLine is where doctor's findings have the kernel's module.
const kernelLine = 2

// realTime measures what a run in real time adds by itself.
func realTime(c *cobra.Command) finding {
	d, err := bench.RoundTrip(c.Context())
	if err != nil {
		return finding{"real time", err.Error(), ""}
	}
	return finding{"real time", fmt.Sprintf("ok: a 4 KiB write over a Unix socket to a device that takes no time: %v, median", d), ""}
}

// kernelModule says whether the kernel can have /dev/nbdN, and whether we may
// give it one.
func kernelModule() finding {
	const what = "kernel nbd"
	state, err := kernel.Probe()
	switch {
	case err != nil:
		return missing(what, err)
	case state == kernel.Loadable && os.Geteuid() != 0:
		return finding{what, "there, not loaded, and not ours to load", "as root: modprobe nbd"}
	case state == kernel.Loadable:
		return finding{what, "ok: there; attach loads it", ""}
	}
	if err := kernel.Permitted(); err != nil {
		return missing(what, err)
	}
	return finding{what, fmt.Sprintf("ok: %v", state), ""}
}

// missing reports what the machine lacks.
func missing(what string, err error) finding {
	var m *kernel.Missing
	if errors.As(err, &m) {
		return finding{what, "missing: " + m.What, m.Fix}
	}
	return finding{what, "missing: " + err.Error(), ""}
}

// peer is another NBD program that nbdbench is tested against.
type peer struct{ command, debian string }

var peers = []peer{
	{"nbdkit", "nbdkit"},
	{"nbdinfo", "libnbd-bin"},
	{"nbdcopy", "libnbd-bin"},
	{"qemu-io", "qemu-utils"},
	{"qemu-img", "qemu-utils"},
	{"qemu-nbd", "qemu-utils"},
	{"fio", "fio"},
	{"nbd-client", "nbd-client"},
	{"qemu-system-x86_64", "qemu-system-x86"},
}

func (p peer) find() finding {
	path, err := exec.LookPath(p.command)
	if err != nil {
		return finding{p.command, "missing", "apt-get install " + p.debian}
	}
	return finding{p.command, "ok: " + path, ""}
}
