package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/fua"
)

// decision is one backend, as nbdkit's eval plugin can be configured, with
// or without the fua filter.
type decision struct {
	canFlush, canFUA string
	mode             string // empty: no filter
	readOnly         bool
}

func (d decision) String() string {
	return fmt.Sprintf("can_flush %s, can_fua %s, fuamode %q, read-only %v", d.canFlush, d.canFUA, d.mode, d.readOnly)
}

// decisions are all that there are. nbdkit refuses fuamode=none by a slip
// (filters/fua/fua.c), so that one cannot be compared.
func decisions() (all []decision) {
	for _, canFlush := range []string{"yes", "no"} {
		for _, canFUA := range []string{"none", "emulate", "native"} {
			for _, mode := range []string{"", "emulate", "native", "force", "pass", "discard"} {
				all = append(all, decision{canFlush, canFUA, mode, false})
			}
			all = append(all, decision{canFlush, canFUA, "", true}, decision{canFlush, canFUA, "force", true})
		}
	}
	return all
}

// TestResolveDecidesAsNbdkitDoes compares fua.Resolve with nbdkit itself: what
// is advertised, and which calls of the backend each command becomes.
func TestResolveDecidesAsNbdkitDoes(t *testing.T) {
	need(t, "nbdkit", libnbd)
	for _, d := range decisions() {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			got, want := askNbdkit(t, d), askResolve(t, d)
			if got != want {
				t.Errorf("nbdkit:\n%s\nfua.Resolve:\n%s", got, want)
			}
		})
	}
}

// askNbdkit starts nbdkit with a backend that logs its calls, and has a client
// send each command.
func askNbdkit(t *testing.T, d decision) string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	said := func(call string) string {
		return fmt.Sprintf(`case "$5" in *fua*) echo "%[1]s(fua)";; *) echo %[1]s;; esac >> %[2]s`, call, log)
	}
	var args []string
	if d.mode != "" {
		args = append(args, "--filter=fua")
	}
	if d.readOnly {
		args = append(args, "-r")
	}
	args = append(args, "eval",
		"get_size=echo 1M", "pread=head -c $3 /dev/zero",
		"pwrite=cat > /dev/null; "+said("w"), "can_trim=exit 0", "trim="+said("t"),
		"can_zero=exit 0", "zero="+said("z"),
		"flush=echo fl >> "+log, "can_fua=echo "+d.canFUA)
	if d.canFlush == "yes" {
		args = append(args, "can_flush=exit 0")
	} else {
		args = append(args, "can_flush=exit 3")
	}
	if d.mode != "" {
		args = append(args, "fuamode="+d.mode)
	}
	uri, _ := nbdkit(t, args...)
	return strings.TrimSpace(must(t, "testdata", libnbd, "-B", "decisions.py", uri, log))
}

// askResolve says the same of fua.Resolve, in the words of decisions.py.
func askResolve(t *testing.T, d decision) string {
	t.Helper()
	mode := fua.ModeAbsent
	if d.mode != "" {
		var err error
		if mode, err = fua.ParseMode(d.mode); err != nil {
			t.Fatal(err)
		}
	}
	r, err := fua.Resolve(fua.Backend{
		API: 2, Flush: true, Trim: true, Zero: true,
		CanFlush: map[string]fua.Answer{"yes": fua.Yes, "no": fua.No}[d.canFlush],
		CanFUA:   map[string]fua.Answer{"none": fua.No, "emulate": fua.Emulate, "native": fua.Native}[d.canFUA],
	}, mode, d.readOnly)
	if err != nil {
		return "refused"
	}
	return fmt.Sprintf("flush %t, fua %t, trim %t, zero %t\nwrite: %s\nwrite with FUA: %s\ntrim with FUA: %s\nzero with FUA: %s\nflush: %s",
		r.Flush, r.FUA, r.Trim, r.Zero, calls(r.Write), calls(r.WriteFUA), calls(r.TrimFUA),
		calls(r.WriteZeroesFUA(4096, devices.OK, false)), calls(r.FlushAction))
}

// calls prints an action as the log has it.
func calls(a fua.Action) string {
	names := map[fua.Call]string{
		fua.CallWrite: "w", fua.CallWriteFUA: "w(fua)", fua.CallTrim: "t", fua.CallTrimFUA: "t(fua)",
		fua.CallZero: "z", fua.CallZeroFUA: "z(fua)", fua.CallFlush: "fl",
	}
	var words []string
	for _, c := range a.Calls {
		words = append(words, names[c])
	}
	if a.Errno != devices.OK {
		words = append(words, a.Errno.String())
	}
	if len(words) == 0 {
		return "nop"
	}
	return strings.Join(words, " ")
}
