package chart

import (
	"cmp"
	"fmt"
	"image/color"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// CheckPath says what is wrong with the name of a chart's file.
func CheckPath(path string) error {
	if format := strings.TrimPrefix(filepath.Ext(path), "."); !slices.Contains(Formats, format) {
		return fmt.Errorf("expected a file that ends in one of .%s, got %q", strings.Join(Formats, ", ."), path)
	}
	return nil
}

// Bar is a request on a timeline. Begin and End are places among the
// timeline's moments.
type Bar struct {
	Label      string
	Note       string // at its end: what became of it
	Begin, End int    // End is the last moment if its reply had not come
	Open       bool   // its reply had not come
	Kind       BarKind
}

// BarKind decides a bar's colour.
type BarKind uint8

// The kinds of bars.
const (
	BarWrite BarKind = iota
	BarFUA
	BarFlush
	BarOther
	BarWait // for others
)

var barColors = [...]color.RGBA{BarWrite: Sky, BarFUA: Blue, BarFlush: Green, BarOther: Grey, BarWait: Rule}

// Timeline is a history: what was in progress when. Time is not to scale: each moment at
// which something happened has the same room.
type Timeline struct {
	Title, Subtitle, Footer string
	Moments                 []string // what to write below each
	Cut                     bool     // at the last moment the power is cut
	Label, Note             float64  // room for labels and for notes, in points; 0 is enough for a crash's
	Bars                    []Bar
	Commits                 map[int]string // acknowledged at a moment
}

// MaxBars bounds a timeline's rows; the latest are shown.
const MaxBars = 40

const (
	spanRow   = 15
	spanLabel = 150 // room for the labels
	spanNote  = 110
	timeFoot  = 34
)

// Chart draws the timeline.
func (t Timeline) Chart(name string) *Chart {
	if n := len(t.Bars) - MaxBars; n > 0 {
		t.Bars = t.Bars[n:]
	}
	f := &Frame{Title: t.Title, Subtitle: t.Subtitle, Footer: t.Footer, Keys: t.keys()}
	return f.Chart(name, vg.Length(len(t.Bars))*spanRow+timeFoot, t.draw)
}

// keys are the kinds of bars that there are.
func (t *Timeline) keys() []Key {
	if t.Cut {
		return []Key{{Name: "write", Box: Sky}, {Name: "write with FUA", Box: Blue}, {Name: "flush", Box: Green}, {Name: "the power is cut", Box: Vermilion}}
	}
	var keys []Key
	for kind, name := range []string{BarWrite: "write", BarFUA: "write with FUA", BarFlush: "flush", BarOther: "other", BarWait: "waits"} {
		if slices.ContainsFunc(t.Bars, func(b Bar) bool { return b.Kind == BarKind(kind) }) {
			keys = append(keys, Key{Name: name, Box: barColors[kind]})
		}
	}
	return keys
}

// x is where a moment is.
func (t *Timeline) x(c draw.Canvas, moment int) vg.Length {
	from, to := c.Min.X+cmp.Or(vg.Length(t.Label), spanLabel), c.Max.X-cmp.Or(vg.Length(t.Note), spanNote)
	if len(t.Moments) < 2 {
		return to
	}
	return from + (to-from)*vg.Length(moment)/vg.Length(len(t.Moments)-1)
}

func (t *Timeline) draw(c draw.Canvas) {
	top, bottom := c.Max.Y, c.Min.Y+timeFoot
	small := Letter(SmallSize-1, Faint)
	last := vg.Length(-1000)
	for i, m := range t.Moments {
		x := t.x(c, i)
		c.StrokeLine2(draw.LineStyle{Color: Rule, Width: 0.5}, x, bottom, x, top)
		if wide := small.Width(m); x-last > wide+6 || i == len(t.Moments)-1 && x-last > wide/2 {
			c.FillText(Aligned(small, draw.XCenter, draw.YTop), vg.Point{X: x, Y: bottom - 3}, m)
			last = x
		}
		if done, ok := t.Commits[i]; ok {
			c.StrokeLine2(draw.LineStyle{Color: Ink, Width: 0.8, Dashes: []vg.Length{2, 2}}, x, bottom, x, top)
			c.FillText(Aligned(Letter(SmallSize-1, Ink), draw.XCenter, draw.YTop), vg.Point{X: x, Y: bottom - 14}, done)
		}
	}
	for i := range t.Bars {
		t.span(c, &t.Bars[i], top-vg.Length(i)*spanRow)
	}
	if x := t.x(c, len(t.Moments)-1); t.Cut {
		c.StrokeLine2(draw.LineStyle{Color: Vermilion, Width: 2}, x, bottom, x, top)
	}
}

// span draws one request, whose row's upper edge is at y.
func (t *Timeline) span(c draw.Canvas, s *Bar, y vg.Length) {
	style := Letter(SmallSize, Ink)
	middle := y - spanRow/2
	c.FillText(Aligned(style, draw.XLeft, draw.YCenter), vg.Point{X: c.Min.X, Y: middle}, s.Label)
	from, to := t.x(c, s.Begin), t.x(c, s.End)
	box := vg.Rectangle{Min: vg.Point{X: from, Y: y - spanRow + 3}, Max: vg.Point{X: max(to, from+2), Y: y - 3}}
	fill := color.Color(barColors[s.Kind])
	if s.Open {
		fill = Translucent(barColors[s.Kind])
	}
	c.FillPolygon(fill, Corners(box))
	c.FillText(Aligned(style, draw.XLeft, draw.YCenter), vg.Point{X: t.x(c, len(t.Moments)-1) + 6, Y: middle}, s.Note)
}
