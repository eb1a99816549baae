package chart

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func timeline() *Chart {
	return Timeline{
		Title: "What was lost", Moments: []string{"1", "2", "cut"},
		Bars: []Bar{{Label: "write", End: 1}, {Label: "flush", Begin: 1, End: 2, Open: true, Kind: BarFlush}},
	}.Chart("lost")
}

// TestATimelineIsTheSameBytesEachTime in every format.
func TestATimelineIsTheSameBytesEachTime(t *testing.T) {
	for _, format := range Formats {
		var a, b bytes.Buffer
		if err := timeline().Write(&a, format); err != nil {
			t.Fatal(err)
		}
		if err := timeline().Write(&b, format); err != nil {
			t.Fatal(err)
		}
		if a.Len() == 0 || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: %d bytes and %d, not the same", format, a.Len(), b.Len())
		}
	}
}

func TestAnUnknownFormatNamesTheKnownOnes(t *testing.T) {
	err := CheckPath("lost.bmp")
	if err == nil || !strings.Contains(err.Error(), ".svg, .png, .pdf") {
		t.Errorf("got %v", err)
	}
	if err := CheckPath("lost.pdf"); err != nil {
		t.Error(err)
	}
}

// TestBreakTextEndsInAnEllipsis where there are more words than room.
func TestBreakTextEndsInAnEllipsis(t *testing.T) {
	style := Letter(TextSize, Ink)
	lines := BreakText(style, strings.Repeat("word ", 40), 100, 2)
	if len(lines) != 2 || !strings.HasSuffix(lines[1], "…") {
		t.Errorf("got %q", lines)
	}
	if got := BreakText(style, "two words", 100, 2); !slices.Equal(got, []string{"two words"}) {
		t.Errorf("got %q", got)
	}
}
