package interop

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestBenchFioAgrees drives one server, whose device has the latencies of a drive, by fio's
// nbd engine and by our client in alternation, and prints the ratios of what they measure:
// what the device takes is in both, what the client itself takes is not.
func TestBenchFioAgrees(t *testing.T) {
	d, repeat := peersPlan(t)
	idle := newProcessors(t)
	idle.stayAwake()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %v, %d pairs of %v: ours / fio, median of the ratios with its 95%% interval\n", machine(), idle, repeat, d)
	order := rand.New(rand.NewPCG(1, 1))
	for _, device := range []string{"nvme-990pro", "hdd-7200"} {
		s := serve(t, device, "--size", "1GiB")
		fill(t, s.uri)
		for _, l := range []load{{Size: 4096, Depth: 1, Connections: 1}, {Size: 4096, Depth: 4, Connections: 1}, {Write: true, Size: 4096, Depth: 1, Connections: 1}} {
			if device == "hdd-7200" {
				if l.Write {
					continue // one run's writes are still in the cache when the next begins
				}
				d = max(d, 4*time.Second) // some 100 reads a second
			}
			l.URI, l.Time = s.uri, d
			var both [2][]rate
			for pair := range repeat {
				l.Seed = uint64(pair)
				for _, i := range order.Perm(2) {
					both[i] = append(both[i], clients[i].run(t, l))
				}
			}
			fmt.Fprintf(&b, "%s, %v: IOPS %v, p50 %v; fio %.0f IOPS, p50 %.0f us\n", device, l,
				compare(both[1], both[0], rate.iops), compare(both[1], both[0], func(r rate) float64 { return r.P50 }),
				median(both[0], rate.iops), median(both[0], func(r rate) float64 { return r.P50 }))
		}
	}
	t.Logf("\n%s", b.String())
}
