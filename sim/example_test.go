package sim_test

import (
	"fmt"
	"time"

	"nbdbench/sim"
)

// A poller is due every 10 ms of virtual time, three times.
type poller struct {
	loop  *sim.Loop
	timer sim.Timer
	polls int
}

func (p *poller) Fire(t *sim.Timer) {
	p.polls++
	fmt.Println(time.Duration(p.loop.Now()))
	if p.polls < 3 {
		p.loop.After(t, 10*time.Millisecond, p)
	}
}

// A loop in virtual time jumps to the next event: nothing here waits.
func ExampleLoop() {
	p := &poller{loop: sim.NewLoop()}
	p.loop.After(&p.timer, 10*time.Millisecond, p)
	p.loop.Run(sim.Never - 1)
	// Output:
	// 10ms
	// 20ms
	// 30ms
}

// A draw depends on the seed, the stream's name and two numbers, and not on the
// draws before it.
func ExampleSeed_Stream() {
	arrivals := sim.Seed(1).Stream("arrivals")
	first := arrivals.Uint64N(100, 0, 0)
	other := arrivals.Uint64N(100, 1, 0)
	fmt.Println(first == arrivals.Uint64N(100, 0, 0), first == other)
	// Output: true false
}
