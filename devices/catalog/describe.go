package catalog

import (
	"cmp"
	"fmt"
	"sort"
	"strings"

	"nbdbench/devices/empirical"
	"nbdbench/internal/text"
)

// Describe explains the profile to a person: what the device is, what it does
// on FLUSH, FUA and power loss, and where each figure comes from.
func (p *Profile) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %v\n\n%s\n", p.Called(), p.Title, p.Size, text.Wrap(p.About))
	fmt.Fprintf(&b, "\nadvertises   %s\n", p.advertised())
	fmt.Fprintf(&b, "write cache  %s\n", p.cacheText())
	fmt.Fprintf(&b, "on FLUSH     %s\n", p.flushText())
	fmt.Fprintf(&b, "on FUA       %s\n", p.fuaText())
	fmt.Fprintf(&b, "power loss   %s\n", p.powerText())
	if p.IsArray() {
		fmt.Fprintf(&b, "members      %s\n", strings.Join(p.memberLines(), showIndent))
	}
	if p.SSD != nil && p.SSD.Flash != nil {
		fmt.Fprintf(&b, "dies         %s\n", strings.Join(p.SSD.Flash.lines(), showIndent))
	}
	fmt.Fprintf(&b, "blocks       logical %v, survives a power cut whole: %v\n", p.LogicalBlock, p.AtomicUnit)
	fmt.Fprintf(&b, "confidence   %s\n", p.Confidence)
	p.describeSources(&b)
	p.describeFitted(&b)
	return b.String()
}

// showIndent begins a line that goes on with what a word stands before.
const showIndent = "\n             "

// describeFitted lists the published figures that have set parameters.
func (p *Profile) describeFitted(b *strings.Builder) {
	rows, err := p.Rows()
	if err != nil || len(p.Fitted) == 0 {
		return
	}
	b.WriteString("\nfitted to published figures (nbdbench devices check):\n")
	for i := range rows {
		if kind, sets := p.KindOf(&rows[i]); kind == Fitted {
			fmt.Fprintf(b, "  %s: %s\n", strings.Join(sets, ", "), rows[i].String())
		}
	}
}

func (p *Profile) describeSources(b *strings.Builder) {
	paths := make([]string, 0, len(p.Sources))
	width := 0
	for path := range p.Sources {
		paths = append(paths, path)
		width = max(width, len(path))
	}
	sort.Strings(paths)
	values := p.values()
	b.WriteString("\nfigures and their sources:\n")
	for _, path := range paths {
		fmt.Fprintf(b, "  %-*s  %-10s  %s\n", width, path, values[path], p.Sources[path])
	}
}

func (p *Profile) advertised() string {
	words := []string{}
	for _, w := range []struct {
		on   bool
		word string
	}{
		{p.Advertise.Flush, "FLUSH"},
		{p.Advertise.FUA == "native", "FUA"},
		{p.Advertise.Trim, "TRIM"},
		{p.Advertise.Zero, "WRITE_ZEROES"},
		{p.Advertise.Rotational, "rotational"},
	} {
		if w.on {
			words = append(words, w.word)
		}
	}
	if len(words) == 0 {
		return "nothing beyond READ and WRITE"
	}
	return strings.Join(words, ", ")
}

func (p *Profile) cacheText() string {
	if p.Lies.Capacitor {
		return fmt.Sprintf("protected, it says, but its capacitors hold no charge; up to %v, written back after %v without work",
			p.Cache.Capacity, p.Cache.IdleDestage)
	}
	if p.Cache.Mode == "protected" && p.SSD != nil && p.SSD.Drain > 0 {
		return fmt.Sprintf("protected, %v; full, it takes %v in sequence and, of a drive that was written over once, %v at random",
			p.Cache.Capacity, p.SSD.Drain, cmp.Or(p.SSD.DrainRandom, p.SSD.Drain))
	}
	if p.IsArray() {
		return p.Cache.Mode + ", as those of the members"
	}
	if p.Cache.Mode != "volatile" {
		return p.Cache.Mode
	}
	text := fmt.Sprintf("volatile, %v; destages from %v down to %v", p.Cache.Capacity, p.Cache.HighWater, p.Cache.LowWater)
	if p.Cache.IdleDestage == 0 {
		return text + ", never for lack of work"
	}
	return fmt.Sprintf("%s, and after %v without work", text, p.Cache.IdleDestage)
}

func (p *Profile) flushText() string {
	switch {
	case p.IsArray():
		flush, _, _ := p.arrayText()
		return flush
	case p.Lies.Capacitor && p.Kind == "ssd":
		return fmt.Sprintf("%v, with nothing written: a promise that is not kept", p.SSD.FlushClean)
	case p.Lies.Capacitor:
		return fmt.Sprintf("%v, with nothing written: a promise that is not kept", p.HDD.Ack)
	case p.Lies.Flush:
		return "acknowledged with nothing written: a promise that is not kept"
	case p.Kind == "ram":
		return "nothing to do"
	case p.Kind == "empirical" && p.Advertise.Flush:
		return p.Empirical.measuredText(empirical.Flush)
	case p.Kind == "empirical":
		return "not supported"
	case p.Kind == "cloud":
		return fmt.Sprintf("%v: nothing is at risk", p.Cloud.Flush)
	case p.Kind == "raid":
		return fmt.Sprintf("%v: the battery keeps the cache", p.RAID.Serial+p.RAID.Flush)
	case p.Cache.Mode != "volatile" && p.Kind == "ssd":
		return fmt.Sprintf("%v: nothing is at risk", p.SSD.FlushClean)
	case p.Cache.Mode != "volatile":
		return fmt.Sprintf("%v: nothing is at risk", p.HDD.Ack)
	case p.Kind == "hdd":
		return fmt.Sprintf("writes all that was dirty when it started, the nearest first; %v if nothing was", p.HDD.Ack)
	}
	if f := p.SSD.Flash; f != nil {
		return fmt.Sprintf("%s of all that was dirty when it started, the last one padded%s%v if nothing was dirty",
			f.programs(), f.then(p.SSD.FlushBase), p.SSD.FlushClean) + p.SSD.flushModeText()
	}
	return fmt.Sprintf("%v and %v for each %v beyond the first that was dirty when it started; %v if nothing was",
		p.SSD.FlushBase, p.SSD.FlushPerStripe, p.SSD.Stripe, p.SSD.FlushClean) + p.SSD.flushModeText()
}

func (p *Profile) fuaText() string {
	switch {
	case p.Advertise.FUA != "native":
		return "not supported: write, then flush"
	case p.IsArray():
		_, fua, _ := p.arrayText()
		return fua
	case p.Lies.FUA || p.Lies.Capacitor:
		return "acknowledged from the cache, as any write: a promise that is not kept"
	case p.Kind == "empirical":
		return p.Empirical.measuredText(empirical.WriteFUA)
	case p.Kind == "ram" || p.Cache.Mode != "volatile":
		return "as any write: acknowledged is durable"
	case p.Kind == "hdd":
		return "seek, settle, wait for the sector, write; other dirty data stays in the cache"
	}
	if f := p.SSD.Flash; f != nil {
		return fmt.Sprintf("%s of its own data, padded%sother dirty data stays in the cache", f.programs(), f.then(p.SSD.FUABase)) + p.SSD.batchText()
	}
	return fmt.Sprintf("%v on top of the write; other dirty data stays in the cache", p.SSD.FUABase) + p.SSD.batchText()
}

// flushModeText says how FLUSHes that wait at the same time are served, where they do
// not share one.
func (s *SSD) flushModeText() string {
	if s.flushMode() == flushShared {
		return s.Flush.text()
	}
	return ";" + showIndent + fmt.Sprintf("each takes its whole time, %s", atOnce(s.flushServers())) + s.Flush.text()
}

// atOnce says how many are served at the same time.
func atOnce(n int) string {
	if n <= 1 {
		return "one after another"
	}
	return fmt.Sprintf("%d at once", n)
}

// batchText says which FUA writes share a program, and how many programs there are
// at once.
func (s *SSD) batchText() string {
	switch {
	case s.FUAPrograms == 0 && s.Servers <= 1:
		return ""
	case s.FUAPrograms == 0:
		return ";" + showIndent + atOnce(s.Servers)
	case s.FUABatch <= 1:
		return ";" + showIndent + atOnce(s.FUAPrograms)
	case s.FUAHoldOff == 0:
		return ";" + showIndent + fmt.Sprintf("a program takes the writes that wait, up to %d; programs at once: %d", s.FUABatch, s.FUAPrograms)
	}
	return ";" + showIndent + fmt.Sprintf("a program starts when %d wait, or %v after the first, and takes as many;", s.FUABatch, s.FUAHoldOff) +
		showIndent + fmt.Sprintf("programs at once: %d", s.FUAPrograms)
}

func (p *Profile) powerText() string {
	switch {
	case p.IsArray():
		_, _, power := p.arrayText()
		return power
	case p.Lies.Capacitor || p.Lies.Flush && (p.Lies.FUA || p.Advertise.FUA == "none"):
		return "what was acknowledged and not destaged is lost, whatever was promised of it"
	case p.Cache.Mode == "volatile":
		return "what was acknowledged and neither flushed, destaged nor written with FUA is lost"
	}
	return "keeps all that was acknowledged"
}
