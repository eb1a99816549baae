package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"nbdbench/internal/text"
	"nbdbench/results"
	"nbdbench/results/table"
)

// The values of --color.
const (
	colorAuto   = "auto"
	colorAlways = "always"
	colorNever  = "never"
)

// addTalkFlags gives all commands the flags about how they talk.
func addTalkFlags(root *cobra.Command) {
	root.PersistentFlags().String("color", colorAuto, "colors in tables: auto (on a terminal, unless NO_COLOR is set), always or never")
	root.PersistentFlags().BoolP("quiet", "q", false, "print only errors on stderr: no progress, notes and warnings")
}

// applyTalkFlags checks them, and silences stderr.
func applyTalkFlags(c *cobra.Command) error {
	switch color, _ := c.Flags().GetString("color"); color {
	case colorAuto, colorAlways, colorNever, "": // empty where a command has no such flag
	default:
		return usage("--color: expected auto, always or never, got %q", color)
	}
	if quiet, _ := c.Flags().GetBool("quiet"); quiet {
		c.Root().SetErr(io.Discard)
	}
	return nil
}

// colors reports whether w is to have colours.
func colors(c *cobra.Command, w io.Writer) bool {
	switch color, _ := c.Flags().GetString("color"); color {
	case colorAlways:
		return true
	case colorNever:
		return false
	}
	f, ok := text.Beneath(w).(*os.File)
	return ok && isTerminal(f) && os.Getenv("NO_COLOR") == ""
}

// paints are the sequences around rows that stand out: green and bold, and faint.
var paints = map[table.Mark]string{table.Best: "\x1b[1;32m", table.Qualified: "\x1b[2m"}

const plain = "\x1b[0m"

// writeRun writes a document to standard output, a table in colours where there are any.
func writeRun(c *cobra.Command, r *results.Run, format string) error {
	w := c.OutOrStdout()
	if format != "table" || !colors(c, w) {
		return write(w, r, format)
	}
	lines, err := r.Summary().Lines(widthOf(w))
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, l := range lines {
		s := text.Line(l.Text)
		if paint := paints[l.Mark]; paint != "" {
			s = paint + s + plain
		}
		b.WriteString(s + "\n")
	}
	_, err = io.WriteString(text.Beneath(w), b.String())
	return err
}
