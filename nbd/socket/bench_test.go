package socket

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
)

// BenchmarkSocket is the same over a Unix socket in real time, client and server
// in one process with a loop each.
func BenchmarkSocket(b *testing.B) {
	for _, bench := range []struct {
		name  string
		depth int
	}{{"depth=1", 1}, {"depth=32", 32}} {
		b.Run(bench.name, func(b *testing.B) {
			s, real := newSite(b, "unix"), newReal(b)
			c, err := Dial(within(b), s.uri, real)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			busy := &nbdtest.Resubmit{Dev: c, Loop: real.Loop(), Left: b.N}
			requests := make([]devices.Request, bench.depth)
			b.ReportAllocs()
			b.ResetTimer()
			real.Do(func() {
				for i := range requests {
					r := &requests[i]
					r.Op, r.Flags, r.Length, r.Completer = devices.OpWrite, devices.FUA, 4096, busy
					r.Bytes = make([]byte, 4096)
					busy.Done(r)
				}
			})
			if err := real.RunWhile(b.Context(), func() bool { return busy.Left >= 0 || c.InFlight() > 0 }); err != nil {
				b.Fatal(err)
			}
		})
	}
}
