package target

import (
	"slices"
	"strings"
	"testing"
)

func TestNbdkitsCommandLineIsThatOfTheStrategy(t *testing.T) {
	n, err := ParseNbdkit(`--filter=delay -t 4 file './my disk.img' wdelay=1ms`)
	if err != nil {
		t.Fatal(err)
	}
	const user = "--filter=delay|-t|4|file|./my disk.img|wdelay=1ms"
	for strategy, want := range map[string]string{
		"native": "--filter=fua|" + user + "|fuamode=native", "emulate": "--filter=fua|" + user + "|fuamode=emulate",
		"force": "--filter=fua|" + user + "|fuamode=force", "discard": "--filter=fua|" + user + "|fuamode=discard",
		"none": "--filter=fua|" + user, "none-unsafe": "--filter=fua|" + user, "none-grouped": "--filter=fua|" + user,
		"pass": user,
	} {
		if !slices.Contains(NbdkitStrategies(), strategy) {
			t.Errorf("no strategy %s", strategy)
		}
		want = "nbdkit|-f|--exit-with-parent|-U|/s|-P|/p|" + want
		if got := strings.Join(n.Server(strategy).args("/s", "/p"), "|"); got != want {
			t.Errorf("%s: %s, want %s", strategy, got, want)
		}
	}
	for _, logged := range []string{"", "--filter=log ", "--filter log "} {
		if n, err = ParseNbdkit(logged + n.text); err != nil {
			t.Fatal(err)
		}
		want := "nbdkit|-f|--exit-with-parent|-U|/s|-P|/p|--filter=log|" + user + "|logfile=/log"
		if got := strings.Join(n.Asking("/log").args("/s", "/p"), "|"); got != want {
			t.Errorf("asking: %s, want %s", got, want)
		}
	}
}

func TestThePluginIsFoundAmongOptions(t *testing.T) {
	for text, want := range map[string]string{
		"memory 64M":                            "memory",
		"--filter delay --threads=4 null wait=": "null",
		"-r -t4 -D memory.dir=1 memory":         "memory",
		"--tls off -e x --log=null file x":      "file",
		"/usr/lib/nbdkit-linuxdisk-plugin.so d": "linuxdisk",
		"'./my plugin.py'":                      "my_plugin.py",
		"./" + strings.Repeat("é", 60):          strings.Repeat("_", maxName),
	} {
		n, err := ParseNbdkit(text)
		if err != nil || n.Name() != want {
			t.Errorf("%q: %v, %v, want %s", text, n.Name(), err, want)
		}
	}
}

func TestWhatIsForNbdbenchToSayIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "expected a plugin with its parameters",
		"--filter=delay -v":        "expected a plugin with its parameters",
		"memory 64M fuamode=force": `expected no fuamode, which the strategy decides, got "fuamode=force"`,
		"memory 64M 'fuamode'=":    "expected no fuamode",
		"--filter=fua memory 64M":  "expected no fua filter",
		"--filter fua memory 64M":  "expected no fua filter",
		"--filter ./nbdkit-fua-filter.so memory 64M": "expected no fua filter",
		"memory 64M -U /s":                           `got "-U"`,
		"memory 64M --unix=/s":                       `got "--unix=/s"`,
		"-P/p memory 64M":                            `got "-P/p"`,
		"--run 'nbdinfo $uri' memory 1":              `got "--run"`,
		"-s memory 1":                                `got "-s"`,
		"memory '64M":                                "expected a closing '",
	} {
		if _, err := ParseNbdkit(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestPromisesAreReadFromTheLogFiltersLine(t *testing.T) {
	line := func(write, flush, fua string) []byte {
		return []byte("2026-01-01 00:00:00.000000 Ready thread_model=3\n2026-01-01 00:00:00.000000 connection=1 Connect export=\"\" tls=0 size=0x4000000 minsize=0x0 prefsize=0x0 maxsize=0x0 write=" +
			write + " flush=" + flush + " rotational=0 trim=1 zero=2 fua=" + fua + " extents=1 cache=2 fast_zero=1\n")
	}
	for fua, want := range map[string]FUA{"0": FUANone, "1": FUAEmulate, "2": FUANative, "3": FUAEmulate} {
		if p, err := ReadPromises(line("1", "0", fua)); err != nil || p != (Promises{CanWrite: true, FUA: want}) {
			t.Errorf("fua=%s: %+v, %v", fua, p, err)
		}
	}
	if p, err := ReadPromises(line("0", "1", "0")); err != nil || p != (Promises{CanFlush: true}) {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := ReadPromises([]byte("2026 Ready thread_model=3\n")); err == nil {
		t.Errorf("without the line: %+v", p)
	}
}

// What nbdkit would serve as something else is not that strategy.
func TestAStrategyNeedsWhatItMeans(t *testing.T) {
	refused := func(p Promises) (out []string) {
		for _, s := range NbdkitStrategies() {
			if p.Cannot(s) != "" {
				out = append(out, s)
			}
		}
		return out
	}
	for _, c := range []struct {
		p    Promises
		want []string
	}{
		{Promises{true, true, FUANative}, nil},
		{Promises{true, false, FUANative}, []string{"emulate"}},
		{Promises{true, true, FUAEmulate}, []string{"native", "force"}},
		{Promises{true, true, FUANone}, []string{"native", "force"}},
		{Promises{true, false, FUANone}, []string{"native", "emulate", "force"}},
		{Promises{false, true, FUANone}, []string{"native", "emulate", "force"}},
	} {
		if got := refused(c.p); !slices.Equal(got, c.want) {
			t.Errorf("%+v refuses %v, want %v", c.p, got, c.want)
		}
	}
}

func TestACommandServesWhatItCanBeAskedFor(t *testing.T) {
	for text, want := range map[string]string{
		"serve $unixsocket":                             "pass none none-grouped none-unsafe",
		"serve ${unixsocket} $strategyx \\$fuamod":      "pass none none-grouped none-unsafe",
		`serve "$unixsocket" --mode ${fuamode:-none}`:   "pass none none-grouped none-unsafe native emulate force discard",
		`serve $unixsocket "$strategy" $fuamode`:        "pass none none-grouped none-unsafe native emulate emulate-grouped force discard",
		"case ${strategy} in *) serve $unixsocket;esac": "pass none none-grouped none-unsafe native emulate emulate-grouped force discard",
	} {
		c, err := ParseCommand(text)
		if err != nil || strings.Join(c.Strategies(), " ") != want {
			t.Errorf("%q: %v, %v, want %s", text, c, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                      "expected a shell command that uses $unixsocket",
		"serve $unixsockets":    "expected a shell command that uses $unixsocket",
		"serve $unixsocket\x00": "expected text without NUL",
	} {
		if _, err := ParseCommand(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestACommandGetsItsVariables(t *testing.T) {
	c, err := ParseCommand("serve $unixsocket $strategy")
	if err != nil {
		t.Fatal(err)
	}
	for strategy, mode := range map[string]string{
		"native": "native", "emulate": "emulate", "force": "force", "discard": "discard", "pass": "pass",
		"none": "none", "none-unsafe": "none", "none-grouped": "none", "emulate-grouped": "",
	} {
		want := []string{"unixsocket=/s", "strategy=" + strategy, "fuamode=" + mode}
		if got := c.Server(strategy).env("/s"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", strategy, got, want)
		}
	}
}
