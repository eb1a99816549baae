package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/internal/fiojob"
	"nbdbench/workloads"
)

// A workload that is exported and imported again asks for the same, and fio reads
// the job.
func TestExportedJobsComeBack(t *testing.T) {
	_, noFio := exec.LookPath("fio")
	for _, c := range []struct{ load, want string }{
		{"transaction: [{op: write, size: 4k, durable: true, pattern: random}]\n", "{op: write, durable: true, size: 4KiB, pattern: random}"},
		{"transaction: [{op: write, size: 4MiB, count: 32}, {op: flush}]\n", "{op: write, size: 4MiB, count: 32, pattern: sequential}\n        - {op: flush}"},
		{"queue_depth: 16\ntransaction: [{op: mix, mix: {read: 60, write: 40}, size: 8k, pattern: random}]\n", "{op: mix, mix: {read: 60, write: 40}, size: 8KiB, pattern: random}"},
		{"arrival: poisson\nrate: 2000/s\ntransaction: [{op: read, size: 4k, pattern: zipf, theta: 0.9}]\n", "arrival: poisson\n      rate: 2000/s"},
		{"think: 2ms\ntransaction: [{op: read, split: [{size: 4k, weight: 10}, {size: 64k, weight: 90}], pattern: random}]\n", "think: 2ms"},
		{"transaction: [{op: write, size: 4k, pattern: stride, stride: 32k, region: r}]\nregions: [{name: r, offset: 1MiB, size: 1GiB}]\n", "pattern: stride, stride: 32KiB"},
		{"transaction: [{op: read, size: 4k, pattern: zoned}]\n", "zones: [{percent: 20, weight: 80}, {percent: 80, weight: 20}]"},
		{"streams:\n  - {name: a, count: 4, transactions: 8, transaction: [{op: read, size: 4k, pattern: shuffled}]}\n  - {name: b, transactions: 8, transaction: [{op: trim, size: 64k}]}\nphases: [{streams: [a]}, {streams: [b]}]\n", `phases:
        - streams: ["a"]
        - streams: ["b"]`},
	} {
		p, err := workloads.Parse("p", []byte("name: x\n"+c.load))
		if err != nil {
			t.Fatal(err)
		}
		text, err := fioJob(&p, "/dev/nbd0", 10e9)
		if err != nil {
			t.Errorf("%s: %v", c.load, err)
			continue
		}
		job := filepath.Join(t.TempDir(), "job.fio")
		if err := os.WriteFile(job, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := fiojob.Reader{Open: os.ReadFile}.Read(job)
		if err != nil {
			t.Fatal(err)
		}
		m := fiojob.Map(file)
		if m.Refused() != nil || !strings.Contains(m.Plan(), c.want) {
			t.Errorf("got %v\n%s\n%s\nwant %s", m.Refused(), text, m.Plan(), c.want)
		}
		if noFio != nil {
			continue
		}
		if out, err := exec.Command("fio", "--parse-only", job).CombinedOutput(); err != nil || strings.Contains(string(out), "failed") {
			t.Errorf("fio: %v %s\n%s", err, out, text)
		}
	}
}

func TestWhatFioCannotDoIsNotExported(t *testing.T) {
	for _, c := range []struct{ load, target, want string }{
		{"transaction: [{op: write, size: 4k, durable: true}]\n", "nbd://localhost", "transaction[0].durable: expected false, or a block device"},
		{"queue_depth: 4\ntransaction: [{op: write, size: 4k}, {op: flush}]\n", "/dev/x", "queue_depth: expected 1 with a flush"},
		{"transaction: [{op: write, size: 4k}, {op: flush}, {op: write, size: 4k}]\n", "/dev/x", "transaction: expected one step"},
		{"transaction: [{op: write, size: 4k}]\nbetween: [{op: flush}]\n", "/dev/x", "between: expected none"},
		{"transaction: [{op: write, size: 4k, record: 100, pattern: append}]\n", "/dev/x", "pattern: expected one that fio has"},
		{"arrival: bursts\nrate: 5/s\non: 1s\noff: 1s\ntransaction: [{op: read, size: 4k}]\n", "/dev/x", "arrival: expected closed, constant or poisson"},
	} {
		p, err := workloads.Parse("p", []byte("name: x\n"+c.load))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fioJob(&p, c.target, 10e9); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.load, err, c.want)
		}
	}
}
