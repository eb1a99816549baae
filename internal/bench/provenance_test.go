package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/nbd"
	"nbdbench/sim"
	"nbdbench/workloads"
)

func TestARunAgainstATargetRecordsTheTarget(t *testing.T) {
	p := plan("hdd-7200-wt", "sync-4k", "pass")
	cells, err := p.Cells()
	if err != nil {
		t.Fatal(err)
	}
	s, err := listen(t.Context(), &p, &cells[0], sim.Seed(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	p = Default()
	p.UseTarget(s.uri.String())
	p.Workloads, p.Strategies, p.Runs, p.Commits, p.Duration = []workloads.Ref{{Name: "sync-4k"}}, []string{"pass"}, 1, 10, 0
	doc := mustRun(t, p)
	target := doc.Host.Target
	if target == nil || target.URI != s.uri.String() || target.Size != 2e12 {
		t.Fatalf("target %+v", target)
	}
	for _, flag := range []string{"HAS_FLAGS", "SEND_FLUSH", "SEND_FUA", "ROTATIONAL", "CAN_MULTI_CONN"} {
		if !slices.Contains(target.Flags, flag) {
			t.Errorf("%v has no %s", target.Flags, flag)
		}
	}
	if doc.Host.LoadBefore == nil || doc.Host.LoadAfter == nil {
		t.Error("no load average")
	}
	if len(doc.Devices) > 0 || doc.Workloads["sync-4k"] == nil {
		t.Errorf("devices %v, workloads %v", doc.Devices, doc.Workloads)
	}
}

func TestFlagsAreNamedInTheOrderOfTheirBits(t *testing.T) {
	got := flagNames(nbd.SendFUA | nbd.HasFlags | nbd.SendFastZero | 1<<15)
	if want := []string{"HAS_FLAGS", "SEND_FUA", "SEND_FAST_ZERO", "0x8000"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestADocumentHasNoPassword(t *testing.T) {
	for uri, want := range map[string]string{
		"nbds://alice:secret@host:1/x":   "nbds://host:1/x",
		"nbd://host/a%20b":               "nbd://host/a%20b",
		"nbd+unix:///?socket=/tmp/a%2Bb": "nbd+unix:///?socket=/tmp/a%2Bb",
	} {
		p := Plan{Target: uri}
		text, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if got := withoutPassword(uri); got != want || p.Target != uri {
			t.Errorf("%s: got %s, want %s", uri, got, want)
		}
		if strings.Contains(string(text), "secret") {
			t.Errorf("the plan has it: %s", text)
		}
	}
}

// Every parameter that a plan's cells are run with is in the document, by the name in
// their ids, whatever the load.
func TestADocumentHasTheProfilesOfItsCells(t *testing.T) {
	p := plan("nvme-990pro ram", "", "native")
	p.Workloads = []workloads.Ref{{Name: "wal"}, {Name: "wal", Override: workloads.Override{QueueDepth: 4}}}
	p.Commits = 20
	doc := mustRun(t, p)
	for _, name := range []string{"nvme-990pro", "ram"} {
		if s := doc.Devices[name]; s == nil || s.From != "" {
			t.Errorf("device %s: %+v", name, s)
		}
	}
	a, b := doc.Workloads["wal"], doc.Workloads["wal@4"]
	if a == nil || b == nil || a.Digest != b.Digest {
		t.Errorf("the pattern of one workload under two loads: %v and %v", a, b)
	}
	if c := cellOf(t, doc, "nvme-990pro/wal@4/native"); c.Workload != "wal@4" {
		t.Errorf("called %s", c.Workload)
	}
}

// TestATargetLeavesTheStrategiesOfAFile: its own are a default.
func TestATargetLeavesTheStrategiesOfAFile(t *testing.T) {
	for text, want := range map[string]string{"workloads: [sync-4k]\nstrategies: [none]\n": "[none]", "workloads: [sync-4k]\n": "[pass none none-unsafe]"} {
		file := filepath.Join(t.TempDir(), "plan.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		p.UseTarget("nbd://localhost")
		if got := fmt.Sprint(p.Strategies); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
