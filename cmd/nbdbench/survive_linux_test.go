package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	surviveCuts = flag.Int("survive.cuts", 0, "power cuts under each preset of torture, for docs/SURVIVAL.md; 0 is none")
	surviveApps = flag.String("survive.apps", "", "only these presets, separated by commas; the others' rows stay")
)

// manyCuts is how many times as many cuts sqlite and postgres have with safe settings.
const manyCuts = 10

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
	rows := map[string][]string{} // by app
	for _, s := range survivals() {
		if *surviveApps != "" && !slices.Contains(strings.Split(*surviveApps, ","), s.app) {
			continue
		}
		cuts := *surviveCuts
		switch {
		case !s.safe:
			cuts = min(cuts, 10)
		case s.app == "sqlite" || s.app == "postgres":
			cuts *= manyCuts
		}
		args := append([]string{"--app", s.app, "--device", s.device, "--cuts", fmt.Sprint(cuts)}, s.args...)
		command := "nbdbench torture " + strings.Join(args, " ")
		cell, code := tortured(t, append(args, "--size", "1GiB", "--reduce", "0", "--keep", filepath.Join(t.TempDir(), "kept"))...)
		t.Logf("%s: exit %d, %+v", command, code, *cell)
		if found := code == exitDeviation; found == s.safe || s.safe && cell.Acks == 0 || cell.Cuts != cuts {
			t.Errorf("%s: exit %d, %+v", command, code, cell)
		}
		rows[s.app] = append(rows[s.app], fmt.Sprintf("| `%s` | %d | %d | %d | %d | %d | %d | %d |", command, cell.Cuts, cell.Kept, cell.Lost, cell.Corrupt, cell.Unmountable, cell.Acks, cell.AcksLost))
	}
	if *update {
		writeSurvival(t, rows)
	}
}

// survivalHead is the head of the table.
const survivalHead = "| command | cuts | kept | lost | corrupt | unmountable | acknowledged | most lost |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"

// writeSurvival puts the rows of each preset into the table of docs/SURVIVAL.md, in place
// of those that are there.
func writeSurvival(t *testing.T, rows map[string][]string) {
	t.Helper()
	const path, begin, end = "../../docs/SURVIVAL.md", "<!-- begin: make survive -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table of survivals", path)
	}
	table, seen := survivalHead, map[string]bool{}
	for _, s := range survivals() {
		if seen[s.app] {
			continue
		}
		seen[s.app] = true
		if rows[s.app] != nil {
			table += strings.Join(rows[s.app], "\n") + "\n"
			continue
		}
		for line := range strings.Lines(old) {
			if strings.Contains(line, "--app "+s.app+" ") {
				table += line
			}
		}
	}
	if err := os.WriteFile(path, []byte(head+begin+"\n"+table+"\n"+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
