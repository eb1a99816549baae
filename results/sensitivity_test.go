package results

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// wins and ties are verdicts at a point.
func wins(name string) *Verdict { return &Verdict{Outcome: OutcomeWins, Winner: name} }

func ties(names ...string) *Verdict { return &Verdict{Outcome: OutcomeEquivalent, Tied: names} }

// rowOf is a row of one parameter with its points' verdicts; nil is one that was not run.
func rowOf(parameter, unit string, own float64, values []float64, verdicts ...*Verdict) Sensitivity {
	s := Sensitivity{
		Device: "hdd", Workload: "w", Parameter: parameter, Unit: unit, Baseline: "native wins",
		Value: &own, Low: &values[0], High: &values[1], Runs: 6, Commits: 1000, Cuts: 5,
	}
	if parameter == Joint {
		s.Value, s.Low, s.High = nil, nil, nil
	}
	for i, v := range verdicts {
		p := SensitivityPoint{Values: map[string]float64{parameter: values[i]}}
		if v == nil {
			p.NotRun, p.Reason = true, "interrupted"
		} else {
			p.At(v, s.Baseline)
		}
		s.Points = append(s.Points, p)
	}
	s.Conclude()
	return s
}

func TestWhatAVerdictDependsOnInWords(t *testing.T) {
	withheld := &Verdict{Outcome: OutcomeWithheld, Headline: "no verdict: native had not settled"}
	native, none := wins("native"), wins("none")
	ends := []float64{1, 4}
	base := func(s Sensitivity, baseline string) Sensitivity { s.Baseline = baseline; return s }
	clamped := rowOf("cache.capacity", "bytes", 1<<20, []float64{1 << 19, 1 << 20}, native, native)
	clamped.Points[1].Clamped = map[string]float64{"cache.capacity": 1 << 21}
	for _, c := range []struct {
		name string
		rows []Sensitivity
		want string
	}{
		{
			"holds",
			[]Sensitivity{rowOf("ssd.servers", "count", 1, ends, native, native), rowOf(Joint, "", 0, ends, native, native)},
			"The verdict holds for each estimated parameter alone between half and double, and at 2 of 2 joint points.",
		},
		{
			"joint alone",
			[]Sensitivity{rowOf("ssd.servers", "count", 1, ends, native, native), rowOf(Joint, "", 0, ends, native, none)},
			"The verdict holds for each estimated parameter alone between half and double, but only at 1 of 2 joint points.",
		},
		{
			"servers",
			[]Sensitivity{rowOf("ssd.servers", "count", 1, ends, native, none), rowOf(Joint, "", 0, ends, native, none)},
			"The verdict changes if the drive serves 4 at once (`ssd.servers` is an estimate): none wins; it holds at 1 of 2 joint points.",
		},
		{
			"a time, at both ends",
			[]Sensitivity{rowOf("ssd.fua_base", "ns", 2e6, []float64{1e6, 4e6}, none, ties("none", "emulate")), rowOf(Joint, "", 0, ends, native, native)},
			"The verdict changes if `ssd.fua_base` is 1.00 ms or 4.00 ms and not 2.00 ms (an estimate): none wins or emulate and none tie; it holds at 2 of 2 joint points.",
		},
		{
			"no verdict at a point",
			[]Sensitivity{rowOf("ssd.servers", "count", 1, ends, native, withheld), rowOf(Joint, "", 0, ends, native, native)},
			"The verdict changes at no point that has one, and holds at 2 of 2 joint points. At 1 of 4 points there is no verdict.",
		},
		{
			"interrupted",
			[]Sensitivity{rowOf("ssd.servers", "count", 1, ends, native, nil), rowOf(Joint, "", 0, ends, nil, nil)},
			"The verdict changes at no point that has one, and holds at 0 of 0 joint points. Interrupted: 3 of 4 points were not run.",
		},
		{"interrupted early", []Sensitivity{base(rowOf("ssd.servers", "count", 1, ends, nil, nil), "")}, "Interrupted: 2 of 2 points were not run."},
		{"clamped", []Sensitivity{clamped, rowOf(Joint, "", 0, ends, native, native)}, "joint points. 1 value that the profile does not allow became the nearest that it does."},
		{
			"too few runs",
			[]Sensitivity{base(rowOf("ssd.servers", "count", 1, ends, native, native), "")},
			"From the 6 runs of a point there is no verdict at the profile's own values: what it depends on is not known.",
		},
		{
			"another verdict from fewer runs",
			[]Sensitivity{base(rowOf("ssd.servers", "count", 1, ends, native, native), "native and none tie")},
			"from as few runs at the profile's own values: native and none tie.",
		},
		{"nothing to vary", []Sensitivity{}, "The device's profile calls no parameter an estimate: there is nothing to vary."},
	} {
		r := &Run{Verdicts: []Verdict{{Device: "hdd", Workload: "w", Outcome: OutcomeWins, Winner: "native", Sentence: "Before."}}, Sensitivity: c.rows}
		r.addSensitivity()
		if got := r.Verdicts[0].Sentence; !strings.HasPrefix(got, "Before. ") || !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestAVerdictWithoutAnythingToSayOfItStaysAsItIs(t *testing.T) {
	lost := Verdict{Device: "hdd", Workload: "w", Outcome: OutcomeNone, Sentence: "Lost."}
	withheld := Verdict{Device: "hdd", Workload: "v", Outcome: OutcomeWithheld, Sentence: "Withheld."}
	row := rowOf("ssd.servers", "count", 1, []float64{1, 4}, wins("native"), wins("native"))
	row.Workload, row.Baseline = "v", ""
	r := &Run{Verdicts: []Verdict{lost, withheld}, Sensitivity: []Sensitivity{row}}
	r.addSensitivity()
	if a, b := r.Verdicts[0].Sentence, r.Verdicts[1].Sentence; a != "Lost." || b != "Withheld." {
		t.Errorf("%q and %q", a, b)
	}
}

func TestStrategiesThatTieInAnotherOrderAreTheSameVerdict(t *testing.T) {
	if a, b := ties("none", "emulate").Answer(), ties("emulate", "none").Answer(); a != b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
	apart := &Verdict{Outcome: OutcomeInconclusive, Tied: []string{"none", "emulate"}}
	if a, b := ties("none", "emulate").Answer(), apart.Answer(); a == b {
		t.Errorf("%q whether or not they are separated", a)
	}
}

// varied is a document of which verdicts depend on something.
func varied() *Run {
	r := newSmallDocument()
	d, w := r.Verdicts[0].Device, r.Verdicts[0].Workload
	r.Sensitivity = []Sensitivity{
		rowOf("cache.capacity", "bytes", 1<<20, []float64{1 << 19, 1 << 20}, wins("native"), wins("native")),
		rowOf("ssd.servers", "count", 1, []float64{1, 4}, wins("native"), wins("none")),
		rowOf(Joint, "", 0, []float64{1, 4}, wins("native"), nil),
	}
	r.Sensitivity[0].Points[1].Clamped = map[string]float64{"cache.capacity": 1 << 21}
	for i := range r.Sensitivity {
		r.Sensitivity[i].Device, r.Sensitivity[i].Workload = d, w
	}
	r.addSensitivity()
	return r
}

func TestWhatVerdictsDependOnIsShownInEveryFormat(t *testing.T) {
	r := varied()
	md := string(written(t, r.WriteMarkdown))
	for _, want := range []string{
		"| ssd.servers | 1 | 1 | 4 | native wins | changes at 4: none wins |",
		"| cache.capacity | 1MiB | 512KiB | 1MiB (clamped from 2MiB) |",
		"| 2 joint points | - | - | - | native wins | no verdict at 1 of 2 points |",
		"if the drive serves 4 at once (`ssd.servers` is an estimate): none wins",
		"each point has 6 runs of 1,000 commits",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("Markdown lacks %s:\n%s", want, md)
		}
	}
	page := string(written(t, r.WriteHTML))
	for _, want := range []string{">What a verdict depends on</h2>", "<td>ssd.servers</td>", "<td>changes at 4: none wins</td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	text := string(written(t, func(w io.Writer) error { return r.Summary().Text(w, 120) }))
	if !strings.Contains(text, "The verdict changes if") {
		t.Errorf("the text lacks it:\n%s", text)
	}
	if plain := string(written(t, smallDocument(t).WriteHTML)); strings.Contains(plain, "What a verdict depends on") {
		t.Error("a page without it has the heading")
	}
}

func TestSensitivityIsStoredBySchemaAndReadBack(t *testing.T) {
	text := written(t, varied().WriteJSON)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiledSchema(t).Validate(doc); err != nil {
		t.Error(err)
	}
	back, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if again := written(t, back.WriteJSON); !bytes.Equal(text, again) {
		t.Error("read and written it is another")
	}
	if bytes.Contains(written(t, smallDocument(t).WriteJSON), []byte(`"sensitivity"`)) {
		t.Error("a document without it has the key")
	}
}
