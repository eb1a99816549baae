//go:build linux

package plugin

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"nbdbench/devices"
)

// submitter is another goroutine than those that complete, as a connection's reader is.
// It submits what has been done again, until left is 0.
func submitter(s *site, d *Handle, depth, left int) {
	done := make(waiter, depth)
	for range depth {
		done <- &devices.Request{Op: devices.OpWrite, Length: 4096, Payload: devices.Payload{Bytes: make([]byte, 4096)}, Completer: done}
	}
	batch := make([]*devices.Request, 0, depth)
	for idle := 0; idle < depth; {
		batch = append(batch[:0], <-done)
		for len(done) > 0 {
			batch = append(batch, <-done)
		}
		n := min(left, len(batch))
		left -= n
		idle += len(batch) - n
		s.real.Enter()
		for _, r := range batch[:n] {
			d.Submit(r)
		}
		s.real.Leave()
	}
}

// processorTime is this process's, in ns.
func processorTime() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkCall is the processor time of a call that does nothing, on a worker and on
// the loop, with that of who submits it, in cpu-ns/op. docs/PLUGINS.md quotes it.
func BenchmarkCall(b *testing.B) {
	for _, inline := range []bool{false, true} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("inline=%v/depth=%d", inline, depth), func(b *testing.B) {
				p := opens(Parallel, func(ConnInfo) *Conn { return plain() })
				p.NonBlocking = inline
				s := newSiteOf(b, p, Options{Timeout: far})
				d, err := s.host.Open(b.Context(), ConnInfo{}, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				began := processorTime()
				submitter(s, d, depth, b.N)
				b.ReportMetric(float64(processorTime()-began)/float64(b.N), "cpu-ns/op")
				s.close(d)
			})
		}
	}
}
