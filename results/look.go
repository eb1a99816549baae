package results

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"nbdbench/results/chart"
)

// look is how a strategy is drawn, everywhere the same.
type look struct {
	color color.RGBA
	dash  []vg.Length
}

var looks = map[string]look{
	"native":          {chart.Blue, nil},
	"emulate":         {chart.Vermilion, nil},
	"emulate-grouped": {chart.Orange, nil},
	"none":            {chart.Green, []vg.Length{7, 2}},
	"none-grouped":    {chart.Sky, []vg.Length{7, 2}},
	"none-unsafe":     {chart.Grey, []vg.Length{2, 2}},
	"force":           {chart.Purple, nil},
	"discard":         {chart.Grey, []vg.Length{5, 2, 1, 2}},
	"pass":            {chart.Ink, nil},
	oldRun:            {chart.Blue, []vg.Length{7, 2}},
	newRun:            {chart.Vermilion, nil},
}

func lookOf(strategy string) look {
	if l, ok := looks[strategy]; ok {
		return l
	}
	return look{chart.Ink, []vg.Length{1, 1}}
}

func (l look) line(width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: width, Dashes: l.dash}
}
