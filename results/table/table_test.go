package table

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMarkdownEscapesBars(t *testing.T) {
	small := &Table{Columns: []Column{{Title: "a|b", Place: InPage}}, Rows: []Row{{Values: []Value{{Text: "x|y<z"}}}}}
	if got := written(t, small.Markdown); got != "\n| a\\|b |\n| --- |\n| x\\|y&lt;z |\n" {
		t.Errorf("got %q", got)
	}
}

func TestWrapIndentsWhatFollows(t *testing.T) {
	if got := wrap("one two three", 8, " "); !slices.Equal(got, []string{"one two", " three"}) {
		t.Errorf("got %q", got)
	}
}

// TestNarrowTablesShortenThenDropColumns: in the order of Drop, and never one of
// Drop 0.
func TestNarrowTablesShortenThenDropColumns(t *testing.T) {
	wide := func() *Table {
		return &Table{
			Columns: []Column{
				{Title: "strategy", Place: InText},
				{Title: "by", Shorten: 1, Cut: ":,", Place: InText},
				{Title: "second", Drop: 3, Place: InText},
				{Title: "first", Drop: 2, Place: InText},
			},
			Rows: []Row{{Values: []Value{{Text: "native"}, {Text: "device: that write"}, {Text: "2"}, {Text: "1"}}}},
		}
	}
	for _, c := range []struct {
		width int
		want  string
	}{
		{60, "strategy by second first device: that write"},
		{36, "strategy by second first device"},
		{26, "strategy by second device"},
		{20, "strategy by device"},
	} {
		got := written(t, func(w io.Writer) error { return wide().Text(w, c.width) })
		for _, word := range []string{"second", "first", ": that write"} {
			if strings.Contains(got, word) != strings.Contains(c.want, word) {
				t.Errorf("width %d: %q is wrong in\n%s", c.width, word, got)
			}
		}
	}
}

// TestRemoveTakesTheValuesToo.
func TestRemoveTakesTheValuesToo(t *testing.T) {
	x := &Table{Columns: []Column{{Key: "a"}, {Key: "b"}}, Rows: []Row{{Values: []Value{{Text: "1"}, {Text: "2"}}}}}
	x.Remove("a")
	if len(x.Columns) != 1 || x.Columns[0].Key != "b" || len(x.Rows[0].Values) != 1 || x.Rows[0].Values[0].Text != "2" {
		t.Errorf("got %+v", x)
	}
}

func ExampleTable_Text() {
	t := &Table{
		Columns: []Column{{Title: "device", Place: InText}, {Title: "p99", Right: true, Place: InText}},
		Rows: []Row{
			{Group: "wal", Values: []Value{{Text: "disk"}, {Text: "12.5 ms"}}},
			{Group: "wal", Values: []Value{{Text: "flash"}, {Text: "940 µs"}}},
		},
		Notes: []string{"One run."},
	}
	if err := t.Text(os.Stdout, 40); err != nil {
		fmt.Println(err)
	}
	// Output:
	// device      p99
	// ───────────────
	// wal
	// disk    12.5 ms
	// flash    940 µs
	//
	// One run.
}
