package layer

import "testing"

func TestGroupOneFlushForAllThatCompletedBeforeItStarted(t *testing.T) {
	newScript(t, flushOnly, made(EmulateGrouped, ServerSide)).run(`
write a fua conn=1
	device 1: write 4096+4096 stamp=1 conn=1 txn=1
write b fua conn=2
	device 2: write 8192+4096 stamp=2 conn=2 txn=2
write c fua conn=3
	device 3: write 12288+4096 stamp=3 conn=3 txn=3
at 1us
complete 1
	device 4: flush 0+0 stamp=0 conn=1 txn=1
at 2us
complete 3
complete 2
at 3us
complete 4
	device 5: flush 0+0 stamp=0 conn=3 txn=3
	a: OK
at 5us
complete 5
	c: OK
	b: OK
`)
}

func TestGroupAWriteThatCompletesAfterTheFlushBeganIsNotCovered(t *testing.T) {
	newScript(t, flushOnly, made(EmulateGrouped, ServerSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
write b fua
	device 2: write 8192+4096 stamp=2 conn=0 txn=2
complete 1
	device 3: flush 0+0 stamp=0 conn=0 txn=1
complete 2
complete 3
	device 4: flush 0+0 stamp=0 conn=0 txn=2
	a: OK
complete 4
	b: OK
`)
}

func TestGroupAFlushCommandIsForwarded(t *testing.T) {
	newScript(t, flushOnly, made(EmulateGrouped, ServerSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
complete 1
	device 2: flush 0+0 stamp=0 conn=0 txn=1
flush b
	device 3: flush 0+0 stamp=0 conn=0 txn=2
complete 3
	b: OK
fail 2
	a: EIO
`)
}

func TestGroupAFailedFlushFailsAllWhoShareItAndOnlyThem(t *testing.T) {
	newScript(t, flushOnly, made(EmulateGrouped, ServerSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
write b fua
	device 2: write 8192+4096 stamp=2 conn=0 txn=2
write c fua
	device 3: write 12288+4096 stamp=3 conn=0 txn=3
write d fua
	device 4: write 16384+4096 stamp=4 conn=0 txn=4
complete 1
	device 5: flush 0+0 stamp=0 conn=0 txn=1
complete 2
complete 3
complete 5
	device 6: flush 0+0 stamp=0 conn=0 txn=2
	a: OK
complete 4
fail 6
	device 7: flush 0+0 stamp=0 conn=0 txn=4
	b: EIO
	c: EIO
complete 7
	d: OK
`)
}

func TestGroupAFailedWriteIsNotFlushed(t *testing.T) {
	newScript(t, flushOnly, made(EmulateGrouped, ServerSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
fail 1
	a: EIO
`)
}

func TestGroupIsPerConnectionWhereTheDevicesFlushIs(t *testing.T) {
	info := flushOnly
	info.MultiConn = false
	newScript(t, info, made(EmulateGrouped, ServerSide)).run(`
write a fua conn=1
	device 1: write 4096+4096 stamp=1 conn=1 txn=1
write b fua conn=2
	device 2: write 8192+4096 stamp=2 conn=2 txn=2
complete 1
	device 3: flush 0+0 stamp=0 conn=1 txn=1
complete 2
	device 4: flush 0+0 stamp=0 conn=2 txn=2
complete 4
	b: OK
complete 3
	a: OK
`)
}

func TestBlkFlushC1OneFlushInFlight(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
complete 1
	device 2: flush 0+0 stamp=0 conn=0 txn=1
flush b
flush c
complete 2
	device 3: flush 0+0 stamp=0 conn=0 txn=2
	a: OK
complete 3
	b: OK
	c: OK
`)
}

func TestBlkFlushC2WaitsForFlushedDataInFlight(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
write b fua
	device 2: write 8192+4096 stamp=2 conn=0 txn=2
flush c
complete 1
at 1ms
complete 2
	device 3: flush 0+0 stamp=0 conn=0 txn=3
at 2ms
complete 3
	c: OK
	a: OK
	b: OK
`)
}

func TestBlkFlushC2IgnoresPlainWrites(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
write a
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
flush b
	device 2: flush 0+0 stamp=0 conn=0 txn=2
complete 2
	b: OK
complete 1
	a: OK
`)
}

func TestBlkFlushC2EndsWhenTheDataFails(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
flush b
fail 1
	device 2: flush 0+0 stamp=0 conn=0 txn=2
	a: EIO
complete 2
	b: OK
`)
}

func TestBlkFlushC3ButNotLongerThanFiveSeconds(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
at 1s
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
at 2s
flush b
at 6999ms
at 7s
	device 2: flush 0+0 stamp=0 conn=0 txn=2
complete 2
	b: OK
complete 1
	device 3: flush 0+0 stamp=0 conn=0 txn=1
complete 3
	a: OK
`)
}

func TestBlkFlushC3CountsFromTheFirstThatWaits(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
at 1s
flush b
at 5s
flush c
at 5999ms
at 6s
	device 2: flush 0+0 stamp=0 conn=0 txn=2
complete 2
	b: OK
	c: OK
`)
}

func TestBlkFlushLeavesNoTimerBehind(t *testing.T) {
	s := newScript(t, flushOnly, made(BlkFlush, ClientSide))
	s.run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
flush b
complete 1
	device 2: flush 0+0 stamp=0 conn=0 txn=2
complete 2
	b: OK
	a: OK
`)
	if s.loop.Step() {
		t.Errorf("something fired at %v", s.loop.Now())
	}
}

func TestBlkFlushNextFlushStartsBeforeTheEndedSubmitMore(t *testing.T) {
	s := newScript(t, flushOnly, made(BlkFlush, ClientSide))
	s.resubmit["a"] = "write c fua"
	s.run(`
write a fua
	device 1: write 4096+4096 stamp=1 conn=0 txn=1
complete 1
	device 2: flush 0+0 stamp=0 conn=0 txn=1
flush b
complete 2
	device 3: flush 0+0 stamp=0 conn=0 txn=2
	a: OK
	device 4: write 12288+4096 stamp=3 conn=0 txn=3
complete 3
	b: OK
complete 4
	device 5: flush 0+0 stamp=0 conn=0 txn=3
complete 5
	c: OK
`)
}

func TestBlkFlushEachConnectionHasItsOwn(t *testing.T) {
	newScript(t, flushOnly, made(BlkFlush, ClientSide)).run(`
write a fua conn=1
	device 1: write 4096+4096 stamp=1 conn=1 txn=1
flush b conn=2
	device 2: flush 0+0 stamp=0 conn=2 txn=2
complete 2
	b: OK
complete 1
	device 3: flush 0+0 stamp=0 conn=1 txn=1
complete 3
	a: OK
`)
}
