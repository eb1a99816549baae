package results

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// look is how a strategy is drawn, everywhere the same.
type look struct {
	color color.RGBA
	dash  []vg.Length
}

var looks = map[string]look{
	"native":          {blue, nil},
	"emulate":         {vermilion, nil},
	"emulate-grouped": {orange, nil},
	"none":            {green, []vg.Length{7, 2}},
	"none-grouped":    {sky, []vg.Length{7, 2}},
	"none-unsafe":     {grey, []vg.Length{2, 2}},
	"force":           {purple, nil},
	"discard":         {grey, []vg.Length{5, 2, 1, 2}},
	"pass":            {ink, nil},
}

func lookOf(strategy string) look {
	if l, ok := looks[strategy]; ok {
		return l
	}
	return look{ink, []vg.Length{1, 1}}
}

func (l look) line(width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: width, Dashes: l.dash}
}
