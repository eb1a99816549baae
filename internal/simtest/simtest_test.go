package simtest

import (
	"flag"
	"testing"

	"nbdbench/sim"
)

var (
	runs     = flag.Int("simtest.runs", 0, "how many worlds the swarm runs; 0 is as many as fit a test")
	one      = flag.Int64("simtest.seed", -1, "run the world of this seed alone")
	strategy = flag.String("simtest.strategy", "", "the strategy in place of the one that is drawn")
	device   = flag.String("simtest.device", "", "the device in place of the one that is drawn")
	direct   = flag.Bool("simtest.direct", false, "leave NBD out")
	serial   = flag.Bool("simtest.serial", false, "one request at a time over a link that takes no time")
)

func flags() Options {
	return Options{Strategy: *strategy, Device: *device, Direct: *direct, Serial: *serial}
}

func TestSwarm(t *testing.T) {
	if *one >= 0 {
		r, err := Run(sim.Seed(*one), flags())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", r)
		return
	}
	n := *runs
	if n == 0 {
		n = 1000
	}
	bad := 0
	for seed := range n {
		if _, err := Run(sim.Seed(seed), flags()); err != nil {
			t.Error(err)
			if bad++; bad > 5 { break }
		}
	}
}
