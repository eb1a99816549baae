package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// resolution is nbdbench/resolve/v1, as a script reads it.
type resolution struct {
	Schema     string
	FUA        *string
	Advertised struct {
		Flush, FUA, Trim, Zero bool
		ReadOnly               bool `json:"read_only"`
		FastZero               bool `json:"fast_zero"`
		MultiConn              bool `json:"multi_conn"`
	}
	Refused string
	Calls   *struct {
		Write, Flush []string
		WriteFUA     []string `json:"write_fua"`
		ZeroFUA      []string `json:"zero_fua"`
		TrimFUA      []string `json:"trim_fua"`
	}
	Client, Rule string
	Warnings     []string
}

// resolved runs resolve --format json with these words.
func resolved(t *testing.T, words ...string) resolution {
	t.Helper()
	o := invoke(append([]string{"resolve", "--format", "json"}, words...)...)
	var r resolution
	d := json.NewDecoder(strings.NewReader(o.stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || r.Schema != "nbdbench/resolve/v1" {
		t.Fatalf("resolve %q: %v in %s%s", words, err, o.stdout, o.stderr)
	}
	if want := map[bool]int{false: exitOK, true: exitUsage}[r.Refused != ""]; o.code != want {
		t.Errorf("resolve %q: exit %d, want %d", words, o.code, want)
	}
	return r
}

// row is what a golden file has of a resolution, in one line.
func (r *resolution) row() string {
	if r.Refused != "" {
		return "refused: " + r.Refused
	}
	bit := map[bool]int{true: 1}
	c := r.Calls
	return fmt.Sprintf("FLUSH=%d FUA=%d %s: write %v, write_fua %v, zero_fua %v, trim_fua %v, flush %v",
		bit[r.Advertised.Flush], bit[r.Advertised.FUA], *r.FUA, c.Write, c.WriteFUA, c.ZeroFUA, c.TrimFUA, c.Flush)
}

// The rows of what a plugin without the fua filter comes to, by their numbers.
// .trim and .zero exist, as the columns ask.
var pluginRows = []struct{ row, declares string }{
	{"1", ""},
	{"2", "--flush"},
	{"2", "--api 1 --flush"},
	{"2", "--flush --can-flush yes"},
	{"3", "--flush --can-flush no"},
	{"4", "--can-flush yes"},
	{"5", "--can-fua none"},
	{"5", "--can-fua none --flush"},
	{"5", "--can-fua none --flush --can-flush no"},
	{"6", "--can-fua emulate --flush"},
	{"6", "--can-fua emulate --flush --can-flush no"},
	{"7", "--can-fua emulate"},
	{"8", "--can-fua native"},
	{"8", "--can-fua native --flush"},
	{"9", "--api 1 --can-fua native --flush"},
	{"10", "--api 1 --can-fua native"},
	{"11", "--can-fua other --flush"},
	{"12", "--can-fua error --flush"},
	{"12", "--can-flush error --flush"},
	{"12", "--can-fua error --flush --read-only"},
	{"12", "--can-flush error --flush --read-only"},
	{"13", "--can-fua native --flush --read-only"},
	{"13", "--can-fua native --read-only"},
}

// The columns of what the filter makes of a plugin.
var filterColumns = []struct{ column, declares string }{
	{"P=NONE,F=0", "--can-fua none"},
	{"P=NONE,F=1", "--can-fua none --flush"},
	{"P=EMULATE,F=1", "--can-fua emulate --flush"},
	{"P=EMULATE,F=0", "--can-fua emulate --flush --can-flush no"},
	{"P=NATIVE,F=1", "--can-fua native --flush"},
	{"P=NATIVE,F=0", "--can-fua native --flush --can-flush no"},
}

func TestResolveReproducesTheDecisionTable(t *testing.T) {
	var b strings.Builder
	line := func(name, declares string) {
		r := resolved(t, strings.Fields(declares)...)
		fmt.Fprintf(&b, "%-14s resolve %s\n    %s\n    %s\n", name, declares, r.row(), r.Rule)
		for _, w := range r.Warnings {
			fmt.Fprintf(&b, "    warning: %s\n", w)
		}
		if r.Refused == "" {
			fmt.Fprintf(&b, "    durable: %s\n", r.Client)
		}
	}
	b.WriteString("# A plugin, without the fua filter\n")
	for _, r := range pluginRows {
		line("row "+r.row, strings.TrimSpace("--trim --zero "+r.declares))
	}
	b.WriteString("\n# The fua filter over it\n")
	for _, mode := range []string{"none", "emulate", "native", "force", "pass", "discard"} {
		for _, c := range filterColumns {
			line(c.column, "--fuamode "+mode+" --trim --zero "+c.declares)
		}
	}
	b.WriteString("\n# The filter over a read-only connection\n")
	for _, mode := range []string{"none", "emulate", "native", "force", "pass", "discard"} {
		line(mode, "--fuamode "+mode+" --can-fua none --read-only")
	}
	b.WriteString("\n# WRITE_ZEROES with FUA, of one chunk\n")
	for _, zero := range []string{"--zero", "--zero --can-zero yes", "--can-zero yes", "--zero --can-zero no", "", "--zero --can-zero error"} {
		line("NATIVE", strings.TrimSpace("--flush --can-fua native "+zero))
		line("EMULATE", strings.TrimSpace("--flush --can-fua emulate "+zero))
	}
	b.WriteString("\n# TRIM\n")
	for _, trim := range []string{"", "--trim", "--trim --can-trim no", "--can-trim yes", "--can-trim error"} {
		line("EMULATE", strings.TrimSpace("--flush "+trim))
	}
	golden(t, "resolve.txt", b.String())
}

func TestResolveEmulateWithoutFlushEndsInAnErrno(t *testing.T) {
	r := resolved(t, "--can-fua", "emulate")
	if got := fmt.Sprintf("%q", r.Calls.WriteFUA); got != `["pwrite" "EINVAL"]` {
		t.Errorf("write_fua %s", got)
	}
	if len(r.Warnings) == 0 || !strings.Contains(r.Warnings[0], "EMULATE needs .flush") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestResolveOfWhatIsRefusedPrintsJSON(t *testing.T) {
	for words, want := range map[string]string{
		"--can-fua error":                   "can_fua failed",
		"--can-flush error":                 "can_flush failed",
		"--can-trim error":                  "can_trim failed",
		"--can-zero error":                  "can_zero failed",
		"--fuamode emulate":                 "fuamode emulate requires a backend that can flush",
		"--fuamode native":                  "fuamode native requires a backend that can do FUA",
		"--fuamode force --can-fua none":    "fuamode force requires a backend that can do FUA",
		"--read-only --can-flush error":     "can_flush failed",
		"--flush=false --fuamode emulate":   "fuamode emulate requires a backend that can flush",
		"--fuamode emulate --can-flush no ": "fuamode emulate requires a backend that can flush",
	} {
		r := resolved(t, strings.Fields(words)...)
		if r.Refused != want || r.FUA != nil || r.Calls != nil || r.Rule == "" {
			t.Errorf("resolve %s: %+v, want it refused: %s", words, r, want)
		}
		if o := invoke(append([]string{"resolve"}, strings.Fields(words)...)...); o.code != exitUsage || !strings.Contains(o.stdout, want) || !strings.Contains(o.stderr, want) {
			t.Errorf("resolve %s: exit %d, %q, %q", words, o.code, o.stdout, o.stderr)
		}
	}
}

// TestResolveOfALiveServer asks ours for what it advertises.
func TestResolveOfALiveServer(t *testing.T) {
	for strategy, want := range map[string]struct {
		fua    bool
		client string
	}{
		"native": {true, "a WRITE with FUA, or a WRITE and, after its reply, a FLUSH on any connection"},
		"none":   {false, "a WRITE and, after its reply, a FLUSH on any connection"},
	} {
		s := startServe(t, "nvme-990pro", "--size", "1MiB", "--strategy", strategy)
		r := resolved(t, s.uri)
		if a := r.Advertised; a.FUA != want.fua || !a.Flush || !a.Trim || !a.Zero || !a.MultiConn || a.ReadOnly {
			t.Errorf("%s advertises %+v", strategy, a)
		}
		if none := r.FUA != nil && *r.FUA == "none"; none == want.fua || r.FUA != nil && !none || r.Calls != nil {
			t.Errorf("%s: fua %v, calls %v", strategy, r.FUA, r.Calls)
		}
		if r.Client != want.client || r.Rule == "" || r.Refused != "" {
			t.Errorf("%s: %+v", strategy, r)
		}
		if text := must(t, "resolve", s.uri); !strings.Contains(text, "\ndurable      "+want.client) {
			t.Errorf("%s: %s", strategy, text)
		}
		s.stop(t, endings()[0])
	}
}

// TestResolveOfDeclarationsIsWhatNbdkitAdvertises holds declarations against the
// flags of nbdkit with a plugin that declares the same. A script without can_zero
// is like a plugin without .zero.
func TestResolveOfDeclarationsIsWhatNbdkitAdvertises(t *testing.T) {
	if _, err := exec.LookPath("nbdkit"); err != nil {
		t.Skip("nbdkit is not installed")
	}
	const eval = "get_size=echo 1M|pread=head -c $3 /dev/zero|pwrite=cat >/dev/null|"
	image := file(t, "disk", strings.Repeat("x", 1<<20))
	for _, c := range []struct{ nbdkit, declares string }{
		{"eval|" + eval + "can_flush=exit 3|flush=:|can_fua=echo emulate", "--flush --can-flush no --can-fua emulate"},
		{"eval|" + eval + "can_flush=exit 0|flush=:|can_fua=echo native|can_zero=exit 0|zero=:|can_trim=exit 0|trim=:", "--flush --can-fua native --zero --trim"},
		{"split|" + image, ""}, // none of .flush, .trim and .zero
		{"-r|split|" + image, "--read-only"},
		{"--filter=fua|eval|" + eval + "can_flush=exit 0|flush=:|can_fua=echo emulate|fuamode=force", "--flush --can-fua emulate --fuamode force"},
		{"--filter=fua|eval|" + eval + "can_flush=exit 3|can_fua=echo none|fuamode=discard", "--can-flush no --can-fua none --fuamode discard"},
	} {
		socket := filepath.Join(t.TempDir(), "socket")
		words := append([]string{"-f", "-U", socket}, strings.Split(c.nbdkit, "|")...)
		p := exec.Command("nbdkit", words...)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		var live resolution
		for tries := 0; ; tries++ {
			if o := invoke("resolve", "--format", "json", "nbd+unix:///?socket="+socket); o.code == exitOK {
				if err := json.Unmarshal([]byte(o.stdout), &live); err != nil {
					t.Fatal(err)
				}
				break
			} else if tries == 100_000 {
				t.Fatalf("nbdkit %q: %s", words, o.stderr)
			}
		}
		_ = p.Process.Kill()
		_ = p.Wait()
		if got := resolved(t, strings.Fields(c.declares)...).Advertised; got != live.Advertised {
			t.Errorf("nbdkit %s advertises %+v\nresolve %s says %+v", c.nbdkit, live.Advertised, c.declares, got)
		}
	}
}
