package history

import (
	"slices"
	"testing"

	"nbdbench/devices"
)

// Two writes in flight together are both legal after a FLUSH. A READ that returned the
// newer one, and then the FLUSH, exclude the older one, for those who ask for it.
func TestAReadOrdersConcurrentWritesForThoseWhoAsk(t *testing.T) {
	info := devices.Info{MultiConn: true, Cache: devices.CacheVolatile, AtomicUnit: 4096}
	events := []Event{
		{Kind: Submit, Op: devices.OpWrite, Length: 4096, Stamp: 1},
		{Kind: Submit, Op: devices.OpWrite, Length: 4096, Stamp: 2},
		{Kind: Done, Of: 2, Op: devices.OpWrite, Length: 4096, Stamp: 2},
		{Kind: Done, Of: 1, Op: devices.OpWrite, Length: 4096, Stamp: 1},
		{Kind: Submit, Op: devices.OpRead, Length: 4096},
		{Kind: Done, Of: 5, Op: devices.OpRead, Length: 4096},
		{Kind: Submit, Op: devices.OpFlush},
		{Kind: Done, Of: 7, Op: devices.OpFlush},
	}
	for _, c := range []struct {
		name        string
		asked       bool
		until       int
		returned    devices.Stamp
		legal, gone devices.Stamp
		list        []devices.Stamp
	}{
		{"nobody asks", false, 8, 2, 1, 0, []devices.Stamp{1, 2}},
		{"before the FLUSH", true, 6, 2, 1, 0, []devices.Stamp{0, 1, 2}},
		{"the read returned 2", true, 8, 2, 2, 1, []devices.Stamp{2}},
		{"the read returned 1", true, 8, 1, 1, 2, []devices.Stamp{1}},
	} {
		j, l := NewJudge(info), NewLegal(info)
		if c.asked {
			j.OrderByReads()
			l.OrderByReads()
		}
		for i := range events[:c.until] {
			e := events[i]
			e.Seq = uint64(i + 1)
			for _, s := range []ReadSink{j, l} {
				if e.Kind == Done && e.Op == devices.OpRead {
					s.ObserveRead(&e, slices.Repeat([]devices.Stamp{c.returned}, 8))
				}
				s.Observe(&e)
			}
		}
		if !j.Legal(0, c.legal) {
			t.Errorf("%s: version %d is not legal", c.name, c.legal)
		}
		if v, bad := j.Check(0, c.gone); c.gone != 0 && (!bad || v.Class != StaleRead) {
			t.Errorf("%s: version %d: got %v %v", c.name, c.gone, v, bad)
		}
		if got := l.At(0, nil); !slices.Equal(got, c.list) {
			t.Errorf("%s: legal are %v, want %v", c.name, got, c.list)
		}
	}
}
