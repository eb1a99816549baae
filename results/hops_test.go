package results

import (
	"encoding/json"
	"testing"

	"nbdbench/devices"
)

// timed is a commit of 1000 ns through one proxy: 100 ns are on its link, 30 in it, 20 it
// waits to send; 200 are on the server's link and 50 in that; 600 on the medium.
func timed() *devices.Commit {
	c := &devices.Commit{Txn: 1, Acked: 1000, Hops: new(devices.HopTimes)}
	c.Stages[devices.Wire], c.Stages[devices.ServerQueue], c.Stages[devices.ClientQueue], c.Stages[devices.MediaStage] = 300, 80, 20, 600
	c.Hops[0] = devices.HopTime{Client: 20, Link: 300, Server: 80}
	c.Hops[1] = devices.HopTime{Link: 200, Server: 50}
	return c
}

func TestAProxysTimeIsApartFromTheServers(t *testing.T) {
	rec := NewRecorder(RecorderConfig{})
	rec.Commit(timed())
	run := rec.Result(1, 2000)
	text, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	back := new(RunResult) // as of a shard
	if err := json.Unmarshal(text, back); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*RunResult{run, back} {
		c := NewCell(CellConfig{ID: "d/w/s", Clock: "virtual", Link: "unix", QueueDepth: 1, Connections: 1, Runs: 1, Hops: []CellHop{{"lan", "pass"}}})
		c.Add(r)
		c.summarise(metricP99)
		b := c.BreakdownNS
		if b == nil || len(b.Hops) != 1 || b.Hops[0] != (HopBreakdown{ClientQueue: 20, Link: 100, ServerQueue: 30}) {
			t.Fatalf("%+v", b)
		}
		if b.ClientQueue != 0 || b.Link != 200 || b.ServerQueue != 50 || b.Media != 600 {
			t.Errorf("%+v", b)
		}
		if err := c.checkBreakdown(); err != nil {
			t.Error(err)
		}
		if v := b.values(); v[numParts-1] != 150 {
			t.Errorf("proxies took %d, want 150", v[numParts-1])
		}
	}
}
