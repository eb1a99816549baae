package devices

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"nbdbench/sim"
)

// memory is a backend of API version 1 that writes down its calls.
type memory struct {
	data  []byte
	calls []string
	fail  map[string]error // by call: "write", "sync"
}

func (m *memory) Size() uint64 { return uint64(len(m.data)) }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, m.data[off:])
	if off+int64(n) == int64(len(m.data)) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.calls = append(m.calls, fmt.Sprintf("write %d+%d", off, len(p)))
	if err := m.fail["write"]; err != nil {
		return 0, err
	}
	return copy(m.data[off:], p), nil
}

func (m *memory) log() string { return strings.Join(m.calls, ", ") }

// syncing is memory that can sync.
type syncing struct{ memory }

func (s *syncing) Sync() error {
	s.calls = append(s.calls, "sync")
	return s.fail["sync"]
}

type completions struct{ order []*Request }

func (c *completions) Done(r *Request) { c.order = append(c.order, r) }

func newSyncing(size int) *syncing { return &syncing{memory{data: make([]byte, size)}} }

// run1 submits one request and runs the loop until it is done.
func run1(t *testing.T, b Legacy, r Request) Errno {
	t.Helper()
	loop := sim.NewLoop()
	var done completions
	r.Completer = &done
	FromLegacy(loop, b).Submit(&r)
	if len(done.order) != 0 {
		t.Fatal("completed within Submit")
	}
	loop.Run(sim.Never)
	if len(done.order) != 1 {
		t.Fatalf("completed %d times", len(done.order))
	}
	return r.Errno
}

func TestLegacyIsClampedToEmulate(t *testing.T) {
	info := FromLegacy(sim.NewLoop(), newSyncing(1<<20)).Info()
	if info.FUA != FUAEmulate || !info.CanFlush || info.CanTrim || info.Size != 1<<20 {
		t.Errorf("got %+v", info)
	}
	info = FromLegacy(sim.NewLoop(), &memory{data: make([]byte, 512)}).Info()
	if info.FUA != FUANone || info.CanFlush {
		t.Errorf("without Sync: got %+v", info)
	}
}

func TestLegacyCalls(t *testing.T) {
	data := bytes.Repeat([]byte{7}, 4096)
	cases := []struct {
		name  string
		r     Request
		fail  map[string]error
		calls string
		errno Errno
	}{
		{name: "a write", r: Request{Op: OpWrite, Offset: 512, Length: 4096, Payload: Payload{Bytes: data}}, calls: "write 512+4096"},
		{name: "a FUA write syncs once", r: Request{Op: OpWrite, Flags: FUA, Length: 4096, Payload: Payload{Bytes: data}}, calls: "write 0+4096, sync"},
		{
			name: "a failed FUA write does not sync", r: Request{Op: OpWrite, Flags: FUA, Length: 4096, Payload: Payload{Bytes: data}},
			fail: map[string]error{"write": syscall.ENOSPC}, calls: "write 0+4096", errno: ENOSPC,
		},
		{
			name: "the sync's error is the write's", r: Request{Op: OpWrite, Flags: FUA, Length: 4096, Payload: Payload{Bytes: data}},
			fail: map[string]error{"sync": syscall.EIO}, calls: "write 0+4096, sync", errno: EIO,
		},
		{name: "flush", r: Request{Op: OpFlush}, calls: "sync"},
		{name: "flush with FUA syncs once", r: Request{Op: OpFlush, Flags: FUA}, calls: "sync"},
		{
			name: "zeroes in pieces and one sync", r: Request{Op: OpWriteZeroes, Flags: FUA, Offset: 1024, Length: 64<<10 + 512},
			calls: "write 1024+65536, write 66560+512, sync",
		},
		{name: "fast zeroes are not faster", r: Request{Op: OpWriteZeroes, Flags: FastZero | FUA, Length: 512}, errno: ENOTSUP},
		{name: "trim", r: Request{Op: OpTrim, Length: 512}, errno: EINVAL},
		{name: "a write past the end", r: Request{Op: OpWrite, Offset: 1<<20 - 512, Length: 4096, Payload: Payload{Bytes: data}}, errno: ENOSPC},
		{name: "zeroes past the end", r: Request{Op: OpWriteZeroes, Offset: 1 << 63, Length: 1 << 63}, errno: ENOSPC},
		{name: "a read past the end", r: Request{Op: OpRead, Offset: 1 << 20, Length: 512, Payload: Payload{Bytes: data}}, errno: EINVAL},
		{name: "a stamp in place of bytes", r: Request{Op: OpWrite, Length: 4096, Payload: Payload{Stamp: 9}}, errno: EINVAL},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newSyncing(1 << 20)
			b.fail = c.fail
			if e := run1(t, b, c.r); e != c.errno || b.log() != c.calls {
				t.Errorf("got %v after %q, want %v after %q", e, b.log(), c.errno, c.calls)
			}
		})
	}
}

func TestLegacyWithoutSyncRefusesFlushAndFUA(t *testing.T) {
	b := &memory{data: make([]byte, 4096)}
	for _, r := range []Request{
		{Op: OpFlush},
		{Op: OpWrite, Flags: FUA, Length: 512, Payload: Payload{Bytes: make([]byte, 512)}},
	} {
		if e := run1(t, b, r); e != EINVAL || b.log() != "" {
			t.Errorf("%v: got %v after %q", &r, e, b.log())
		}
	}
}

func TestLegacyReadsWhatWasWrittenUpToTheEnd(t *testing.T) {
	b := newSyncing(8192)
	want := bytes.Repeat([]byte{3}, 4096)
	if e := run1(t, b, Request{Op: OpWrite, Offset: 4096, Length: 4096, Payload: Payload{Bytes: want}}); e != OK {
		t.Fatal(e)
	}
	got := make([]byte, 4096)
	if e := run1(t, b, Request{Op: OpRead, Offset: 4096, Length: 4096, Payload: Payload{Bytes: got}}); e != OK || !bytes.Equal(got, want) {
		t.Errorf("got %v, equal %v", e, bytes.Equal(got, want))
	}
}

func TestLegacyCompletesInOrder(t *testing.T) {
	loop := sim.NewLoop()
	d := FromLegacy(loop, newSyncing(4096))
	var done completions
	requests := []*Request{{Op: OpFlush}, {Op: OpRead, Length: 512, Payload: Payload{Bytes: make([]byte, 512)}}, {Op: OpFlush}}
	for _, r := range requests {
		r.Completer = &done
		d.Submit(r)
	}
	loop.Run(sim.Never)
	for i, r := range requests {
		if done.order[i] != r {
			t.Errorf("completion %d is %v", i, done.order[i])
		}
	}
}
