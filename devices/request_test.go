package devices_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/sim"
)

// TestQueueAgainstASlice: first in, first out, whatever is taken from the middle.
func TestQueueAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q devices.Queue
		var model []*devices.Request
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				r := new(devices.Request)
				q.Push(r)
				model = append(model, r)
			case 2:
				var want *devices.Request
				if len(model) > 0 {
					want, model = model[0], model[1:]
				}
				if q.Peek() != want || q.Pop() != want {
					t.Fatal("Pop is not what came first")
				}
			default:
				if len(model) > 0 {
					i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
					q.Remove(model[i])
					model = slices.Delete(model, i, i+1)
				}
			}
			if q.Len() != len(model) {
				t.Fatalf("Len is %d, expected %d", q.Len(), len(model))
			}
		}
		for _, want := range model {
			if q.Pop() != want {
				t.Fatal("Pop is not what came first")
			}
		}
	})
}

// TestStagesSumToTheTime: a parent that absorbs its child's account has charged all
// from Begin to the child's last charge, and nothing twice.
func TestStagesSumToTheTime(t *testing.T) {
	at := func(us int) sim.Time { return sim.Time(us * int(time.Microsecond)) }
	var parent, child devices.Request
	parent.Begin(at(10))
	parent.Charge(devices.ClientQueue, at(12))
	child.Begin(at(15))
	child.Charge(devices.MediaStage, at(40))
	child.Charge(devices.CacheStage, at(30)) // in the past: charges nothing
	parent.Absorb(devices.ServerQueue, at(15), &child)
	parent.Charge(devices.Wire, at(41))
	want := devices.Stages{
		devices.ClientQueue: 2 * time.Microsecond, devices.ServerQueue: 3 * time.Microsecond,
		devices.MediaStage: 25 * time.Microsecond, devices.Wire: time.Microsecond,
	}
	if parent.Stages != want || parent.Stages.Total() != 31*time.Microsecond {
		t.Errorf("got %v, expected %v", parent.Stages, want)
	}
}

// TestBlockStatusMergesAndIsBounded: neighbours in one state are one extent, and
// what has no room is refused.
func TestBlockStatusMergesAndIsBounded(t *testing.T) {
	var b devices.BlockStatus
	b.Reset(2)
	for i, c := range []struct {
		n    uint64
		f    devices.StatusFlags
		room bool
	}{{512, 0, true}, {512, 0, true}, {512, devices.StatusZero, true}, {512, 0, false}, {512, devices.StatusZero, true}} {
		if b.Add(c.n, c.f) != c.room {
			t.Errorf("extent %d: room is not %v", i, c.room)
		}
	}
	if want := []devices.StatusExtent{{Length: 1024}, {Length: 1024, Flags: devices.StatusZero}}; !slices.Equal(b.Extents, want) {
		t.Errorf("got %v, expected %v", b.Extents, want)
	}
	b.Reset(1 << 30)
	for i := range devices.MaxStatusExtents {
		b.Add(1, devices.StatusFlags(i%2))
	}
	if b.Add(1, 2) {
		t.Errorf("more than %d extents", devices.MaxStatusExtents)
	}
}
