package workloads

import (
	"fmt"
	"strings"
	"testing"
)

func timelineOf(t *testing.T, yaml string) *Timeline {
	t.Helper()
	p := profile(t, yaml)
	line, err := p.Timeline()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestATimelineShowsWhoWaitsForWhichGroup(t *testing.T) {
	const yaml = `
regions: [{name: data, size: 1m}, {name: redo, offset: 1m, size: 1m}, {name: binlog, offset: 2m, size: 1m}]
logs: {redo: {region: redo, delay: 1ms}, binlog: {region: binlog, finish: fua}}
streams:
  - {name: readers, transaction: [{op: read, size: 4k, region: data}]}
  - name: clients
    arrival: poisson
    rate: 10/s
    queue_depth: 2
    transaction: [{op: read, size: 4k, count: 2, region: data}, {op: commit, log: redo, record: 300}, {op: commit, log: binlog, record: 300}]
`
	got := timelineOf(t, yaml)
	// Commits 1 and 2 read, one request after the other. Then 1 has a group of the redo
	// log of its own, and 2 waits for the next.
	want := `  commit 1  2 times read of 4KiB, data  ████████
  commit 2  2 times read of 4KiB, data  ████████
  commit 1  waits for redo                      ████████
`
	want = strings.ReplaceAll(want, "redo                      ████████", "redo                      ········") +
		`  commit 2  waits for redo                      ················
  redo      write of 4KiB                       ████                  for 1
  redo      flush                                   ▒▒▒▒
  commit 1  waits for binlog                            ····
  redo      write of 4KiB                               ████          for 2
  binlog    write with FUA of 4KiB                      ▓▓▓▓          for 1
  redo      flush                                           ▒▒▒▒
  commit 2  waits for binlog                                    ····
  binlog    write with FUA of 4KiB                              ▓▓▓▓  for 2
`
	if lines := squeeze(got.String()); lines != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got.Word != "commit" || fmt.Sprint(got.Done) != "[5 7]" || got.Moments != 7 {
		t.Errorf("%s: done %v of %d", got.Word, got.Done, got.Moments)
	}
}

// squeeze makes each run of blanks one, and each mark one: the scale is not compared.
func squeeze(text string) string {
	for _, mark := range []string{" ", "█", "▓", "▒", "·"} {
		for strings.Contains(text, mark+mark) {
			text = strings.ReplaceAll(text, mark+mark, mark)
		}
	}
	return text
}

func TestATimelineIsBounded(t *testing.T) {
	got := timelineOf(t, "transaction: ["+strings.TrimSuffix(strings.Repeat("{op: write, size: 512, durable: true}, ", 256), ", ")+"]\nqueue_depth: 16384\n")
	if len(got.Spans) != MaxSpans || got.Left != 256-MaxSpans || got.Moments != 256 {
		t.Errorf("%d spans, %d left out, %d moments", len(got.Spans), got.Left, got.Moments)
	}
	for line := range strings.Lines(got.String()) {
		if len([]rune(line)) > 300 {
			t.Errorf("a line of %d", len([]rune(line)))
		}
	}
	if p := profile(t, "transaction: [{op: read, size: 512}]\n"); !strings.Contains(p.Describe(), "transaction 1  read of 512") {
		t.Errorf("got\n%s", p.Describe())
	}
}

func TestEveryShippedProfileHasATimeline(t *testing.T) {
	for _, name := range List() {
		p, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		line, err := p.Timeline()
		if err != nil || line == nil || len(line.Spans) == 0 || line.Left > 0 {
			t.Errorf("%s: %+v, %v", name, line, err)
			continue
		}
		for row := range strings.Lines(line.String()) {
			if n := len([]rune(strings.TrimRight(row, "\n"))); n > 90 {
				t.Errorf("%s: %d columns: %s", name, n, row)
			}
		}
		for i, s := range line.Spans {
			if s.End <= s.Begin || s.End > line.Moments || s.Who == "" || s.What == "" {
				t.Errorf("%s: span %d is %+v of %d", name, i, s, line.Moments)
			}
		}
	}
}
