package interop

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/bench"
	"nbdbench/results"
	"nbdbench/workloads"
)

// plainWrites is a workload of writes that are not durable by themselves, as fio's
// nbd engine sends them: it knows no FUA. Under force and discard that is the same to
// the plugin.
const plainWrites = "name: plain-4k\ntransaction: [{op: write, size: 4k}]\n"

// timed are medians of a run, in ns, from before a request is sent to its reply.
type timed struct{ write, flush, sending float64 }

// nbdkitPlan is one run of a strategy on a nbdkit of its own.
func nbdkitPlan(plugin, strategy, workload string) bench.Plan {
	p := bench.Default()
	p.UseNbdkit(plugin)
	p.Workloads, p.Strategies = []workloads.Ref{{Name: workload}}, []string{strategy}
	shorten(&p, 1, time.Second)
	return p
}

// ourTimes measures a plan's one run.
func ourTimes(t *testing.T, p bench.Plan) timed {
	t.Helper()
	doc, err := bench.Run(context.Background(), &p, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := doc.Cells[0]
	if c.Ops == nil || c.Ops.Write == nil || c.Ops.Write.P50 == nil {
		t.Fatalf("%s is %s: %s; no writes", c.ID, c.Status, c.Reason)
	}
	out := timed{write: p50(c.Ops.Write)}
	if c.Ops.Flush != nil {
		out.flush = p50(c.Ops.Flush)
	}
	return out
}

func p50(l *results.Latency) float64 {
	if l.P50 == nil {
		return math.NaN()
	}
	return float64(*l.P50)
}

// fioTimes measures the same with fio, for the one second that is the least bound in
// time that fio keeps. Of an asynchronous engine fio counts clat, and the latency of
// sync, from when the request has been sent (td_io_queue in its ioengines.c); slat is
// the time that this took, and belongs to a latency as it is counted here.
func fioTimes(t *testing.T, uri string, more ...string) timed {
	t.Helper()
	text := must(t, t.TempDir(), append([]string{
		"fio", "--name=w", "--ioengine=nbd", "--uri=" + uri, "--rw=write", "--bs=4k", "--iodepth=1",
		"--time_based", "--runtime=1", "--size=64m", "--percentile_list=50", "--slat_percentiles=1", "--clat_percentiles=1", "--output-format=json",
	}, more...)...)
	type latency struct{ Percentile map[string]float64 }
	var d struct {
		Jobs []struct {
			Write struct {
				Sending latency `json:"slat_ns"`
				Lat     latency `json:"clat_ns"`
			}
			Sync struct {
				Lat latency `json:"lat_ns"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text[strings.IndexByte(text, '{'):]), &d); err != nil {
		t.Fatal(err)
	}
	median := func(l latency) float64 { return l.Percentile["50.000000"] }
	job := d.Jobs[0]
	sending := median(job.Write.Sending)
	return timed{sending + median(job.Write.Lat), sending + median(job.Sync.Lat), sending}
}

// fioOnNbdkit is fioTimes on a nbdkit that is started as a run starts it.
func fioOnNbdkit(t *testing.T, plugin []string, strategy string) timed {
	t.Helper()
	args := append([]string{"--filter=fua"}, plugin...)
	more := []string{}
	if strategy == "none" {
		more = append(more, "--fsync=1")
	} else {
		args = append(args, "fuamode="+strategy)
	}
	uri, server := nbdkit(t, args...)
	defer server.stop()
	return fioTimes(t, uri, more...)
}

// TestLatenciesUnderNbdkitAreThoseOfFio: medians of 11 runs, in turn with fio on the
// same plugin under the same fuamode.
func TestLatenciesUnderNbdkitAreThoseOfFio(t *testing.T) {
	if os.Getenv("NBDBENCH_TIMING") != "1" {
		t.Skip("this is about time, which takes a machine with nothing else to do: set NBDBENCH_TIMING=1")
	}
	needHost(t, "nbdkit")
	need(t, "fio")
	plain := filepath.Join(t.TempDir(), "plain.yaml")
	if err := os.WriteFile(plain, []byte(plainWrites), 0o600); err != nil {
		t.Fatal(err)
	}
	workload := map[string]string{"none": "sync-4k", "force": plain, "discard": plain}
	for _, plugin := range [][]string{{"memory", "64M"}, {"file", rawFile(t)}} {
		t.Run(plugin[0], func(t *testing.T) {
			ours, theirs := map[string][]timed{}, map[string][]timed{}
			for range 11 {
				for _, strategy := range []string{"none", "force", "discard"} {
					ours[strategy] = append(ours[strategy], ourTimes(t, nbdkitPlan(strings.Join(plugin, " "), strategy, workload[strategy])))
					theirs[strategy] = append(theirs[strategy], fioOnNbdkit(t, plugin, strategy))
				}
			}
			write, flush := func(m timed) float64 { return m.write }, func(m timed) float64 { return m.flush }
			alike(t, "ops.write under none", ours["none"], theirs["none"], write)
			alike(t, "ops.flush under none", ours["none"], theirs["none"], flush)
			alike(t, "ops.write under force", ours["force"], theirs["force"], write)
			alike(t, "ops.write under discard", ours["discard"], theirs["discard"], write)
		})
	}
}

// alike compares the medians of what both measured.
func alike(t *testing.T, what string, ours, theirs []timed, of func(timed) float64) {
	t.Helper()
	median := func(all []timed, of func(timed) float64) float64 {
		var v []float64
		for _, m := range all {
			v = append(v, of(m))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	a, b, sending := median(ours, of), median(theirs, of), median(theirs, func(m timed) float64 { return m.sending })
	var paired []float64
	for i := range ours {
		paired = append(paired, of(ours[i])/of(theirs[i]))
	}
	t.Logf("%s, p50: nbdbench %.0f ns, fio %.0f ns, of which sending %.0f, ratio %.3f; ratio of pairs %v", what, a, b, sending, a/b, spread(paired))
	if !(math.Abs(a/b-1) <= 0.05) {
		t.Errorf("%s: p50 is %.3f of fio's, want within 5%%", what, a/b)
	}
}
