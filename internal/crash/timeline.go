package crash

import (
	"fmt"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// Timeline is the history that a violation came of, at the wire.
type Timeline struct {
	Events   []TimelineEvent `json:"events"`
	CutNs    int64           `json:"cut_ns"`
	Survived []Survivor      `json:"survived"` // what the device's own image holds
}

// TimelineEvent is one end of one request, or a commit that the application saw
// acknowledged.
type TimelineEvent struct {
	AtNs    int64         `json:"at_ns"`
	Event   uint64        `json:"event"` // its number at the wire; 0 for a commit
	Of      uint64        `json:"of"`    // of a reply, the event of its request
	Kind    string        `json:"kind"`  // request, reply, commit or power cut
	Op      string        `json:"op"`
	FUA     bool          `json:"fua"`
	Sector  uint64        `json:"sector"`
	Sectors uint64        `json:"sectors"`
	Version devices.Stamp `json:"version"`
	Errno   string        `json:"errno"`
	Commit  uint64        `json:"commit"`
}

// Survivor is a range of sectors after the cut.
type Survivor struct {
	Sector  uint64        `json:"sector"`
	Sectors uint64        `json:"sectors"`
	Version devices.Stamp `json:"version"`
}

// powerCut is the kind of an event at which a replayed history has a power cut.
const powerCut = "power cut"

// maxSurvivors bounds what a timeline shows of an image.
const maxSurvivors = 64

// violation is the finding in the form of the document.
func (f *found) violation() (*Violation, error) {
	w, err := newWorld(f.scenario)
	if err != nil {
		return nil, err
	}
	if err := w.run(func(step uint64) bool { return step < f.step }); err != nil {
		return nil, err
	}
	v := &Violation{
		Class: f.class, Cell: f.cell.ID(), Sector: f.sector, Expected: f.expected, Found: f.found, CoveredBy: f.covered,
		CutNs: int64(f.at), CutEvent: f.step, Images: f.images, Image: f.image, Text: f.text, Replay: f.replay(), Seed: f.seed,
		Requests: int(w.app.mask.n), Timeline: w.timeline(sim.Seed(f.seed).Sub("cut", f.step)),
	}
	if f.requests != nil {
		v.Requests = len(f.requests)
	}
	if v.Expected == nil {
		v.Expected = []devices.Stamp{}
	}
	return v, nil
}

// timeline is the history so far, and what a cut now leaves.
func (w *world) timeline(cut sim.Seed) *Timeline {
	t := &Timeline{CutNs: int64(w.loop.Now()), Survived: []Survivor{}}
	acks := w.app.acks
	for i := range w.log.Events {
		e := &w.log.Events[i]
		for len(acks) > 0 && acks[0].at < e.Time {
			t.commit(acks[0])
			acks = acks[1:]
		}
		t.Events = append(t.Events, eventOf(e))
	}
	for _, a := range acks {
		t.commit(a)
	}
	k := w.model.Cut(cut)
	w.app.Written(func(off, end uint64) {
		for s := off / devices.Sector; s < end/devices.Sector; s++ {
			t.survive(s, k.Stamp(s))
		}
	})
	return t
}

func (t *Timeline) commit(a ack) {
	t.Events = append(t.Events, TimelineEvent{AtNs: int64(a.at), Kind: "commit", Commit: a.txn, Errno: a.err.String()})
}

func eventOf(e *history.Event) TimelineEvent {
	out := TimelineEvent{
		AtNs: int64(e.Time), Event: e.Seq, Of: e.Of, Kind: "request", Op: e.Op.String(), FUA: e.Flags&devices.FUA != 0,
		Sector: e.Offset / devices.Sector, Sectors: e.Length / devices.Sector, Version: e.Stamp, Commit: e.Txn,
	}
	switch e.Kind {
	case history.Done:
		out.Kind, out.Errno = "reply", e.Errno.String()
	case history.PowerCut:
		out.Kind, out.Op = powerCut, ""
	}
	return out
}

// survive adds a sector to the image; neighbours of one version are one range.
func (t *Timeline) survive(sector uint64, s devices.Stamp) {
	if n := len(t.Survived); n > 0 {
		if last := &t.Survived[n-1]; last.Version == s && last.Sector+last.Sectors == sector {
			last.Sectors++
			return
		}
		if n == maxSurvivors {
			return
		}
	}
	t.Survived = append(t.Survived, Survivor{sector, 1, s})
}

// replay is the command that shows the violation again.
func (f *found) replay() string {
	c := f.cell
	load := "--workload"
	if c.history != nil {
		load = "--history"
	}
	words := []string{"nbdbench crash", "--device", quoted(c.Device), load, c.Workload, "--strategy", c.Strategy, "--seed", fmt.Sprint(f.seed)}
	if c.history == nil {
		words = append(words, "--commits", fmt.Sprint(f.commits))
	}
	if f.queueDepth != 0 && c.history == nil {
		words = append(words, "--queue-depth", fmt.Sprint(f.queueDepth))
	}
	if f.connections != (&Config{}).connections(c.Load.Name) && c.history == nil {
		words = append(words, "--connections", fmt.Sprint(f.connections))
	}
	for _, h := range c.Config.Hops {
		words = append(words, "--hop", h.String())
	}
	if plan := c.Config.Fault.String(); plan != "" {
		words = append(words, "--fault", plan)
	}
	if c.Config.ReadOrder {
		words = append(words, "--read-order=true")
	}
	if c.Config.Invariant != "" {
		words = append(words, "--invariant", c.Config.Invariant)
	}
	if f.requests != nil {
		words = append(words, "--requests", Ranges(f.requests))
	}
	return strings.Join(append(words, "--cut-at", fmt.Sprint(f.step)), " ")
}

// quoted is a word as a shell takes it: a plugin's name may have ? and &.
func quoted(word string) string {
	if !strings.ContainsAny(word, "?&'\"\\$`;|<>()*[]~ \t\n") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Ranges writes rising numbers as 1-3,7.
func Ranges(numbers []uint64) string {
	if len(numbers) == 0 {
		return "none"
	}
	var words []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if word := fmt.Sprint(numbers[i]); i == j {
			words = append(words, word)
		} else {
			words = append(words, fmt.Sprintf("%s-%d", word, numbers[j]))
		}
		i = j + 1
	}
	return strings.Join(words, ",")
}

// maxRequests bounds the numbers that ParseRanges makes.
const maxRequests = 1 << 20

// ParseRanges reads what Ranges writes.
func ParseRanges(text string) ([]uint64, error) {
	out := []uint64{}
	if text == "none" {
		return out, nil
	}
	for _, word := range strings.Split(text, ",") {
		var first, last uint64
		if n, err := fmt.Sscanf(word+"\n", "%d-%d\n", &first, &last); n != 2 || err != nil {
			if n, err := fmt.Sscanf(word+"\n", "%d\n", &first); n != 1 || err != nil {
				return nil, fmt.Errorf("expected numbers such as 1-3,7, got %q", word)
			}
			last = first
		}
		switch {
		case first == 0 || last < first || len(out) > 0 && first <= out[len(out)-1]:
			return nil, fmt.Errorf("expected rising numbers from 1 on, got %q", word)
		case last-first >= maxRequests || uint64(len(out))+last-first >= maxRequests:
			return nil, fmt.Errorf("expected at most %d requests", maxRequests)
		}
		for ; first <= last; first++ {
			out = append(out, first)
		}
	}
	return out, nil
}

// maxLines bounds a timeline as text: its first lines, and more of its last.
const maxLines = 40

// String is the violation as text: what is wrong, the command that shows it
// again, and the timeline.
func (v *Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s: sector %d holds %s", v.Class, v.Cell, v.Sector, version(v.Found))
	if len(v.Expected) > 0 {
		fmt.Fprintf(&b, ", expected %s", versions(v.Expected))
	}
	if v.CoveredBy != "" {
		fmt.Fprintf(&b, " (promised by the %s)", v.CoveredBy)
	}
	fmt.Fprintf(&b, "\n  %s\n  of the %s's images; again, with %s:\n  %s\n\n", v.Text, v.Images, count(v.Requests, "request"), v.Replay)
	lines := v.Timeline.lines()
	if drop := len(lines) - maxLines; drop > 0 {
		cut := append([]string{}, lines[:maxLines/4]...)
		cut = append(cut, fmt.Sprintf("  %14s  %d more", "...", drop))
		lines = append(cut, lines[maxLines/4+drop:]...)
	}
	b.WriteString(strings.Join(lines, "\n"))
	if len(v.Timeline.Survived) > 0 {
		b.WriteString("\n" + v.Timeline.image())
	}
	return b.String()
}

func version(s devices.Stamp) string {
	if s == 0 {
		return "zeros"
	}
	if s >= history.MaxStamp {
		return "what nobody wrote"
	}
	return fmt.Sprintf("version %d", s)
}

func versions(s []devices.Stamp) string {
	var words []string
	for _, v := range s {
		words = append(words, version(v))
	}
	return strings.Join(words, " or ")
}

// lines is the timeline as text: what arrives at the server to the right, what
// it answers to the left.
func (t *Timeline) lines() []string {
	out := []string{fmt.Sprintf("  %14s  event", "time")}
	for i := range t.Events {
		out = append(out, t.Events[i].line())
	}
	return append(out, fmt.Sprintf("  %14s  ====== the power is cut", micro(t.CutNs)))
}

func micro(ns int64) string { return fmt.Sprintf("%.3f us", float64(ns)/1e3) }

func (e *TimelineEvent) line() string {
	at := micro(e.AtNs)
	fua := ""
	if e.FUA {
		fua = " fua"
	}
	where := fmt.Sprintf(" %d+%d %s", e.Sector, e.Sectors, version(e.Version))
	switch {
	case e.Kind == powerCut:
		return fmt.Sprintf("  %14s  %4d ====== the power is cut and comes back, as the history has it", at, e.Event)
	case e.Kind == "commit" && e.Errno == "OK":
		return fmt.Sprintf("  %14s  ****** commit %d is acknowledged", at, e.Commit)
	case e.Kind == "commit":
		return fmt.Sprintf("  %14s  ****** commit %d fails: %s", at, e.Commit, e.Errno)
	case e.Op == "flush":
		where = ""
	case e.Op == "read":
		where = fmt.Sprintf(" %d+%d", e.Sector, e.Sectors)
	}
	if e.Kind == "reply" {
		return fmt.Sprintf("  %14s  %4d <- %s%s%s: %s", at, e.Event, e.Op, fua, where, e.Errno)
	}
	return fmt.Sprintf("  %14s  %4d -> %s%s%s", at, e.Event, e.Op, fua, where)
}

// maxRanges bounds the text about an image.
const maxRanges = 8

// image is what survived, as text.
func (t *Timeline) image() string {
	var words []string
	for i, s := range t.Survived {
		if i == maxRanges {
			words = append(words, "...")
			break
		}
		words = append(words, fmt.Sprintf("%d+%d %s", s.Sector, s.Sectors, version(s.Version)))
	}
	return "  what this device is left with: " + strings.Join(words, "; ")
}
