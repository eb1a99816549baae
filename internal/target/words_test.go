package target

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSplitQuotesAsAShellDoesAndExpandsNothing(t *testing.T) {
	for text, want := range map[string][]string{
		"":                           nil,
		" \t\n":                      nil,
		"file ./disk.img":            {"file", "./disk.img"},
		" a\tb\nc ":                  {"a", "b", "c"},
		`eval get_size='echo 64M'`:   {"eval", "get_size=echo 64M"},
		`a"b c"'d e'f\ g`:            {"ab cd ef g"},
		`'' "" a`:                    {"", "", "a"},
		`"\"\\\$\x"`:                 {`"\$\x`},
		`'\'`:                        {`\`},
		"a\\\nb \"c\\\nd\"":          {"ab", "cd"},
		"$HOME ~ *.img; # `x` | > y": {"$HOME", "~", "*.img;", "#", "`x`", "|", ">", "y"},
		`"$HOME"`:                    {"$HOME"},
		"\xff\u00e9":                 {"\xff\u00e9"},
	} {
		if got, err := Split(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestSplitRefusesWhatIsNotFinishedOrTooLong(t *testing.T) {
	for text, want := range map[string]string{
		"a 'b":                         "expected a closing '",
		`a "b\"`:                       `expected a closing "`,
		`a \`:                          `expected a character after the last \`,
		"a\x00b":                       "expected text without NUL",
		strings.Repeat("a", MaxText+1): "expected at most 16384 bytes, got 16385",
		strings.Repeat("a ", 600):      "expected at most 512 words, got 600",
	} {
		if got, err := Split(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// The shell itself is the judge of texts without what it would expand.
func TestSplitSplitsAsTheShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab=. \t\n'\"\\")), 0, 24, -1).Draw(r, "text")
		got, err := Split(text)
		if err != nil {
			return // the shell waits for more, or takes a last \ for itself
		}
		text = strings.TrimLeft(text, " \t\n") // a line break would end the command
		if strings.Contains(unquoted(text), "\n") {
			return
		}
		var stderr bytes.Buffer
		c := exec.Command(sh, "-c", "for word in "+text+"\ndo printf '%s\\0' \"$word\"; done")
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			r.Fatalf("sh: %v: %s", err, &stderr)
		}
		want := strings.Split(string(out), "\x00")
		if want = want[:len(want)-1]; !slices.Equal(got, want) {
			r.Fatalf("got %q, the shell %q", got, want)
		}
	})
}

// unquoted is text without what is quoted in it.
func unquoted(text string) string {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
