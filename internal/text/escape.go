package text

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text from outside, such as a server's error, an export's name or a field of a
// profile, may hold sequences that move a terminal's cursor, change its title or
// colours, or reverse the order of what is read. Such characters are printed as
// Go writes them in a string.

// Escape returns s without characters that a terminal acts on or does not show,
// but for line breaks and tabs.
func Escape(s string) string {
	if strings.IndexFunc(s, unsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		b.WriteString(escaped(r, s[:n]))
		s = s[n:]
	}
	return b.String()
}

// Line is Escape for text that is to stay on its line: line breaks and tabs are
// escaped too.
func Line(s string) string {
	return lineBreaks.Replace(Escape(s))
}

var lineBreaks = strings.NewReplacer("\n", `\n`, "\t", `\t`)

// EscapeJSON escapes what JSON allows as it is and a terminal acts on, as JSON
// escapes it: the document means the same.
func EscapeJSON(doc []byte) []byte {
	s := string(doc)
	if strings.IndexFunc(s, unsafe) < 0 {
		return doc
	}
	var b strings.Builder
	for _, r := range s {
		if unsafe(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return []byte(b.String())
}

// JSON escapes so, between an encoder, which writes each document at once, and w.
func JSON(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ to io.Writer }

func (j jsonWriter) Write(doc []byte) (int, error) {
	if _, err := j.to.Write(EscapeJSON(doc)); err != nil {
		return 0, err
	}
	return len(doc), nil
}

// Cell guards a cell of a CSV file against a spreadsheet that would take it for a
// formula.
func Cell(s string) string {
	if s = Line(s); s != "" && strings.IndexByte("=+-@\\", s[0]) >= 0 {
		return "'" + s
	}
	return s
}

// QuotedCell is Cell as a field of a line that is written without encoding/csv.
func QuotedCell(s string) string {
	if s = Cell(s); strings.ContainsAny(s, ",\"") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

// escaped is r, which stands as raw, or what is printed in its place.
func escaped(r rune, raw string) string {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Sprintf(`\x%02x`, raw[0])
	case r == '\r':
		return `\r`
	case r < utf8.RuneSelf && unsafe(r):
		return fmt.Sprintf(`\x%02x`, r)
	case unsafe(r):
		return fmt.Sprintf(`\u%04x`, r)
	}
	return raw
}

// unsafe reports whether r is a control character other than a line break or a
// tab, separates lines, or changes the direction of text.
func unsafe(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Writer escapes what is written to another writer, as Escape does, and keeps its
// first error. A character may come in several pieces.
type Writer struct {
	to   io.Writer
	rest []byte // of a character that has not all come
	err  error
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// Write escapes p.
func (w *Writer) Write(p []byte) (int, error) {
	b := append(w.rest, p...)
	whole := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				whole -= i
			}
			break
		}
	}
	out := Escape(string(b[:whole]))
	w.rest = append([]byte(nil), b[whole:]...)
	if _, err := io.WriteString(w.to, out); err != nil {
		if w.err == nil {
			w.err = err
		}
		return 0, err
	}
	return len(p), nil
}

// Err is the first error of writing.
func (w *Writer) Err() error { return w.err }

// Beneath is what w writes to, if it escapes, else w: for a program's own
// sequences.
func Beneath(w io.Writer) io.Writer {
	if e, ok := w.(*Writer); ok {
		return e.to
	}
	return w
}
