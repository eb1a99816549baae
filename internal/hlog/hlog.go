// Package hlog reads logs of HdrHistograms, format 1.3, as nbdbench writes them:
// one histogram a line, tagged cell/run/operation, in nanoseconds.
//
// It is apart from package results, which writes them, so that a simulated device
// can be built from one.
package hlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The bounds of a log.
const (
	MaxLine       = 4 << 20 // bytes; a full histogram of three digits has a few hundred KiB
	MaxHistograms = 1 << 16
)

// Bucket is one bucket that is not empty: how many values lie from From to To,
// both within it, in nanoseconds.
type Bucket struct{ From, To, Count int64 }

// Histogram is one of a log, its buckets in order.
type Histogram struct {
	Tag     string
	Buckets []Bucket
}

// Tag names a histogram: cell/run/operation, run counted from 0. Commas and
// white space would end a tag, so they become underscores.
func Tag(cell string, run int, operation string) string {
	return fmt.Sprintf("%s/%d/%s", Clean(cell), run, operation)
}

// Clean is a cell's name as it stands in tags.
func Clean(cell string) string {
	return strings.Map(func(r rune) rune {
		if r == ',' || r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, cell)
}

// Split is the inverse of Tag; ok is false for a tag of another form.
func Split(tag string) (cell string, run int, operation string, ok bool) {
	rest, operation, ok1 := cutLast(tag)
	cell, number, ok2 := cutLast(rest)
	run, err := strconv.Atoi(number)
	return cell, run, operation, ok1 && ok2 && err == nil && run >= 0
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Decode reads all histograms of a log, in its order. An error names the line.
func Decode(in io.Reader) ([]Histogram, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, MaxLine)
	var out []Histogram
	seen := map[string]bool{}
	n := 0
	for lines.Scan() {
		n++
		text := lines.Text()
		if text == "" || text[0] == '#' || text[0] == '"' { // a comment, or the legend
			continue
		}
		h, err := decode(text)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case seen[h.Tag]:
			return nil, fmt.Errorf("line %d: tag %s: expected each once", n, h.Tag)
		case len(out) == MaxHistograms:
			return nil, fmt.Errorf("line %d: expected at most %d histograms", n, MaxHistograms)
		}
		seen[h.Tag] = true
		out = append(out, h)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	return out, nil
}

var errNoHistogram = errors.New("expected Tag=...,start,length,max and a compressed histogram")

// decode reads one line. The library's reader skips what it does not know, and
// may panic on a histogram that was damaged; here both are errors.
func decode(line string) (out Histogram, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w, got what cannot be read (%v)", errNoHistogram, p)
		}
	}()
	h, err := hdrhistogram.NewHistogramLogReader(strings.NewReader(line)).NextIntervalHistogram()
	if err != nil {
		return out, fmt.Errorf("%w: %w", errNoHistogram, err)
	}
	if h == nil {
		return out, errNoHistogram
	}
	out.Tag = h.Tag()
	for _, bar := range h.Distribution() {
		if bar.Count < 0 || bar.From < 0 || bar.To < bar.From {
			return out, fmt.Errorf("%w, got %d values from %d to %d", errNoHistogram, bar.Count, bar.From, bar.To)
		}
		if bar.Count > 0 {
			out.Buckets = append(out.Buckets, Bucket{bar.From, bar.To, bar.Count})
		}
	}
	return out, nil
}
