package results_test

import (
	"fmt"
	"os"

	"nbdbench/devices"
	"nbdbench/results"
	"nbdbench/sim"
)

// Two strategies, four runs each, every commit alike.
func Example() {
	run := results.NewRun(results.Tool{Version: "v0"}, nil, 1)
	for i, name := range []string{"native", "emulate"} {
		cell := results.NewCell(results.CellConfig{
			ID: "disk/log/" + name, Device: "disk", Workload: "log", Strategy: name,
			Clock: "virtual", Link: "none", QueueDepth: 1, Connections: 1, Runs: 4, Durable: true, WhoDurable: "device",
		})
		for seed := range sim.Seed(6) {
			rec := results.NewRecorder(results.RecorderConfig{})
			latency := sim.Duration(i+1) * 100e3
			for k := range 500 {
				due := sim.Time(k) * 1e6
				rec.Commit(&devices.Commit{
					Intended: due, Started: due, Acked: due.Add(latency),
					Stages: devices.Stages{devices.MediaStage: latency},
				})
			}
			cell.Add(rec.Result(seed, 500e6))
		}
		run.Add(cell)
	}
	run.Finish()
	fmt.Println(run.Verdicts[0].Winner)
	fmt.Println(run.Comparisons[3].Sentence)
	if err := run.Summary().CSV(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// native
	// emulate is slower: its p99 is exactly 2.00x that of native.
	// device,workload,strategy,status,who_durable,arrival,commits_per_s,p50_ns,p99_ns,p99_ci_low_ns,p99_ci_high_ns,p999_ns,ratio,ratio_metric,ratio_low,ratio_high,p_adjusted,flushes_per_commit,lost_per_cut,at_risk_per_cut,verdict
	// disk,log,native,ok,device,closed,1000,100000,100000,100000,100000,,,,,,,,,,wins
	// disk,log,emulate,ok,device,closed,1000,200000,200000,200000,200000,,2,commit.p99,2,2,,,,,slower
}
