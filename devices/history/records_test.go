package history

import (
	"testing"

	"nbdbench/devices"
)

// A write of one block that holds records of three transactions: each is lost
// where its own bytes are, and a later write of the block brings all back.
func TestRecordsThatShareAWriteAreLostByTheirBytes(t *testing.T) {
	l := NewLedger()
	group := func(stamp devices.Stamp, records ...devices.Record) {
		r := &devices.Request{Op: devices.OpWrite, Offset: 8192, Length: 4096, Txn: 100 + uint64(stamp)}
		r.Stamp = stamp
		l.Submit(r)
		l.Records(r, records)
		l.Op(r)
		for _, record := range records {
			l.Commit(&devices.Commit{Txn: record.Txn, Acked: 7})
		}
	}
	group(1, devices.Record{Txn: 1, Offset: 8192, Length: 600}, devices.Record{Txn: 2, Offset: 8792, Length: 600}, devices.Record{Txn: 3, Offset: 9392, Length: 100})
	lost := func(read func(sector uint64) devices.Stamp) int { return l.Lost(l.Written, read).Commits }
	for missing, want := range map[uint64]int{16: 1, 17: 2, 18: 2, 19: 0, 23: 0} { // a sector that the image lacks
		got := lost(func(sector uint64) devices.Stamp {
			if sector == missing {
				return 0
			}
			return 1
		})
		if got != want {
			t.Errorf("without sector %d: %d commits are lost, want %d", missing, got, want)
		}
	}
	if n := lost(func(uint64) devices.Stamp { return 0 }); n != 3 {
		t.Errorf("of nothing %d are lost, want 3", n)
	}
	group(2, devices.Record{Txn: 4, Offset: 9492, Length: 1000})
	for stamp, want := range map[devices.Stamp]int{0: 4, 1: 1, 2: 0} {
		if n := lost(func(uint64) devices.Stamp { return stamp }); n != want {
			t.Errorf("with version %d: %d are lost, want %d", stamp, n, want)
		}
	}
}
