package crash

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/devices/plugin/lossy"
	"nbdbench/devices/plugin/memory"
)

func init() {
	memory.Register()
	lossy.Register()
	plugin.Register("flushes-nothing", func(url.Values) (plugin.Plugin, error) { // EMULATE, with a flush that does nothing
		d := memory.New(1<<24, func(context.Context) (fua.Answer, error) { return fua.Emulate, nil })
		return plugin.Plugin{Open: func(context.Context, plugin.ConnInfo) (*plugin.Conn, error) {
			c := d.Conn()
			c.Flush = func(context.Context) error { return nil }
			return c, nil
		}}, nil
	})
	plugin.Register("uncut", func(url.Values) (plugin.Plugin, error) {
		return plugin.FromInterfaces(strings.NewReader(""), nil, 1<<20), nil
	})
}

// ofPlugin checks a plugin under a strategy.
func ofPlugin(t *testing.T, device, strategy string) *Document {
	t.Helper()
	c := Default()
	c.Devices, c.Workloads, c.Strategies, c.Cuts, c.Jobs = []string{device}, []string{"sync-4k"}, []string{strategy}, 20, 1
	doc, err := Run(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestThePowerOfPluginsIsCut: one that is honest keeps what it promises under each
// strategy, and one that is not is found, with a replay.
func TestThePowerOfPluginsIsCut(t *testing.T) {
	for _, test := range []struct {
		device, strategy string
		broken           bool
	}{
		{"go:memory", "native", false},
		{"go:memory?can_fua=emulate", "pass", false},
		{"go:memory?can_fua=emulate&size=1MiB", "emulate", false},
		{"go:memory?can_fua=none", "none", false},
		{"go:lossy", "native", true},
		{"go:lossy?size=1MiB", "pass", true},
		{"go:lossy", "emulate", false}, // its FLUSH is right
		{"go:flushes-nothing", "pass", true},
		{"go:flushes-nothing", "none", true},
	} {
		doc := ofPlugin(t, test.device, test.strategy)
		if doc.Broken() != test.broken {
			t.Errorf("%s under %s: broken %v, want %v", test.device, test.strategy, doc.Broken(), test.broken)
			continue
		}
		if test.broken && !strings.HasPrefix(doc.Violations[0].Replay, "nbdbench crash --device "+quoted(test.device)+" ") {
			t.Errorf("%s: replay %s", test.device, doc.Violations[0].Replay)
		}
	}
}

// TestAReplayOfAPluginShowsTheSame.
func TestAReplayOfAPluginShowsTheSame(t *testing.T) {
	first := ofPlugin(t, "go:lossy", "native")
	again := ofPlugin(t, "go:lossy", "native")
	replays := func(d *Document) (out []string) {
		for _, v := range d.Violations {
			out = append(out, v.Replay)
		}
		return out
	}
	if !slices.Equal(replays(first), replays(again)) || len(first.Violations) == 0 {
		t.Errorf("%v, then %v", replays(first), replays(again))
	}
}

func TestAPluginWithoutPowerCutIsRefused(t *testing.T) {
	c := Default()
	c.Devices = []string{"go:uncut"}
	if _, err := c.Cells(); err == nil || err.Error() != "go:uncut: the power of this plugin cannot be cut: it has no PowerCut" {
		t.Error(err)
	}
	c.Devices, c.History = []string{"go:memory"}, "testdata"
	if _, err := c.Cells(); err == nil {
		t.Error("a history on a plugin")
	}
}
