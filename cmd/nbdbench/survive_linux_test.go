package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var surviveCuts = flag.Int("survive.cuts", 0, "power cuts under each preset of torture, for docs/SURVIVAL.md; 0 is none")

// survival is a preset under one setting, on one drive.
type survival struct {
	app, device string
	args        []string
	safe        bool // must keep all; else something must be found
}

// survivals are the rows of docs/SURVIVAL.md.
func survivals() (rows []survival) {
	for _, c := range []struct {
		app    string
		unsafe []string
	}{
		{"sqlite", []string{"--set", "synchronous=NORMAL"}},
		{"postgres", []string{"--set", "synchronous_commit=off"}},
		{"mariadb", []string{"--set", "flush_log_at_trx_commit=2"}},
		{"etcd", []string{"--strategy", "none-unsafe"}},
		{"redis", []string{"--set", "appendfsync=everysec"}},
		{"rocksdb", []string{"--set", "sync=off"}},
		{"lmdb", []string{"--set", "sync=off"}},
	} {
		rows = append(rows,
			survival{c.app, "nvme-990pro", nil, true}, survival{c.app, "adversary", nil, true},
			survival{c.app, "adversary", c.unsafe, false}, survival{c.app, "lying", []string{"--image", "worst"}, false})
	}
	return rows
}

// TestPresetsSurvive runs every preset under a safe setting, of which nothing may be lost,
// and under an unsafe one and on a drive that lies, where something must be found.
func TestPresetsSurvive(t *testing.T) {
	if *surviveCuts == 0 {
		t.Skip("make survive runs it")
	}
	needsTorture(t, "python3", "psql", "mariadbd", "etcd", "redis-server", "db_bench")
	table := []string{"| command | cuts | kept | lost | corrupt | unmountable | acknowledged | most lost |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"}
	for _, s := range survivals() {
		cuts := *surviveCuts
		if !s.safe {
			cuts = min(cuts, 10)
		}
		args := append([]string{"--app", s.app, "--device", s.device, "--cuts", fmt.Sprint(cuts)}, s.args...)
		command := "nbdbench torture " + strings.Join(args, " ")
		cell, code := tortured(t, append(args, "--size", "1GiB", "--keep", filepath.Join(t.TempDir(), "kept"))...)
		t.Logf("%s: exit %d, %+v", command, code, *cell)
		if found := code == exitDeviation; found == s.safe || s.safe && cell.Acks == 0 || cell.Cuts != cuts {
			t.Errorf("%s: exit %d, %+v", command, code, cell)
		}
		table = append(table, fmt.Sprintf("| `%s` | %d | %d | %d | %d | %d | %d | %d |", command, cell.Cuts, cell.Kept, cell.Lost, cell.Corrupt, cell.Unmountable, cell.Acks, cell.AcksLost))
	}
	if *update {
		writeSurvival(t, strings.Join(table, "\n"))
	}
}

// writeSurvival puts the table into docs/SURVIVAL.md.
func writeSurvival(t *testing.T, table string) {
	t.Helper()
	const path, begin, end = "../../docs/SURVIVAL.md", "<!-- begin: make survive -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table of survivals", path)
	}
	if err := os.WriteFile(path, []byte(head+begin+"\n"+table+"\n\n"+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
