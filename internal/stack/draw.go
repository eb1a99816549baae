package stack

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"nbdbench/internal/text"
)

// maxDrawn is how many strategies stand beside each other in a drawing.
const maxDrawn = 5

// DrawPaths draws a chain from the client down to the device, and beside each link what it
// carries for one durable write under each strategy. A star marks who makes the write
// durable. server is the link to the server.
func DrawPaths(device string, hops []Hop, server Link, paths []Path) string {
	var b strings.Builder
	var drawn []Path
	for _, p := range paths {
		if p.Unsupported == "" {
			drawn = append(drawn, p)
		}
	}
	for len(drawn) > 0 {
		n := min(len(drawn), maxDrawn)
		drawPaths(&b, device, hops, server, drawn[:n])
		if drawn = drawn[n:]; len(drawn) > 0 {
			b.WriteByte('\n')
		}
	}
	for _, p := range paths {
		if p.Unsupported != "" {
			fmt.Fprintf(&b, "%s is unsupported: %s\n", p.Strategy, text.Line(p.Unsupported))
		}
	}
	return b.String()
}

// drawPaths draws the chain once, beside as many strategies as there is room for.
func drawPaths(b *strings.Builder, device string, hops []Hop, server Link, paths []Path) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(what string, cell func(p *Path) string) {
		line := what
		for i := range paths {
			line += "\t" + cell(&paths[i])
		}
		fmt.Fprintln(w, line)
	}
	place := func(n int, what string) {
		row(what, func(p *Path) string {
			if p.Durable && p.Maker == n {
				return "*"
			}
			return ""
		})
	}
	sent := func(n int, what string) { row("  | "+what, func(p *Path) string { return p.Sent[n] }) }
	row("", func(p *Path) string { return p.Strategy })
	place(0, "client")
	for i, h := range hops {
		sent(i, h.Link.Name)
		place(i+1, fmt.Sprintf("hop %d, %s", i+1, h.Strategy))
	}
	sent(len(hops), server.Name)
	place(len(hops)+1, "server")
	sent(len(hops)+1, "")
	place(len(hops)+2, text.Line(device))
	row("durable by", (*Path).maker)
	_ = w.Flush() // into memory
	trimLines(b)
}

// maker is who makes the write durable, in a word or two.
func (p *Path) maker() string {
	if !p.Durable {
		return "nobody"
	}
	return p.place(p.Maker)
}

// trimLines removes the blanks at the ends of lines.
func trimLines(b *strings.Builder) {
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	b.Reset()
	b.WriteString(strings.Join(lines, "\n"))
}
