package workloads_test

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// latencies prints each commit.
type latencies struct{ workloads.Observers }

func (latencies) Commit(c *devices.Commit) {
	fmt.Printf("commit %d: due %v, durable after %v\n", c.Txn, c.Intended, c.Acked.Sub(c.Intended))
}

// disk is a device on which everything takes 4 ms.
type disk struct{ loop *sim.Loop }

func (d disk) Info() devices.Info { return devices.Info{Size: 1 << 30, CanFlush: true} }

func (d disk) Submit(r *devices.Request) {
	r.Timer.Owner = r
	d.loop.After(&r.Timer, 4e6, d)
}

func (d disk) Fire(t *sim.Timer) { t.Owner.(*devices.Request).Finish(devices.OK) }

func Example() {
	loop := sim.NewLoop()
	profile, err := workloads.Get("ext4-journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := workloads.NewRunner(loop, disk{loop}, workloads.Config{Profile: profile, Seed: 1, Commits: 2, Observer: latencies{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Start()
	loop.RunWhile(func() bool { return !r.Finished() })
	// Output:
	// commit 1: due 0s, durable after 16ms
	// commit 2: due 16ms, durable after 16ms
}
