package crash

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/results/chart"
)

// Chart draws the violation's timeline.
func (v *Violation) Chart() *chart.Chart {
	t := v.Timeline
	f := chart.Timeline{
		Title:    fmt.Sprintf("%s: %s", v.Cell, v.Class),
		Subtitle: fmt.Sprintf("Sector %d holds %s after the cut, expected %s. %s.", v.Sector, version(v.Found), versions(v.Expected), v.Text),
		Footer:   "Time is not to scale. Pale: without a reply when the power was cut. Again: " + v.Replay,
		Commits:  map[int]string{},
		Cut:      true,
	}
	spans := map[uint64]int{}
	moment := -1
	for i := range t.Events {
		e := &t.Events[i]
		if i == 0 || t.Events[i-1].AtNs != e.AtNs {
			f.Moments = append(f.Moments, micro(e.AtNs))
			moment++
		}
		switch e.Kind {
		case powerCut:
			f.Commits[moment] = powerCut
		case "commit":
			f.Commits[moment] = fmt.Sprintf("commit %d", e.Commit)
		case "reply":
			s := &f.Bars[spans[e.Of]]
			s.End, s.Open, s.Note = moment, false, t.fate(e)
		default:
			spans[e.Event] = len(f.Bars)
			f.Bars = append(f.Bars, chart.Bar{Label: e.label(), Begin: moment, Open: true, Kind: e.kind(), Note: t.fate(e)})
		}
	}
	f.Moments = append(f.Moments, micro(t.CutNs))
	for i := range f.Bars {
		if f.Bars[i].Open {
			f.Bars[i].End = moment + 1
		}
	}
	return f.Chart("timeline")
}

func (e *TimelineEvent) kind() chart.BarKind {
	switch {
	case e.Op == devices.OpFlush.String():
		return chart.BarFlush
	case e.Op == devices.OpRead.String():
		return chart.BarOther
	case e.FUA:
		return chart.BarFUA
	}
	return chart.BarWrite
}

func (e *TimelineEvent) label() string {
	switch e.kind() {
	case chart.BarFlush:
		return "flush"
	case chart.BarOther:
		return fmt.Sprintf("read %d+%d", e.Sector, e.Sectors)
	}
	return fmt.Sprintf("%s %d+%d v%d", e.Op, e.Sector, e.Sectors, e.Version)
}

// fate is what the device is left with of a write.
func (t *Timeline) fate(e *TimelineEvent) string {
	if k := e.kind(); k == chart.BarFlush || k == chart.BarOther || e.Op != devices.OpWrite.String() {
		return ""
	}
	if e.Kind == "reply" && e.Errno != "OK" {
		return "failed: " + e.Errno
	}
	there := uint64(0)
	for _, s := range t.Survived {
		if from, to := max(s.Sector, e.Sector), min(s.Sector+s.Sectors, e.Sector+e.Sectors); from < to && s.Version == e.Version {
			there += to - from
		}
	}
	switch there {
	case 0:
		return "not there"
	case e.Sectors:
		return "there"
	}
	return fmt.Sprintf("%d of %d sectors there", there, e.Sectors)
}
