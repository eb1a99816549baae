package workloads

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"nbdbench/devices"
	"nbdbench/internal/capture"
	"nbdbench/sim"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/WORKLOADS.md")

// counted is how many commits of a profile are counted.
const counted = 250

// known are the counts of profiles that were run before: no test here is parallel.
var known = map[string]PerCommit{}

// counts runs the profile with one transaction at a time and nothing beside it, and
// returns what a commit requests, on average.
func counts(t *testing.T, p Profile) PerCommit {
	t.Helper()
	if known, ok := known[p.Name]; ok {
		return known
	}
	p.QueueDepth, p.Between = 0, nil
	if len(p.Streams) > 0 {
		var only []Stream
		for _, s := range p.Streams {
			if s.Commits() {
				s.QueueDepth, s.Count, s.Between = 1, 1, nil
				only = append(only, s)
			}
		}
		p.Streams = only
	}
	o, _ := run(t, newFake(sim.NewLoop(), us), Config{Profile: p, Seed: 1, Commits: counted})
	if len(o.commits) != counted {
		t.Errorf("%s: %d commits", p.Name, len(o.commits))
	}
	var got PerCommit
	for i := range o.submits {
		r := &o.submits[i]
		switch {
		case r.Op == devices.OpFlush:
			got.Flushes++
		case r.Durable():
			got.FUAs++
		}
		if r.Op == devices.OpWrite {
			got.Bytes += r.Length
		}
	}
	known[p.Name] = PerCommit{got.Flushes / counted, got.FUAs / counted, got.Bytes / counted}
	return known[p.Name]
}

// differ reports whether a and b are more than so much apart.
func differ(a, b, by float64) bool { return math.Abs(a-b) > by }

// unstated are profiles that say nothing per commit: run.json of the default run has
// them, and a commit of theirs is one write with FUA.
var unstated = []string{"sync-4k", "wal", "wal-noisy"}

func TestACommitRequestsWhatItsProfileStates(t *testing.T) {
	for _, name := range List() {
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.PerCommit == nil {
			if p.HasCommits() && !slices.Contains(unstated, name) {
				t.Errorf("%s states no per_commit", name)
			}
			continue
		}
		got, want := counts(t, p), *p.PerCommit
		if differ(got.Flushes, want.Flushes, 0) || differ(got.FUAs, want.FUAs, 0.01) || differ(float64(got.Bytes), float64(want.Bytes), 0.01*float64(want.Bytes)) {
			t.Errorf("%s: a commit is %+v, its profile states %+v", name, got, want)
		}
	}
}

// captured is the capture of a program that a profile is held against, or nil.
func captured(t *testing.T, name string) *capture.Capture {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "captures", name+".txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := capture.Read(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// otherBytes are captures of which the bytes differ from the profile's, and why.
var otherBytes = map[string]string{
	"xfs-log": "16 KiB of data were written for 8 on Linux 6.1 (KERNEL.md), 8 on 6.18",
}

// TestProfilesAreWhatWasCaptured: the same flushes and writes with FUA for a commit within
// a twentieth of one, since files grow now and then, and bytes within a tenth.
func TestProfilesAreWhatWasCaptured(t *testing.T) {
	n := 0
	for _, name := range List() {
		c := captured(t, name)
		if c == nil {
			continue
		}
		n++
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		got := counts(t, p)
		flushes, fuas, bytes := c.Rate(c.Flushes), c.Rate(c.FUAs), c.Rate(c.Bytes)
		if differ(got.Flushes, flushes, 0.05) || differ(got.FUAs, fuas, 0.05) {
			t.Errorf("%s: %.2f FLUSH and %.2f writes with FUA for a commit, captured %.2f and %.2f", name, got.Flushes, got.FUAs, flushes, fuas)
		}
		if differ(float64(got.Bytes), bytes, 0.1*bytes) != (otherBytes[name] != "") {
			t.Errorf("%s: %d bytes for a commit, captured %.0f", name, got.Bytes, bytes)
		}
	}
	if n < 15 {
		t.Errorf("%d captures", n)
	}
}

// TestTheTableOfCommitsIsCurrent holds the table of docs/WORKLOADS.md against profiles and
// captures.
func TestTheTableOfCommitsIsCurrent(t *testing.T) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "profile\tFLUSH\tFUA\tKiB\tcaptured: FLUSH\tFUA\tKiB\tof, or the source")
	for _, name := range List() {
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if !p.HasCommits() {
			continue
		}
		got := counts(t, p)
		fmt.Fprintf(w, "%s\t%.3g\t%.3g\t%.1f\t", name, got.Flushes, got.FUAs, float64(got.Bytes)/1024)
		if c := captured(t, name); c != nil {
			fmt.Fprintf(w, "%.3g\t%.3g\t%.1f\t%s\n", c.Rate(c.Flushes), c.Rate(c.FUAs), c.Rate(c.Bytes)/1024, of(c))
		} else {
			fmt.Fprintf(w, "-\t-\t-\t%s\n", origin(p.Source))
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	holdBlock(t, "commits", strings.Join(lines, "\n")+"\n")
}

// origin is the beginning of a profile's source.
func origin(source string) string {
	text, _, _ := strings.Cut(source, ";")
	text, _, _ = strings.Cut(text, " (")
	if name, _, ok := strings.Cut(text, ": "); ok {
		text = name
	}
	return text
}

// of is what was captured, and where.
func of(c *capture.Capture) string {
	system, rest, _ := strings.Cut(c.On, " ")
	_, kernel, _ := strings.Cut(rest, "of Linux ")
	var version [2]int
	if _, err := fmt.Sscanf(kernel, "%d.%d", &version[0], &version[1]); err != nil {
		return c.On
	}
	text := fmt.Sprintf("%s, Linux %d.%d", system, version[0], version[1])
	if c.Program != "no program" {
		program, _, _ := strings.Cut(c.Program, "-")
		program, _, _ = strings.Cut(program, ",")
		text = program + ", " + text
	}
	return text
}

// holdBlock holds a block of docs/WORKLOADS.md against what it should say.
func holdBlock(t *testing.T, name, want string) {
	t.Helper()
	const file = "../docs/WORKLOADS.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin := "<!-- generated: " + name + " -->\n```\n"
	before, rest, ok := strings.Cut(string(doc), begin)
	got, after, closed := strings.Cut(rest, "```\n")
	switch {
	case !ok || !closed:
		t.Errorf("%s has no block %q for\n%s", file, strings.TrimSpace(begin), want)
	case got == want:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+want+"```\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: %s says\n%s\nexpected\n%s", file, name, got, want)
	}
}
