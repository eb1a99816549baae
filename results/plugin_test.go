package results

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"nbdbench/results/table"
	"nbdbench/sim"
)

// pluginRun is a document of one cell, of a plugin unless calls is nil.
func pluginRun(calls *PluginCalls) *Run {
	run := NewRun(Tool{}, []byte("{}"), 1)
	c := NewCell(CellConfig{ID: "d/w/emulate", Device: "d", Workload: "w", Strategy: "emulate", Clock: "virtual", Link: "unix", QueueDepth: 1, Connections: 1, Runs: 2, Durable: true})
	for seed := range sim.Seed(2) {
		r := fakeRun(fakeDevices[0], false, fakeStrategies[0], seed, 100)
		r.Device, r.Calls = nil, calls
		c.Add(r)
	}
	run.Add(c)
	run.Finish()
	return run
}

func TestPluginCallsAreSumsAndTheTableHasThemForEachCommit(t *testing.T) {
	run := pluginRun(&PluginCalls{PWrite: 100, PWriteFUA: 1, Flush: 50, Zero: 2, ZeroFUA: 3, Trim: 4, TrimFUA: 5})
	if got, want := *run.Cells[0].PluginCalls, (PluginCalls{200, 2, 100, 4, 6, 8, 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := run.Cells[0].called().Text, "1.00 pwrite, 0.0100 pwrite(fua), 0.500 flush, 0.0200 zero, 0.0300 zero(fua), 0.0400 trim, 0.0500 trim(fua)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	text := written(t, run.WriteJSON)
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
}

func TestTheTableHasPluginCalls(t *testing.T) {
	var b bytes.Buffer
	if err := pluginRun(&PluginCalls{PWrite: 100, Flush: 100}).Summary().Text(&b, table.Width); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"plugin calls/c", "1.00 pwrite, 1.00 flush"} {
		if !strings.Contains(b.String(), words) {
			t.Errorf("expected %q in\n%s", words, &b)
		}
	}
}

func TestOnlyPluginsHavePluginCalls(t *testing.T) {
	if text := written(t, pluginRun(nil).WriteJSON); bytes.Contains(text, []byte("plugin_calls")) {
		t.Errorf("a document without plugins has their calls:\n%s", text)
	}
}
