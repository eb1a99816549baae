package results

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

func request(op devices.Op, flags devices.Flags, due, sent, done sim.Time) *devices.Request {
	return &devices.Request{Op: op, Flags: flags, Length: 4096, Intended: due, Submitted: sent, Completed: done}
}

func TestOnlyWhatWasDueInTheWindowCounts(t *testing.T) {
	r := NewRecorder(RecorderConfig{Start: 100, End: 200})
	for _, due := range []sim.Time{99, 100, 199, 200} {
		r.Op(request(devices.OpWrite, 0, due, due, 10_000)) // all finish long after
		r.Commit(&devices.Commit{Intended: due, Started: due, Acked: 10_000, Stages: devices.Stages{devices.Wire: sim.Time(10_000).Sub(due)}})
	}
	out := r.Result(1, 100)
	if out.Commit.Count() != 2 || out.Wire.Write != 2 || out.Bytes != 2*4096 {
		t.Errorf("%d commits, %d writes, %d bytes; want 2, 2, 8192", out.Commit.Count(), out.Wire.Write, out.Bytes)
	}
}

func TestWireTellsEightClassesAndOpsSix(t *testing.T) {
	r := NewRecorder(RecorderConfig{})
	for _, op := range []devices.Op{devices.OpRead, devices.OpWrite, devices.OpFlush, devices.OpTrim, devices.OpWriteZeroes, devices.OpBlockStatus} {
		for _, f := range []devices.Flags{0, devices.FUA} {
			r.Op(request(op, f, 0, 0, 5))
		}
	}
	out := r.Result(1, 1)
	want := Wire{Read: 2, Write: 1, WriteFUA: 1, Flush: 2, Trim: 1, TrimFUA: 1, WriteZeroes: 1, WriteZeroesFUA: 1}
	if out.Wire != want {
		t.Errorf("wire %+v, want %+v", out.Wire, want)
	}
	for op, n := range map[operation]int64{opRead: 2, opWrite: 1, opWriteFUA: 1, opFlush: 2, opTrim: 2, opZeroes: 2} {
		if got := out.ops[op].Count(); got != n {
			t.Errorf("%s: %d, want %d", operationNames[op], got, n)
		}
	}
}

func TestWhatFailedHasNoLatency(t *testing.T) {
	r := NewRecorder(RecorderConfig{})
	q := request(devices.OpWrite, 0, 0, 0, 5)
	q.Errno = devices.EIO
	r.Op(q)
	r.Commit(&devices.Commit{Acked: 9, Errno: devices.EIO})
	out := r.Result(1, 1)
	if out.Errors != (Errors{Commit: 1, Op: 1}) || out.Commit.Count() != 0 || out.Wire.Write != 1 || out.Bytes != 0 {
		t.Errorf("errors %+v, %d commits, wire %+v", out.Errors, out.Commit.Count(), out.Wire)
	}
}

func TestLatenciesAreFromTheRightInstants(t *testing.T) {
	r := NewRecorder(RecorderConfig{})
	r.Op(request(devices.OpRead, 0, 0, 30, 100))
	r.Commit(&devices.Commit{Intended: 0, Started: 30, Acked: 100, Stages: devices.Stages{devices.ClientQueue: 30, devices.Wire: 70}})
	out := r.Result(1, 1)
	if out.ops[opRead].Max() != 70 || out.Commit.Max() != 100 || out.Lag.Max() != 30 {
		t.Errorf("read %v, commit %v, lag %v; want 70, 100, 30", out.ops[opRead].Max(), out.Commit.Max(), out.Lag.Max())
	}
}

func TestStagesThatDoNotSumBecomeAWarning(t *testing.T) {
	r := NewRecorder(RecorderConfig{})
	for range 3 {
		r.Commit(&devices.Commit{Acked: 100, Stages: devices.Stages{devices.Wire: 99}})
	}
	c := NewCell(CellConfig{Runs: 1})
	c.Add(r.Result(1, 300))
	c.summarise(metricP99)
	if len(c.Warnings) == 0 || !containsText(c.Warnings, "3 of 3 commits: the stages do not sum") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestSeriesDoublesInsteadOfGrowing(t *testing.T) {
	s := newSeries(10)
	for i := range 5 * maxIntervals {
		s.record(sim.Duration(i*10), sim.Duration(i))
	}
	out := s.freeze()
	if len(out) > maxIntervals || out[0].Width != 80 {
		t.Fatalf("%d intervals of %v", len(out), out[0].Width)
	}
	var n int64
	for i, v := range out {
		n += v.Count
		if v.Start != sim.Duration(i)*v.Width {
			t.Errorf("interval %d starts at %v", i, v.Start)
		}
	}
	if n != 5*maxIntervals || out[0].Max != 7 {
		t.Errorf("%d commits, first max %v; want %d and 7", n, out[0].Max, 5*maxIntervals)
	}
}

func TestRecordingARunAllocatesNothingPerCommit(t *testing.T) {
	r := NewRecorder(RecorderConfig{})
	q := request(devices.OpWrite, devices.FUA, 0, 0, 5000)
	c := &devices.Commit{Acked: 5000, Stages: devices.Stages{devices.Wire: 5000}}
	if n := testing.AllocsPerRun(1000, func() { r.Op(q); r.Commit(c) }); n != 0 {
		t.Errorf("%v allocations a commit", n)
	}
}

func BenchmarkRecorder(b *testing.B) {
	r := NewRecorder(RecorderConfig{})
	q := request(devices.OpWrite, devices.FUA, 0, 0, 50_000)
	c := &devices.Commit{Acked: 50_000, Stages: devices.Stages{devices.Wire: 50_000}}
	b.ReportAllocs()
	for b.Loop() {
		q.Completed += 17
		r.Op(q)
		r.Commit(c)
	}
}
