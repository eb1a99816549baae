package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/workloads"
)

// captured reads a history of testdata.
func captured(t *testing.T, name string) *history.Log {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log, err := history.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// asked is what a profile's transaction asks for, a line for each step.
func asked(t *testing.T, name string) (lines []string) {
	t.Helper()
	p, err := workloads.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Transaction {
		op := devices.OpWrite
		if s.Op == workloads.ActionFlush {
			op = devices.OpFlush
		}
		line := word(op, s.Durable, uint64(s.Size))
		line = strings.Join(slices.Repeat([]string{line}, int(max(s.Count, 1))), ", ")
		if s.Region != "" {
			line += " in " + s.Region
		}
		lines = append(lines, line)
	}
	return lines
}

// profiles are the workloads that say what a file system asks for.
var profiles = map[string]string{"ext4": "ext4-journal", "xfs": "xfs-log", "btrfs": "btrfs-tree-log"}

// volume sums what is written before the FUA write, and counts the rest.
func volume(lines []string) (plain uint64, flushes, fuas int) {
	for _, line := range lines {
		for w := range strings.SplitSeq(line, ", ") {
			var kib uint64
			switch {
			case strings.HasPrefix(w, "FLUSH"):
				flushes++
			case strings.HasPrefix(w, "WRITE+FUA"):
				fuas++
			default:
				if _, err := fmt.Sscanf(w, "WRITE %dKiB", &kib); err == nil {
					plain += kib << 10
				}
			}
		}
	}
	return plain, flushes, fuas
}

func TestProfilesAskForWhatTheFileSystemsWereSeenToAskFor(t *testing.T) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range fileSystems {
		for _, s := range scenarios {
			log := captured(t, f.name+"-"+s.name+".log")
			fmt.Fprintf(w, "%s: %s\n", f.name, s.what)
			for _, line := range describe(log) {
				fmt.Fprintf(w, "\t%s\n", line)
			}
		}
		profile := asked(t, profiles[f.name])
		fmt.Fprintf(w, "%s: the workload %s\n", f.name, profiles[f.name])
		for _, line := range profile {
			fmt.Fprintf(w, "\t%s\n", line)
		}
		overwrite := captured(t, f.name+"-overwrite.log")
		plain, flushes, fuas := volume(profile)
		seen, seenFlushes, seenFUAs := volume(describe(overwrite))
		if plain != seen || flushes != seenFlushes || fuas != seenFUAs {
			t.Errorf("%s: the profile writes %d bytes, %d FLUSH, %d FUA; the file system %d, %d, %d", f.name, plain, flushes, fuas, seen, seenFlushes, seenFUAs)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	holdDocument(t, "one fsync", b.String())
}

func TestEveryFsyncIsWritesThenAFlushThenOneFUAWrite(t *testing.T) {
	for _, f := range fileSystems {
		for _, s := range scenarios {
			got := skeleton(captured(t, f.name+"-"+s.name+".log"))
			if want := []string{"WRITE", "FLUSH", "WRITE+FUA"}; !slices.Equal(got, want) {
				t.Errorf("%s, %s: %v, want %v", f.name, s.what, got, want)
			}
		}
	}
}
