package bench

import (
	"fmt"
	"strings"
	"testing"

	"nbdbench/devices/layer"
	"nbdbench/internal/stack"
	"nbdbench/results"
)

// through is a plan with proxies.
func through(t testing.TB, p Plan, hops string) Plan {
	t.Helper()
	if err := p.UseHops(strings.Fields(hops)); err != nil {
		t.Fatal(err)
	}
	return p
}

// The link to the server takes no time. A durable write of 4 KiB goes by each proxy's, of
// 1 GB/s: its 28+4096 bytes there, 16 back.
func TestProxiesCostWhatTheirLinksTake(t *testing.T) {
	p := plan("nvme-pm963", "sync-4k", "native")
	base := cellOf(t, mustRun(t, p), "nvme-pm963/sync-4k/native")
	c := cellOf(t, mustRun(t, through(t, p, "20us,1GB/s:native 5us,1GB/s:pass")), base.ID)
	const first, second = 2*20_000 + 28 + 4096 + 16, 2*5000 + 28 + 4096 + 16
	if got, want := *c.Commit.Mean, *base.Commit.Mean+first+second; got != want {
		t.Errorf("the mean is %d ns, want %d", got, want)
	}
	b := c.BreakdownNS
	if len(b.Hops) != 2 || b.Hops[0] != (results.HopBreakdown{Link: first}) || b.Hops[1] != (results.HopBreakdown{Link: second}) {
		t.Errorf("hops cost %+v, want links of %d and %d", b.Hops, first, second)
	}
	if was := base.BreakdownNS; b.Link != was.Link || b.Cache != was.Cache || b.Media != was.Media || b.ServerQueue != was.ServerQueue || b.ClientQueue != was.ClientQueue {
		t.Errorf("the rest is %+v, without proxies %+v", b, was)
	}
}

// Each proxy's time is its own: the one that flushes has its time for the link once, and
// what is behind it twice.
func TestWhoFlushesDecidesWhatIsCrossedTwice(t *testing.T) {
	p := plan("nvme-pm963", "sync-4k", "native")
	c := cellOf(t, mustRun(t, through(t, p, "20us,1GB/s:emulate 5us,1GB/s:native")), "nvme-pm963/sync-4k/native")
	const first, second = 2*20_000 + 28 + 4096 + 16, 4*5000 + 28 + 4096 + 16 + 28 + 16
	if b := c.BreakdownNS; b.Hops[0].Link != first || b.Hops[1].Link != second {
		t.Errorf("hops cost %+v, want links of %d and %d", b.Hops, first, second)
	}
	if want := "hop 1: write, then flush"; c.WhoDurable != want || !c.Durable {
		t.Errorf("durable by %q (%v), want %q", c.WhoDurable, c.Durable, want)
	}
	if len(c.Hops) != 2 || c.Hops[0] != (results.CellHop{Link: "20µs,1GB/s", Strategy: "emulate"}) {
		t.Errorf("the cell's hops are %+v", c.Hops)
	}
}

// Commits that share a log and a FLUSH, in slots that wait, on several connections, of
// several streams.
func TestTheBreakdownWithProxiesSumsToTheMean(t *testing.T) {
	for _, hops := range []string{"lan:emulate unix:native", "unix:none lan:pass", "unix:pass lan:none-grouped unix:emulate-grouped"} {
		p := plan("nvme-990pro hdd-7200", "sync-4k wal-noisy ext4-journal", "native none-grouped emulate")
		p.Commits, p.QueueDepth, p.Connections, p.Link, p.Sensitivity = 60, 4, 2, links["unix"], false
		seen := 0
		for _, c := range mustRun(t, through(t, p, hops)).Cells {
			if c.Status != results.StatusOK {
				if c.Status != results.StatusUnsupported {
					t.Errorf("%s, %s: %s: %s", hops, c.ID, c.Status, c.Reason)
				}
				continue
			}
			seen++
			if c.BreakdownNS == nil {
				t.Errorf("%s, %s has no breakdown", hops, c.ID)
				continue
			}
			b := c.BreakdownNS
			sum := b.ClientQueue + b.Link + b.ServerQueue + b.DeviceQueue + b.Cache + b.Media + b.FlushOthers
			for i, h := range b.Hops {
				sum += h.ClientQueue + h.Link + h.ServerQueue
				if h.Link == 0 || h.ClientQueue < 0 || h.ServerQueue < 0 {
					t.Errorf("%s, %s: hop %d has %+v", hops, c.ID, i+1, h)
				}
			}
			if sum != *c.Commit.Mean || len(b.Hops) != strings.Count(hops, " ")+1 {
				t.Errorf("%s, %s: %+v sums to %d, the mean is %d", hops, c.ID, b, sum, *c.Commit.Mean)
			}
		}
		if seen < 12 {
			t.Errorf("%s: %d cells", hops, seen)
		}
	}
}

// A run through proxies is the same again from its document.
func TestARunThroughProxiesIsRepeatable(t *testing.T) {
	p := plan("nvme-990pro", "sync-4k wal-noisy", "native emulate")
	p.Commits, p.Cuts, p.Runs = 80, 3, 3
	doc := mustRun(t, through(t, p, "lan:emulate :native"))
	mustRunAgain(t, doc)
	for _, c := range doc.Cells {
		if d := c.Durability; d.CommitsLost > 0 || d.Violations > 0 || d.Cuts == 0 {
			t.Errorf("%s: %+v", c.ID, d)
		}
	}
}

// What the drawing says of who makes a write durable is what the device is asked for.
func TestTheDeviceIsAskedForWhatThePathSays(t *testing.T) {
	for _, first := range layer.Names() {
		for _, second := range layer.Names() {
			p := through(t, plan("nvme-pm963", "sync-4k", "native"), "unix:"+first+" unix:"+second)
			p.Commits, p.Runs = 5, 1
			cells, err := p.Cells()
			if err != nil {
				t.Fatal(err)
			}
			paths, err := p.Paths(cells, cells[0].Device)
			if err != nil || len(paths) != 1 {
				t.Fatalf("%v, %v", paths, err)
			}
			c := mustRun(t, p).Cells[0]
			path := paths[0]
			if (c.Status == results.StatusUnsupported) != (path.Unsupported != "") {
				t.Errorf("%s, %s: the cell is %s (%s), the path %+v", first, second, c.Status, c.Reason, path)
				continue
			}
			if path.Unsupported != "" {
				continue
			}
			if flushed := c.Stats.Flushes > 0; flushed != strings.Contains(path.Sent[len(path.Sent)-1], "FLUSH") {
				t.Errorf("%s, %s: %d FLUSHes of the device, the path is %v", first, second, c.Stats.Flushes, path.Sent)
			}
			if sent := fmt.Sprint(c.Wire.WriteFUA > 0, c.Wire.Write > 0, c.Wire.Flush > 0); sent != fmt.Sprint(strings.Contains(path.Sent[0], "FUA"), strings.HasPrefix(path.Sent[0], "write") && !strings.Contains(path.Sent[0], "FUA"), strings.Contains(path.Sent[0], "FLUSH")) {
				t.Errorf("%s, %s: the client sent %+v, the path is %v", first, second, c.Wire, path.Sent)
			}
		}
	}
}

func TestProxiesNeedVirtualTime(t *testing.T) {
	p := through(t, plan("ram", "sync-4k", "native"), "lan")
	p.UseClock("real")
	if _, err := p.Cells(); err == nil || !strings.Contains(err.Error(), "hops: expected none in real time") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkHops is BenchmarkStack with two proxies.
func BenchmarkHops(b *testing.B) {
	for _, hops := range []string{"lan:native unix:native", "lan:emulate unix:native"} {
		b.Run(strings.ReplaceAll(hops, " ", "+"), func(b *testing.B) {
			p := through(b, plan("nvme-pm963", "sync-4k", "native"), hops)
			p.Link, p.QueueDepth, p.Cuts, p.Commits, p.Duration = stack.Links()["unix"], 32, 0, 1<<40, MaxDuration
			cells, err := p.Cells()
			if err != nil {
				b.Fatal(err)
			}
			small := *cells[0].Profile
			small.Size = 256 << 20
			cells[0].Profile = &small
			pump(b, &p, &cells[0], 200_000)
		})
	}
}
