package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"nbdbench/internal/text"
	"nbdbench/results/table"
)

// progress is one line on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer // nil: not a terminal
	begun time.Time
	last  time.Time
	wrote bool
}

// refresh is how often the line changes at most.
const refresh = 250 * time.Millisecond

func newProgress(w io.Writer) *progress {
	p := &progress{begun: time.Now()}
	if f, ok := text.Beneath(w).(*os.File); ok && isTerminal(f) {
		p.w = f
	}
	return p
}

func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// minWidth is how wide a terminal is that says it is narrower.
const minWidth = 40

// widthOf is how many columns of a table w has room for: those of a terminal, else
// table.Width.
func widthOf(w io.Writer) int {
	f, ok := text.Beneath(w).(*os.File)
	if !ok || !isTerminal(f) {
		return table.Width
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns == 0 {
		return table.Width
	}
	return max(columns, minWidth)
}

func (p *progress) update(done, total int, cell string) {
	now := time.Now()
	if p.w == nil || (done < total && now.Sub(p.last) < refresh) {
		return
	}
	p.last, p.wrote = now, true
	line := []rune(fmt.Sprintf("%d of %d runs, %v%s, %s", done, total, now.Sub(p.begun).Round(time.Second), p.left(now, done, total), text.Line(cell)))
	line = line[:min(len(line), widthOf(p.w)-1)] // a longer one would be left behind on the line above
	fmt.Fprintf(p.w, "\r\x1b[K%s", string(line))
}

// left is how long the rest takes at the rate so far.
func (p *progress) left(now time.Time, done, total int) string {
	if done == 0 || done >= total {
		return ""
	}
	rest := now.Sub(p.begun) / time.Duration(done) * time.Duration(total-done)
	return fmt.Sprintf(" and about %v left", rest.Round(time.Second))
}

func (p *progress) end() {
	if p.wrote {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
