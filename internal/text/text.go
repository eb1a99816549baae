// Package text lays out what is printed for people.
package text

import "strings"

// Width is how wide a description is, in columns.
const Width = 80

// Wrap folds white space and breaks text between words into lines of at most
// Width bytes; a longer word has a line of its own.
func Wrap(text string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > Width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
