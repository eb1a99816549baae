package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"codeberg.org/go-pdf/fpdf"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	_ "gonum.org/v1/plot/vg/vgpdf" // the format "pdf"
	_ "gonum.org/v1/plot/vg/vgsvg" // the format "svg"

	"nbdbench/internal/atomicfile"
)

// Chart is one figure, drawn from a document.
type Chart struct {
	Name  string // the file's, without its extension
	Title string // for a reader who does not see it

	width, height vg.Length
	draw          func(c draw.Canvas)
}

// fpdf writes fonts in the order of a map unless it is set, once, to sort.
func init() { fpdf.SetDefaultCatalogSort(true) }

// Formats are those that a chart can be written in.
var Formats = []string{"svg", "png", "pdf"}

// dpi is the resolution of PNG.
const dpi = 180

// Write draws the chart in a format of Formats. The same document gives the
// same bytes.
func (c *Chart) Write(w io.Writer, format string) error {
	if !slices.Contains(Formats, format) {
		return fmt.Errorf("chart format %q: want one of %q", format, Formats)
	}
	var canvas vg.CanvasWriterTo
	if format == "png" {
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(c.width, c.height), vgimg.UseDPI(dpi))}
	} else {
		var err error
		if canvas, err = draw.NewFormattedCanvas(c.width, c.height, format); err != nil {
			return fmt.Errorf("chart %s: %w", c.Name, err)
		}
	}
	var on vg.Canvas = canvas
	if format == "pdf" {
		on = pdfText{canvas}
	}
	c.draw(draw.NewCanvas(on, c.width, c.height))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return fmt.Errorf("chart %s: %w", c.Name, err)
	}
	_, err := w.Write(portable(format, b.Bytes()))
	return err
}

// pdfText puts right what vgpdf does with text: it adds every font as a regular
// one and then does not find the bold ones, so they get a family of their own;
// and it passes on UTF-8 where single bytes are wanted.
type pdfText struct{ vg.Canvas }

// FillString implements vg.Canvas.
func (b pdfText) FillString(f font.Face, at vg.Point, s string) {
	if f.Font.Weight == boldWeight {
		f.Font.Weight = 0
		f.Font.Variant += "Bold"
	}
	b.Canvas.FillString(f, at, codePage(s))
}

// codePage is s in Windows-1252, which is what vgpdf encodes its fonts for.
func codePage(s string) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		switch {
		case r < 0x80 || r >= 0xa0 && r < 0x100:
			out = append(out, byte(r))
		case r == '…':
			out = append(out, 0x85)
		default:
			out = append(out, '?')
		}
	}
	return string(out)
}

// portable takes out of a drawing what depends on where and when it was made:
// an SVG names fonts that its reader may have, a PDF has no date.
func portable(format string, b []byte) []byte {
	switch format {
	case "svg":
		return bytes.ReplaceAll(b, []byte("font-family:Liberation Sans;"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"))
	case "pdf":
		return pdfDate.ReplaceAll(b, []byte("${1}19700101000000"))
	}
	return b
}

// pdfDate is a date in a PDF; it is replaced by one of the same length, since
// the file counts bytes.
var pdfDate = regexp.MustCompile(`(/(?:Creation|Mod)Date \(D:)\d{14}`)

// Save writes the chart to a file, whole or not at all; the name's extension
// says the format.
func (c *Chart) Save(path string) error {
	format := strings.TrimPrefix(filepath.Ext(path), ".")
	return atomicfile.Write(path, func(w io.Writer) error { return c.Write(w, format) })
}

// The colours of Okabe and Ito, which the colour-blind tell apart, and greys.
var (
	Ink       = color.RGBA{0x22, 0x22, 0x22, 0xff}
	Faint     = color.RGBA{0x66, 0x66, 0x66, 0xff}
	Rule      = color.RGBA{0xe3, 0xe3, 0xe3, 0xff}
	Paper     = color.RGBA{0xff, 0xff, 0xff, 0xff}
	Grey      = color.RGBA{0x80, 0x80, 0x80, 0xff}
	Blue      = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	Vermilion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	Green     = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	Orange    = color.RGBA{0xe6, 0x9f, 0x00, 0xff}
	Sky       = color.RGBA{0x56, 0xb4, 0xe9, 0xff}
	Purple    = color.RGBA{0xcc, 0x79, 0xa7, 0xff}
	Yellow    = color.RGBA{0xe0, 0xd0, 0x20, 0xff}
)

// Translucent is c as the alpha of a band.
func Translucent(c color.RGBA) color.Color {
	return color.NRGBA{c.R, c.G, c.B, 0x38}
}

// Letter is a text style: Liberation Sans, top left unless moved.
func Letter(size vg.Length, c color.Color) draw.TextStyle {
	return draw.TextStyle{
		Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign: draw.XLeft, YAlign: draw.YTop, Handler: plot.DefaultTextHandler,
	}
}

// boldWeight is WeightBold of golang.org/x/image/font.
const boldWeight = 3

// Bold is Letter in bold.
func Bold(size vg.Length, c color.Color) draw.TextStyle {
	s := Letter(size, c)
	s.Font.Weight = boldWeight
	return s
}

// Aligned is s drawn from another corner.
func Aligned(s draw.TextStyle, x text.XAlignment, y text.YAlignment) draw.TextStyle {
	s.XAlign, s.YAlign = x, y
	return s
}

// Styles drawn from another corner: the middle of the top, of the right or of the
// left side.
var (
	Centred   = func(s draw.TextStyle) draw.TextStyle { return Aligned(s, draw.XCenter, draw.YTop) }
	Leftward  = func(s draw.TextStyle) draw.TextStyle { return Aligned(s, draw.XRight, draw.YCenter) }
	Rightward = func(s draw.TextStyle) draw.TextStyle { return Aligned(s, draw.XLeft, draw.YCenter) }
)

// BreakText breaks text into at most lines that fit the width; what is left over
// ends in an ellipsis. A word that is too long is shortened.
func BreakText(s draw.TextStyle, words string, width vg.Length, lines int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(words) {
		word = Shorten(s, word, width)
		longer := strings.TrimPrefix(line+" "+word, " ")
		if line == "" || s.Width(longer) <= width {
			line = longer
			continue
		}
		if len(out) == lines-1 {
			for line != "" && s.Width(line+"…") > width {
				line = line[:max(0, strings.LastIndexByte(line, ' '))]
			}
			return append(out, line+"…")
		}
		out, line = append(out, line), word
	}
	return append(out, line)
}

// DrawText draws text from the top of the canvas, at most so many lines, and
// returns what of the canvas is left below.
func DrawText(c draw.Canvas, s draw.TextStyle, words string, lines int) draw.Canvas {
	y := c.Max.Y
	for _, l := range BreakText(s, words, c.Max.X-c.Min.X, lines) {
		c.FillText(s, vg.Point{X: c.Min.X, Y: y}, l)
		y -= s.Font.Size * leading
	}
	c.Max.Y = y
	return c
}

// figureWidth is that of all figures, in points: 18 cm.
const figureWidth = 540

// Sizes, in points.
const (
	figureMargin = 14
	titleSize    = 13
	TextSize     = 9
	SmallSize    = 8

	leading = 1.25 // from line to line
)

// Frame is what all figures have around their data.
type Frame struct {
	Title, Subtitle, Footer string
	Keys                    []Key
}

const (
	headGap = 2
	bodyGap = 6
	footGap = 4
	// lines of the title, the subtitle and the footer, at most
	maxTitle, maxSubtitle, maxFooter = 2, 2, 3
)

var (
	titleStyle    = Bold(titleSize, Ink)
	subtitleStyle = Letter(TextSize, Faint)
	footerStyle   = Letter(SmallSize-1, Faint)
)

// height is what the frame takes of a figure of figureWidth.
func (f *Frame) height() vg.Length {
	w := vg.Length(figureWidth - 2*figureMargin)
	lines := func(s draw.TextStyle, text string, most int) vg.Length {
		return vg.Length(len(BreakText(s, text, w, most))) * s.Font.Size * leading
	}
	return 2*figureMargin + lines(titleStyle, f.Title, maxTitle) + headGap + lines(subtitleStyle, f.Subtitle, maxSubtitle) + bodyGap +
		legendHeight(f.Keys, w) + lines(footerStyle, f.Footer, maxFooter) + footGap
}

// draw draws the frame, and returns the canvas that is left between the head
// and the legend.
func (f *Frame) draw(c draw.Canvas) draw.Canvas {
	c.FillPolygon(Paper, Corners(c.Rectangle))
	c = draw.Crop(c, figureMargin, -figureMargin, figureMargin, -figureMargin)
	c = DrawText(c, titleStyle, f.Title, maxTitle)
	c.Max.Y -= headGap
	c = DrawText(c, subtitleStyle, f.Subtitle, maxSubtitle)
	c.Max.Y -= bodyGap
	foot := c
	foot.Max.Y = c.Min.Y + vg.Length(len(BreakText(footerStyle, f.Footer, c.Max.X-c.Min.X, maxFooter)))*footerStyle.Font.Size*leading
	DrawText(foot, footerStyle, f.Footer, maxFooter)
	c.Min.Y = foot.Max.Y + footGap
	return drawLegend(c, f.Keys)
}

// Chart returns the figure of the frame around a body of the given height.
func (f *Frame) Chart(name string, body vg.Length, draws func(draw.Canvas)) *Chart {
	return &Chart{
		Name: name, Title: f.Title, width: figureWidth, height: f.height() + body,
		draw: func(c draw.Canvas) { draws(f.draw(c)) },
	}
}

// Corners are the corners of r as a polygon.
func Corners(r vg.Rectangle) []vg.Point {
	return []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}}
}

// Key is an entry of a legend: a line, a box or a glyph, and its name.
type Key struct {
	Name  string
	Line  *draw.LineStyle
	Box   color.Color
	Glyph *draw.GlyphStyle
}

const (
	keySample = 20
	keyGap    = 14
	keyLine   = 14
)

// legendRows breaks keys into rows that fit the width.
func legendRows(keys []Key, width vg.Length) [][]Key {
	var rows [][]Key
	var used vg.Length
	for i, k := range keys {
		w := k.width()
		if i == 0 || used+w-keyGap > width {
			rows, used = append(rows, nil), 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], k)
		used += w
	}
	return rows
}

var keyStyle = Rightward(Letter(SmallSize, Ink))

func (k *Key) width() vg.Length { return keySample + 4 + keyStyle.Width(k.Name) + keyGap }

func legendHeight(keys []Key, width vg.Length) vg.Length {
	return vg.Length(len(legendRows(keys, width)))*keyLine + footGap
}

// drawLegend draws keys in rows at the bottom of the canvas, and returns what
// is left above.
func drawLegend(c draw.Canvas, keys []Key) draw.Canvas {
	width := c.Max.X - c.Min.X
	rows := legendRows(keys, width)
	for i, row := range rows {
		x, y := c.Min.X, c.Min.Y+vg.Length(len(rows)-1-i)*keyLine+keyLine/2
		for _, k := range row {
			k.draw(c, x, y)
			c.FillText(keyStyle, vg.Point{X: x + keySample + 4, Y: y}, k.Name)
			x += k.width()
		}
	}
	c.Min.Y += legendHeight(keys, width)
	return c
}

func (k *Key) draw(c draw.Canvas, x, y vg.Length) {
	if k.Line != nil {
		c.StrokeLine2(*k.Line, x, y, x+keySample, y)
	}
	if k.Box != nil {
		c.FillPolygon(k.Box, Corners(vg.Rectangle{Min: vg.Point{X: x + 8, Y: y - 4}, Max: vg.Point{X: x + keySample, Y: y + 4}}))
	}
	if k.Glyph != nil {
		c.DrawGlyph(*k.Glyph, vg.Point{X: x + keySample - 6, Y: y})
	}
}

// Tick is a place on an axis; without a label it is a minor one.
type Tick struct {
	At    float64
	Label string
}

// LogTicks are ticks of durations on an axis of log10(ns): powers of ten with
// their unit, 2 and 5 too where there would be few, and all where there would be
// one at most.
func LogTicks(lo, hi float64) []Tick { return ticks(lo, hi, roundDuration) }

func ticks(lo, hi float64, label func(d, e int) string) []Tick {
	var out []Tick
	dense, all := hi-lo < 1.8, hi-lo < 0.6
	for e := int(math.Floor(lo)); e <= int(math.Ceil(hi)); e++ {
		for d := 1; d <= 9; d++ {
			at := float64(e) + math.Log10(float64(d))
			if at < lo-1e-9 || at > hi+1e-9 {
				continue
			}
			t := Tick{At: at}
			if d == 1 || all || (dense && (d == 2 || d == 5)) {
				t.Label = label(d, e)
			}
			out = append(out, t)
		}
	}
	return out
}

// CountTicks are ticks of numbers on an axis of log10, as LogTicks are of durations: 200,
// 1k, 10M.
func CountTicks(lo, hi float64) []Tick { return ticks(lo, hi, roundCount) }

// roundCount is d*10^e.
func roundCount(d, e int) string {
	if e < 0 {
		return fmt.Sprintf("%.*f", -e, float64(d)*math.Pow10(e))
	}
	unit := min(e/3, 4)
	return fmt.Sprintf("%d%s%s", d, strings.Repeat("0", e-3*unit), [...]string{"", "k", "M", "G", "T"}[unit])
}

// roundDuration is d*10^e ns without decimals: 200 µs.
func roundDuration(d, e int) string {
	if e < 0 {
		return ""
	}
	unit := min(e/3, 3)
	return fmt.Sprintf("%d%s %s", d, strings.Repeat("0", e-3*unit), [...]string{"ns", "µs", "ms", "s"}[unit])
}

// Scale maps values to a place on the canvas.
type Scale struct {
	Lo, Hi   float64
	From, To vg.Length
}

// At is where v is on the canvas.
func (s Scale) At(v float64) vg.Length {
	return s.From + vg.Length((v-s.Lo)/(s.Hi-s.Lo))*(s.To-s.From)
}

// Padded widens a range by a share of it, and one without width by half a
// decade to each side.
func Padded(lo, hi, share float64) (float64, float64) {
	if hi-lo < 1e-9 {
		return lo - 0.5, hi + 0.5
	}
	return lo - share*(hi-lo), hi + share*(hi-lo)
}

// Log10 is the place of a duration in ns on a logarithmic axis; below 1 ns it is 0.
func Log10(ns float64) float64 { return math.Log10(max(ns, 1)) }

// Panels divides a canvas into a grid, filled row by row.
func Panels(c draw.Canvas, n, columns int, gapX, gapY vg.Length) []draw.Canvas {
	columns = max(1, min(n, columns))
	rows := (n + columns - 1) / columns
	w := (c.Max.X - c.Min.X - vg.Length(columns-1)*gapX) / vg.Length(columns)
	h := (c.Max.Y - c.Min.Y - vg.Length(rows-1)*gapY) / vg.Length(rows)
	out := make([]draw.Canvas, n)
	for i := range out {
		p := c
		p.Min.X += vg.Length(i%columns) * (w + gapX)
		p.Max.X = p.Min.X + w
		p.Max.Y -= vg.Length(i/columns) * (h + gapY)
		p.Min.Y = p.Max.Y - h
		out[i] = p
	}
	return out
}

// Shorten is text that fits the width: what is too long has an ellipsis in its middle,
// since names that are alike differ at their ends.
func Shorten(s draw.TextStyle, words string, width vg.Length) string {
	if s.Width(words) <= width {
		return words
	}
	r := []rune(words)
	for keep := len(r) - 1; keep > 1; keep-- {
		short := string(r[:(keep+1)/2]) + "…" + string(r[len(r)-keep/2:])
		if s.Width(short) <= width {
			return short
		}
	}
	return "…"
}

// Tall is the height in points.
func (c *Chart) Tall() vg.Length { return c.height }
