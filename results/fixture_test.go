package results

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// The fixture is a document of the default plan's shape, made of invented
// latencies: three devices, two workloads, four strategies, twelve runs.

type fakeStrategy struct {
	name, who string
	durable   bool
	trips     int
	flush     bool // pays for a flush
}

var fakeStrategies = []fakeStrategy{
	{"native", "device, per write", true, 1, false},
	{"emulate", "server: write+flush", true, 1, true},
	{"none", "client: write, then flush", true, 2, true},
	{"none-unsafe", "nobody", false, 1, false},
}

type fakeDevice struct {
	name        string
	cache       sim.Duration // an acknowledged write
	fua, flush  sim.Duration
	noFUA, safe bool
}

var fakeDevices = []fakeDevice{
	{name: "nvme-990pro", cache: 12e3, fua: 1200e3, flush: 1600e3},
	{name: "nvme-pm963", cache: 22e3, fua: 24e3, flush: 4e3, safe: true},
	{name: "hdd-7200", cache: 90e3, flush: 9e6, noFUA: true},
}

const fakeRuns, fakeCommits = 12, 1200

// fakeRun is one run of a cell: every commit is a draw around the strategy's cost.
func fakeRun(d fakeDevice, noisy bool, s fakeStrategy, seed sim.Seed, commits int) *RunResult {
	rec := NewRecorder(RecorderConfig{})
	noise := seed.Stream("noise")
	link := sim.Duration(30e3)
	now := sim.Time(0)
	var r devices.Request
	for i := range commits {
		st := devices.Stages{devices.Wire: link * sim.Duration(s.trips), devices.ServerQueue: 2e3, devices.CacheStage: d.cache}
		spread := sim.LognormalDist(1e6, 0.2).Sample(noise, uint64(i), 1)
		switch {
		case s.flush:
			st[devices.FlushOthers] = d.flush * spread / 1e6
			if noisy {
				st[devices.FlushOthers] *= 3
			}
		case s.durable:
			st[devices.MediaStage] = d.fua * spread / 1e6
		}
		if noisy && noise.Float64(uint64(i), 2) < 0.05 {
			st[devices.DeviceQueue] = 300e3 * spread / 1e6
		}
		c := devices.Commit{Txn: uint64(i + 1), Intended: now, Started: now, Acked: now.Add(st.Total()), Stages: st}
		r = devices.Request{Op: devices.OpWrite, Length: 4096, Intended: now, Submitted: now, Completed: c.Acked}
		if s.durable && !s.flush {
			r.Flags = devices.FUA
		}
		rec.Op(&r)
		rec.Commit(&c)
		now = c.Acked
	}
	out := rec.Result(seed, sim.Duration(now))
	out.Device = &devices.Stats{Flushes: 1, FlushedBytes: 4096, HostWrittenBytes: uint64(commits) * 4096}
	if s.flush {
		out.Device.Flushes = uint64(commits)
	}
	out.Durability = fakeCuts(s.durable || d.safe, seed)
	return out
}

func fakeCuts(safe bool, seed sim.Seed) *Durability {
	d, draw := new(Durability), seed.Stream("cuts")
	for i := range uint64(50) {
		cut := Cut{Acked: 1000}
		if !safe {
			cut.Lost = int64(draw.Uint64N(30, i, 0))
			cut.AtRisk = cut.Lost + 2
			cut.LostWindow, cut.AtRiskBytes = sim.Duration(cut.Lost)*60e3, cut.AtRisk*4096
		}
		d.Add(cut)
	}
	return d
}

func fakeCell(d fakeDevice, workload string, s fakeStrategy, runs int) *Cell {
	c := NewCell(CellConfig{
		ID: d.name + "/" + workload + "/" + s.name, Device: d.name, Workload: workload, Strategy: s.name,
		Clock: "virtual", Link: "unix", QueueDepth: 1, Connections: 1, Runs: fakeRuns,
		Durable: s.durable || d.safe, WhoDurable: s.who,
		Advertised: &Advertised{Flush: true, FUA: s.name == "native" || s.name == "emulate", MultiConn: true},
	})
	if d.noFUA && s.name == "native" {
		c.Unsupported("the device has no FUA")
		return c
	}
	for k := range runs {
		c.Add(fakeRun(d, workload == "wal-noisy", s, sim.Seed(1).Sub(workload, uint64(k)), fakeCommits))
	}
	return c
}

// fakeDocument and smallDocument are made once; tests leave them as they are.
var (
	sharedFake  = sync.OnceValue(newFakeDocument)
	sharedSmall = sync.OnceValue(newSmallDocument)
)

func fakeDocument(testing.TB) *Run { return sharedFake() }

func smallDocument(testing.TB) *Run { return sharedSmall() }

// newFakeDocument is the default plan's shape.
func newFakeDocument() *Run {
	r := NewRun(Tool{Version: "v1.0.0", Go: "go1.26"}, json.RawMessage(`{"runs":12,"seed":1}`), 1)
	for _, d := range fakeDevices {
		for _, w := range []string{"sync-4k", "wal-noisy"} {
			for _, s := range fakeStrategies {
				r.Add(fakeCell(d, w, s, fakeRuns))
			}
		}
	}
	r.Finish()
	return r
}

// newSmallDocument has a cell of each status, in two groups.
func newSmallDocument() *Run {
	r := NewRun(Tool{Version: "v1.0.0", Go: "go1.26"}, json.RawMessage(`{"runs":12,"seed":1}`), 1)
	for _, s := range fakeStrategies {
		runs := fakeRuns
		if s.name == "none" {
			runs = 7 // interrupted
		}
		r.Add(fakeCell(fakeDevices[0], "wal-noisy", s, runs))
	}
	bad := fakeCell(fakeDevices[2], "sync-4k", fakeStrategies[1], fakeRuns)
	bad.Invalid("the host was late")
	far := fakeCell(fakeDevices[2], "sync-4k", fakeStrategies[2], fakeRuns)
	for _, run := range far.runs { // as with a server that is not ours
		run.Stages, run.Device, run.Durability = nil, nil, nil
	}
	r.Add(fakeCell(fakeDevices[2], "sync-4k", fakeStrategies[0], 0))
	r.Add(bad)
	r.Add(far)
	r.Finish()
	return r
}

func containsText(texts []string, want string) bool {
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, want) })
}
