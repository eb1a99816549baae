package workloads

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"

	"nbdbench/internal/conf"
	"nbdbench/internal/units"
)

// Document writes the profile as a JSON object of the keys that a file has, with
// defaults filled in and zeros written. ParseDocument reads it.
func (p Profile) Document() ([]byte, error) { return conf.JSON(p.filled()) }

// ParseDocument reads what Document has written, from its place in a file. The
// error is a *conf.Error.
func ParseDocument(at conf.Within, data []byte) (Profile, error) {
	doc, err := conf.ParseWithin(at, data)
	if err != nil {
		return Profile{}, err
	}
	var p Profile
	if err := doc.Decode(&p); err != nil {
		return Profile{}, err
	}
	p, err = p.loaded()
	return p, doc.Locate(err)
}

// estimate is the source of a profile that names none.
const estimate = "estimate"

// filled is the profile with its defaults.
func (p Profile) filled() Profile {
	p.Source = cmp.Or(p.Source, estimate)
	if len(p.Streams) > 0 {
		p.Streams = slices.Clone(p.Streams)
		for i := range p.Streams {
			s := &p.Streams[i]
			s.Load, s.Count = s.Load.filled(), s.copies()
			s.Transaction, s.Between = filledSteps(s.Transaction), filledSteps(s.Between)
		}
		return p
	}
	p.Load = p.Load.filled()
	p.Transaction, p.Between = filledSteps(p.Transaction), filledSteps(p.Between)
	return p
}

func (l Load) filled() Load {
	l.QueueDepth, l.Arrival = l.depth(), cmp.Or(l.Arrival, ArrivalClosed)
	return l
}

func filledSteps(steps []Step) []Step {
	steps = slices.Clone(steps)
	for i := range steps {
		s := &steps[i]
		s.Count = s.count()
		if !s.placed() {
			continue
		}
		s.Pattern = s.pattern()
		if s.Pattern == PatternZipf {
			s.Theta = s.theta()
		}
		s.fill()
	}
	return steps
}

// Label is how the profile is called where results are shown, name being its name
// in the plan: by that where it is the one that comes with the program; as modified
// where it is another of that name; and with the file that it is from, where the
// program has none of that name.
func (p Profile) Label(name, from string) (string, error) {
	shipped, ok := shippedDocuments()[p.Name]
	if !ok {
		if from == "" || from == p.Name {
			return name, nil
		}
		return name + " (" + from + ")", nil
	}
	mine, err := p.Document()
	if err == nil && !bytes.Equal(mine, shipped) {
		name += " (modified)"
	}
	return name, err
}

// shippedDocuments are those of the profiles that come with the program.
var shippedDocuments = sync.OnceValue(func() map[string][]byte {
	out := map[string][]byte{}
	for _, name := range List() {
		p, err := Get(name)
		if err == nil {
			out[name], err = p.Document()
		}
		if err != nil {
			panic("workloads: " + err.Error()) // a test reads them all
		}
	}
	return out
})

// fill fills in what a pattern or a size leaves to its default.
func (s *Step) fill() {
	switch s.Pattern {
	case PatternPareto:
		s.H = s.h()
	case PatternNormal:
		s.Deviation = s.deviation()
	case PatternZoned:
		s.Zones = s.zones()
	}
	if s.inBytes() {
		_, block := s.record()
		s.Block = units.Size(block)
	}
}

// describing are the keys that describe a profile, and are not asked of a device.
var describing = []string{"name", "description", "source", "per_commit", "invariant"}

// Value is what the profile has at a path such as "transaction[0].size". The error is a
// *conf.FieldError.
func (p Profile) Value(path string) (any, error) {
	key, _, _ := strings.Cut(path, ".")
	if slices.Contains(describing, key) {
		return nil, conf.At(path, "expected a parameter, got what describes the profile")
	}
	return conf.Get(p.filled(), path)
}

// WithValue is the profile with another value at a path, written as in a profile's
// file. The profile itself must be valid.
func (p Profile) WithValue(path, value string) (Profile, error) {
	if _, err := p.Value(path); err != nil {
		return p, err
	}
	if err := conf.Set(&p, path, value); err != nil {
		return p, err
	}
	return p, p.Validate()
}
