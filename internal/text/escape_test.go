package text

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

func TestNoControlCharacterIsLeft(t *testing.T) {
	for in, want := range map[string]string{
		"plain, with ümlaut and 日本": "plain, with ümlaut and 日本",
		"\x1b]0;title\a\x1b[31mred": `\x1b]0;title\x07\x1b[31mred`,
		"a\r\nb\tc":                 `a\r` + "\nb\tc",
		"\u009b31m":                 `\u009b31m`,
		"\u202etxt.exe\u2066":       `\u202etxt.exe\u2066`,
		"\xff\x9b":                  `\xff\x9b`,
		"del\x7f nul\x00":           `del\x7f nul\x00`,
		"line\u2028separator":       `line\u2028separator`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := Line("ok\nforged: line\t"); got != `ok\nforged: line\t` {
		t.Errorf("got %q", got)
	}
}

func TestNoCellOfASpreadsheetIsAFormula(t *testing.T) {
	for in, want := range map[string]string{
		"=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)",
		"\t=1": `'\t=1`, "\r=1": `'\r=1`, "a=b": "a=b", "": "",
	} {
		if got := Cell(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Escaping twice, and in pieces of any length, is as escaping once.
func FuzzWriter(f *testing.F) {
	f.Add([]byte("a\x1b[31m\u009b\xff\u202e日本\n"), uint8(1))
	f.Add([]byte("\xe6\x97"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		var out bytes.Buffer
		w := NewWriter(&out)
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(piece)%8+1)
			if k, err := w.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if want := Escape(string(in[:len(in)-len(w.rest)])); out.String() != want {
			t.Fatalf("got %q, want %q", out.String(), want)
		}
		if !utf8.Valid(out.Bytes()) || Escape(out.String()) != out.String() {
			t.Fatalf("%q is not safe", out.String())
		}
	})
}

func TestJSONMeansTheSame(t *testing.T) {
	in := "\u009b31m \u202e \x7f \x1b plain"
	doc, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	safe := EscapeJSON(doc)
	var out string
	if err := json.Unmarshal(safe, &out); err != nil || out != in {
		t.Errorf("%s: %q, %v", safe, out, err)
	}
	if Escape(string(safe)) != string(safe) {
		t.Errorf("%q is not safe", safe)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestTheFirstErrorOfWritingIsKept(t *testing.T) {
	w := NewWriter(full{})
	_, _ = w.Write([]byte("x"))
	if w.Err() == nil {
		t.Error("no error")
	}
}
