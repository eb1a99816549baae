package crash

import (
	"errors"
	"strings"
	"testing"

	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/internal/stack"
)

// hopsOf are proxies as flags have them.
func hopsOf(t testing.TB, texts string) (out []stack.Hop) {
	t.Helper()
	for _, s := range strings.Fields(texts) {
		h, err := stack.ParseHop(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	if err := stack.CheckHops(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Two proxies, each with any strategy, before a server with any strategy: what can be had
// and promises to lose nothing loses nothing, and what promises nothing is found out.
func TestTwoProxiesOfAnyStrategyKeepWhatTheyPromise(t *testing.T) {
	var kept, unsupported, unsafe, lossy int
	for _, first := range layer.Names() {
		for _, second := range layer.Names() {
			c := one("nvme-990pro", "sync-4k", all, 8)
			c.Hops = hopsOf(t, "lan:"+first+" unix:"+second)
			cells, err := c.Cells()
			if err != nil {
				t.Fatal(err)
			}
			for i := range cells {
				r, sights := CellResult{}, map[history.Class]found{}
				s := scenario{cell: &cells[i], seed: 1, commits: 6, queueDepth: 2, connections: 2}
				err := cells[i].oneRun(s, &r, sights, func() bool { return false })
				switch d := r.Durability; {
				case errors.Is(err, layer.ErrUnsupported):
					unsupported++
				case err != nil || r.Cuts == 0:
					t.Errorf("%s, %s, %s: %v after %d cuts", first, second, cells[i].Strategy, err, r.Cuts)
				case !cells[i].durable:
					if unsafe++; d.CommitsAtRisk > 0 {
						lossy++
					}
				case len(sights) > 0 || d.CommitsLost > 0 || d.CommitsAtRisk > 0:
					t.Errorf("%s, %s, %s: %+v, %+v", first, second, cells[i].Strategy, d, sights)
				default:
					kept++
				}
			}
		}
	}
	t.Logf("%d kept their promises, %d promise nothing (%d of them lose commits), %d are unsupported", kept, unsafe, lossy, unsupported)
	if kept+unsafe+unsupported != 9*9*9 || kept < 150 || lossy < unsafe*9/10 {
		t.Errorf("of %d compositions", kept+unsafe+unsupported)
	}
}

// A history with power cuts goes through proxies, whose connections end with the power.
func TestAPowerCutEndsTheConnectionsOfProxies(t *testing.T) {
	for _, hops := range []string{"lan:pass unix:emulate", "unix:native lan:native", "unix:none lan:emulate-grouped", "unix:emulate lan:force"} {
		c := one("nvme-990pro", "", "native", 200)
		c.History, c.Hops = cutHistory(t), hopsOf(t, hops)
		d := check(t, c)
		if r := d.Cells[0]; d.Broken() || r.Status != "ok" || r.Promises == 0 || r.verdict() != "promises kept" {
			t.Errorf("%s: %s %s, %d promises, %v", hops, r.verdict(), r.Reason, r.Promises, d.Violations)
		}
	}
}

func TestTheReplayOfAViolationHasItsProxies(t *testing.T) {
	c := one("lying", "sync-4k", "native", 40)
	c.Hops = hopsOf(t, "lan:native 20us,1GB/s:pass")
	d := check(t, c)
	if !d.Broken() {
		t.Fatal("a device that lies is not found behind proxies")
	}
	if replay := d.Violations[0].Replay; !strings.Contains(replay, " --hop lan:native --hop 20µs,1GB/s:pass ") {
		t.Errorf("%s", replay)
	}
}
