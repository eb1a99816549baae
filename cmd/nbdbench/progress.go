package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"nbdbench/internal/text"
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
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

func (p *progress) update(done, total int, cell string) {
	now := time.Now()
	if p.w == nil || (done < total && now.Sub(p.last) < refresh) {
		return
	}
	p.last, p.wrote = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%d of %d runs, %s, %v", done, total, text.Line(cell), now.Sub(p.begun).Round(time.Second))
}

func (p *progress) end() {
	if p.wrote {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
