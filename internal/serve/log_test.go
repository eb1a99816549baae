package serve

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"nbdbench/devices"
	"nbdbench/devices/fault"
	"nbdbench/devices/layer"
	"nbdbench/sim"
)

// The session that is logged: of a device that is larger than two entries of zeros.
const (
	sessionSize  = 3<<20 + 4096
	sessionSteps = 80
)

// logged is a command of the session, in order of submission.
type logged struct {
	devices.Request
	value       byte // of each byte that it writes
	begun, over int  // in steps; over 0 is in progress
	s           *loggedSession
}

// Done notes the end. After a power cut nobody hears of it.
func (o *logged) Done(*devices.Request) {
	if o.over == 0 {
		o.over = o.s.tick()
		o.s.busy--
	}
}

// loggedSession drives a served device and keeps what was asked.
type loggedSession struct {
	t       *rapid.T
	loop    *sim.Loop
	l       *device
	ops     []*logged
	busy    int
	now     int
	aligned bool
}

func (s *loggedSession) tick() int {
	s.now++
	return s.now
}

// submit asks for a random command.
func (s *loggedSession) submit() {
	info := s.l.top.Info()
	o := &logged{s: s, begun: s.tick(), value: byte(1 + len(s.ops)%255)}
	ops := []devices.Op{devices.OpWrite, devices.OpWrite, devices.OpWrite, devices.OpRead}
	for op, can := range map[devices.Op]bool{devices.OpFlush: info.CanFlush, devices.OpTrim: info.CanTrim, devices.OpWriteZeroes: info.CanZero} {
		if can {
			ops = append(ops, op)
		}
	}
	slices.Sort(ops)
	o.Op = rapid.SampledFrom(ops).Draw(s.t, "op")
	o.Conn = rapid.Uint32Range(0, 2).Draw(s.t, "conn")
	if o.Op != devices.OpFlush {
		s.place(o)
	}
	if o.Op.Modifies() && info.FUA != devices.FUANone && rapid.IntRange(0, 2).Draw(s.t, "fua") == 0 {
		o.Flags |= devices.FUA
	}
	if o.Op == devices.OpWriteZeroes && rapid.Bool().Draw(s.t, "no_hole") {
		o.Flags |= devices.NoHole
	}
	switch o.Op {
	case devices.OpRead:
		o.Bytes = make([]byte, o.Length)
	case devices.OpWrite:
		o.Bytes = bytes.Repeat([]byte{o.value}, int(o.Length))
	default:
		o.value = 0
	}
	o.Completer = o
	s.ops = append(s.ops, o)
	s.busy++
	o.Begin(s.loop.Now())
	(&client{s.l, s.l.fence}).Submit(&o.Request)
}

// place gives a command its range: mostly short and in a few KiB, so that many
// overlap.
func (s *loggedSession) place(o *logged) {
	some := func(name string, of ...uint64) uint64 { return rapid.SampledFrom(of).Draw(s.t, name) }
	o.Offset = devices.Sector * some("sector", 0, 1, 2, 3, 7, 8, 9, sessionSize/devices.Sector/3)
	o.Length = devices.Sector * some("sectors", 0, 1, 2, 3, 8, 16, 2048, sessionSize/devices.Sector)
	if !s.aligned && o.Length < 1<<20 {
		o.Offset += some("skip", 0, 0, 1, 100, 511)
		o.Length += some("more", 0, 0, 1, 50, 300)
	}
	o.Length = min(max(o.Length, some("least", 1, 50, 512)), sessionSize-o.Offset)
	if s.aligned {
		o.Length = (o.Length + devices.Sector - 1) / devices.Sector * devices.Sector
	}
}

// lose has nobody hear of what is in progress.
func (s *loggedSession) lose() {
	at := s.tick()
	for _, o := range s.ops {
		if o.over == 0 {
			o.over = at
		}
	}
	s.busy = 0
}

// either reports whether a byte may hold a value: that of a write after which none
// began to it, of those that were in progress together.
func (s *loggedSession) either(at uint64, value byte) bool {
	for _, o := range s.ops {
		if !o.Op.Modifies() || at < o.Offset || at >= o.End() || o.value != value {
			continue
		}
		last, apart := true, true
		for _, w := range s.ops {
			if w == o || !w.Op.Modifies() || at < w.Offset || at >= w.End() {
				continue
			}
			last = last && w.begun < o.over
			apart = apart && (w.begun > o.over || w.over < o.begun)
		}
		if last && !apart {
			return true
		}
	}
	return false
}

// same holds what the log replays to against the image.
func (s *loggedSession) same(t *rapid.T, log, path string) {
	replayed := replayedLog(t, log, sessionSize)
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range stored {
		if a, b := replayed[at], stored[at]; a != b && !(s.either(uint64(at), a) && s.either(uint64(at), b)) {
			var ops []string
			for _, o := range s.ops {
				if o.Op == devices.OpFlush || o.Op.Modifies() && o.Offset <= uint64(at) && uint64(at) < o.End() {
					ops = append(ops, fmt.Sprintf("%d-%d %v: %v, value %d", o.begun, o.over, &o.Request, o.Errno, o.value))
				}
			}
			t.Fatalf("byte %d: the log replays to %d, the image has %d\n%v", at, a, b, ops)
		}
	}
}

// replayedLog is what a reader makes of a log that begins with zeros; as replay-log of
// xfstests does, it takes a discard for zeros.
func replayedLog(t *rapid.T, path string, size int) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	disk, le := make([]byte, (size+511)/512*512), binary.LittleEndian
	sector := uint64(le.Uint32(b[24:]))
	at := sector
	for n := le.Uint64(b[16:]); n > 0; n-- {
		off, length, flags := le.Uint64(b[at:])*sector, le.Uint64(b[at+8:])*sector, le.Uint64(b[at+16:])
		if at += sector; flags&4 != 0 {
			clear(disk[off : off+length])
			continue
		}
		copy(disk[off:off+length], b[at:at+length])
		at += length
	}
	return disk[:size]
}

// sessionConfig draws a device, a strategy and their faults.
func sessionConfig(t *rapid.T, dir string) *Config {
	c := &Config{
		Device: rapid.SampledFrom([]string{
			"ram", "nvme-990pro", "hdd-7200", "nvme-pm963", "raid-bbu", "lying", "plp-failed", "hdd-7200-wt", "ebs-gp3", "emmc-sd",
		}).Draw(t, "device"),
		Strategy: rapid.SampledFrom(layer.Names()).Draw(t, "strategy"),
		Size:     sessionSize, Seed: sim.Seed(rapid.Uint64().Draw(t, "seed")),
	}
	plan := rapid.SampledFrom([]string{"", "", "", "eio-write:every=4", "eio-flush:every=2"}).Draw(t, "fault")
	var err error
	if c.Fault, err = fault.Parse(plan); err != nil {
		t.Fatal(err)
	}
	c.Image = filepath.Join(dir, "image")
	for _, path := range []string{c.Image, c.Image + ".log"} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// memoryDir is a directory in memory where there is one: each session syncs its image.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "nbdbench")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestTheLogOfASessionReplaysToItsImage for every command, size, alignment, flag and
// strategy, after power cuts and however it ends. Where commands were in progress
// together, each may be the last.
func TestTheLogOfASessionReplaysToItsImage(t *testing.T) {
	dir := memoryDir(t)
	rapid.Check(t, func(t *rapid.T) {
		c := sessionConfig(t, dir)
		f, err := os.Create(c.Image + ".log")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		c.LogWrites = f
		s := &loggedSession{t: t, loop: sim.NewLoop(), aligned: rapid.Bool().Draw(t, "sectors")}
		if s.l, err = newDevice(c, "", s.loop, nil); err != nil {
			t.Skip(err)
		}
		if err := s.l.record(); err != nil {
			t.Fatal(err)
		}
		s.run(rapid.SampledFrom([]int{1, 8}).Draw(t, "depth"))
		if rapid.Bool().Draw(t, "drained") {
			s.loop.RunWhile(func() bool { return s.busy > 0 })
		}
		s.l.end(rapid.Bool().Draw(t, "power_cut"))
		s.lose()
		if err := s.l.close(); err != nil {
			t.Fatal(err)
		}
		s.same(t, f.Name(), c.Image)
	})
}

// run asks for commands, so many at once, and now and then cuts the power.
func (s *loggedSession) run(depth int) {
	for range rapid.IntRange(1, sessionSteps).Draw(s.t, "steps") {
		switch what := rapid.IntRange(0, 39).Draw(s.t, "what"); {
		case what == 0:
			if _, err := s.l.cut(s.l.nextSeed(), imageDevice); err != nil {
				s.t.Fatal(err)
			}
			s.lose()
		case what == 1:
			s.loop.Run(s.loop.Now().Add(sim.Duration(rapid.IntRange(1, 50e6).Draw(s.t, "idle"))))
		case what < 20 && s.busy < depth:
			s.submit()
		default:
			s.loop.Step()
		}
	}
}
