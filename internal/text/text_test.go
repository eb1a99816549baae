package text

import (
	"strings"
	"testing"
)

func TestWrapBreaksBetweenWords(t *testing.T) {
	long := strings.Repeat("x", Width+5)
	for text, want := range map[string]string{
		"":                          "",
		" one\n\n two ":             "one two",
		"a " + long + " b":          "a\n" + long + "\nb",
		strings.Repeat("word ", 17): strings.Repeat("word ", 15) + "word\nword",
	} {
		if got := Wrap(text); got != want {
			t.Errorf("%q is wrapped to %q, want %q", text, got, want)
		}
	}
}
