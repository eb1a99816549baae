package crash

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/fault"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/sim"
)

var update = flag.Bool("update", false, "rewrite the table of docs/DURABILITY.md")

// mutantCuts is within how many cuts the checker must find a mutant.
const mutantCuts = 2000

// zeroed is a workload of WRITE_ZEROES and TRIM among writes of the same blocks.
const zeroed = `
name: zeroed
regions: [{name: hot, offset: 0, size: 64KiB}]
transaction:
  - {op: write, durable: true, size: 4k, region: hot, pattern: random}
  - {op: write_zeroes, durable: true, size: 4k, region: hot, pattern: random}
`

// zeroing is a workload that writes, and zeroes, several blocks at a time.
const zeroing = `
name: zeroing
regions: [{name: hot, offset: 0, size: 64KiB}]
transaction:
  - {op: write, size: 4k, count: 4, parallel: true, region: hot, pattern: random}
  - {op: flush}
  - {op: write_zeroes, size: 4k, count: 4, parallel: true, region: hot, pattern: random}
  - {op: flush}
`

// mixed is a workload of several sizes and commands that overlap each other in all
// ways: plain and durable writes, zeros, and FLUSHes while other slots write.
const mixed = `
name: mixed
queue_depth: 4
regions: [{name: hot, offset: 0, size: 128KiB}]
transaction:
  - {op: write, size: 24k, region: hot, pattern: random}
  - {op: write, durable: true, size: 4k, region: hot, pattern: random}
  - {op: write_zeroes, size: 16k, region: hot, pattern: random}
  - {op: write, durable: true, size: 20k, region: hot, pattern: random}
  - {op: flush}
`

// The cache of the drives under mixed, and within how many cuts a mutant must be
// found there.
const (
	mixedCache = "\nname: mixed-cache\ncache: {capacity: 256KiB, high_water: 32KiB, low_water: 0, idle_destage: 20us}\n"
	mixedCuts  = 300
)

// opened is sync-4k by the clock: its writes do not all begin together.
const opened = `
name: opened
queue_depth: 8
arrival: poisson
rate: 2000/s
transaction:
  - {op: write, durable: true, size: 4k, pattern: sequential}
`

// swap is a layer that treats requests in its own way.
type swap struct {
	devices.Device
	loop *sim.Loop
	info devices.Info
	on   func(s *swap, r *devices.Request)

	free    devices.Freelist
	dirty   bool
	n       int
	inside  int
	wrote   map[uint32]bool
	running []*devices.Request
	flying  bool
}

func (s *swap) Info() devices.Info           { return s.info }
func (s *swap) Submit(r *devices.Request)    { s.n++; s.on(s, r) }
func (s *swap) Fire(t *sim.Timer)            { t.Owner.(*devices.Request).Finish(devices.OK) }
func (s *swap) pretend(r *devices.Request)   { r.Timer.Owner = r; s.loop.After(&r.Timer, 0, s) }
func (s *swap) Stats() devices.Stats         { return s.Device.(fault.Device).Stats() }
func (s *swap) Cut(seed sim.Seed) *drive.Cut { return s.Device.(fault.Device).Cut(seed) }

// then is what comes after a child.
type then func(c *devices.Request)

func (f then) Done(c *devices.Request) { f(c) }

// child submits a changed copy of r, and calls after when it is done.
func (s *swap) child(r *devices.Request, change func(c *devices.Request), after func(c *devices.Request)) {
	c := s.free.Get()
	c.Op, c.Flags, c.Offset, c.Length, c.Payload = r.Op, r.Flags, r.Offset, r.Length, r.Payload
	c.Conn, c.Stream, c.Txn, c.Step = r.Conn, r.Stream, r.Txn, r.Step
	change(c)
	c.Begin(s.loop.Now())
	c.Completer = then(after)
	s.Device.Submit(c)
}

// end ends r, whose time was spent below.
func (s *swap) end(r *devices.Request, e devices.Errno) {
	r.Charge(devices.ServerQueue, s.loop.Now())
	r.Finish(e)
}

func plainly(c *devices.Request) { c.Flags &^= devices.FUA }

func asFlush(c *devices.Request) {
	c.Op, c.Flags, c.Offset, c.Length, c.Payload = devices.OpFlush, 0, 0, 0, devices.Payload{}
}

// replyEarly is emulate that replies when the write is done and flushes then.
func replyEarly(s *swap, r *devices.Request) {
	if !r.Durable() {
		s.Device.Submit(r)
		return
	}
	s.child(r, plainly, func(c *devices.Request) {
		s.child(r, asFlush, func(*devices.Request) {})
		s.end(r, c.Errno)
	})
}

// flushWithWrite sends the write and its FLUSH together.
func flushWithWrite(s *swap, r *devices.Request) {
	if !r.Durable() {
		s.Device.Submit(r)
		return
	}
	left := 2
	done := func(c *devices.Request) {
		if left--; left == 0 {
			s.end(r, c.Errno)
		}
	}
	s.child(r, plainly, done)
	s.child(r, asFlush, done)
}

// dirtyTooEarly is emulate with a mark that a write sets when it is sent, and
// that is cleared when a FLUSH is: a write without its mark is not flushed.
func dirtyTooEarly(s *swap, r *devices.Request) {
	if !r.Durable() {
		s.Device.Submit(r)
		return
	}
	s.dirty = true
	s.child(r, plainly, func(c *devices.Request) {
		if !s.dirty {
			s.end(r, c.Errno)
			return
		}
		s.dirty = false
		s.child(r, asFlush, func(c *devices.Request) { s.end(r, c.Errno) })
	})
}

// joinRunning is a grouped FLUSH that lets writes join one that is in flight.
func joinRunning(s *swap, r *devices.Request) {
	if !r.Durable() {
		s.Device.Submit(r)
		return
	}
	s.child(r, plainly, func(*devices.Request) {
		s.running = append(s.running, r)
		if s.flying {
			return
		}
		s.flying = true
		s.child(r, asFlush, func(c *devices.Request) {
			done := s.running
			s.running, s.flying = nil, false
			for _, p := range done {
				s.end(p, c.Errno)
			}
		})
	})
}

// perConnection skips a FLUSH of a connection that has written nothing since its
// last one, whatever others have.
func perConnection(s *swap, r *devices.Request) {
	if s.wrote == nil {
		s.wrote = map[uint32]bool{}
	}
	switch {
	case r.Op.Modifies():
		s.wrote[r.Conn] = true
	case r.Op == devices.OpFlush && !s.wrote[r.Conn]:
		s.pretend(r)
		return
	case r.Op == devices.OpFlush:
		s.wrote[r.Conn] = false
	}
	s.Device.Submit(r)
}

// notFor drops FUA from some commands.
func notFor(which func(s *swap, r *devices.Request) bool) func(s *swap, r *devices.Request) {
	return func(s *swap, r *devices.Request) {
		if r.Durable() && which(s, r) {
			s.child(r, plainly, func(c *devices.Request) { s.end(r, c.Errno) })
			return
		}
		s.Device.Submit(r)
	}
}

// firstPage makes only the first 4 KiB of a write durable.
func firstPage(s *swap, r *devices.Request) {
	if !r.Durable() || r.Length <= 4096 {
		s.Device.Submit(r)
		return
	}
	left := 2
	done := func(c *devices.Request) {
		if left--; left == 0 {
			s.end(r, c.Errno)
		}
	}
	s.child(r, func(c *devices.Request) { c.Length = 4096 }, done)
	s.child(r, func(c *devices.Request) { c.Flags = 0; c.Offset += 4096; c.Length -= 4096 }, done)
}

// answersEarly answers a FLUSH as soon as the device has it.
func answersEarly(s *swap, r *devices.Request) {
	if r.Op != devices.OpFlush {
		s.Device.Submit(r)
		return
	}
	s.child(r, func(*devices.Request) {}, func(*devices.Request) {})
	s.pretend(r)
}

// answersEarlyWhenBusy does so only while three other requests are in progress.
func answersEarlyWhenBusy(s *swap, r *devices.Request) {
	if r.Op == devices.OpFlush && s.inside >= 3 {
		answersEarly(s, r)
		return
	}
	s.inside++
	s.child(r, func(*devices.Request) {}, func(c *devices.Request) { s.inside--; s.end(r, c.Errno) })
}

// losesZerosEnd zeroes all but the last 4 KiB of a long range.
func losesZerosEnd(s *swap, r *devices.Request) {
	if r.Op != devices.OpWriteZeroes || r.Length <= 4096 {
		s.Device.Submit(r)
		return
	}
	s.child(r, func(c *devices.Request) { c.Length -= 4096 }, func(c *devices.Request) { s.end(r, c.Errno) })
}

// swallows hides errors.
func swallows(s *swap, r *devices.Request) {
	s.child(r, func(*devices.Request) {}, func(*devices.Request) { s.end(r, devices.OK) })
}

// halfFlush does every other FLUSH.
func halfFlush(s *swap, r *devices.Request) {
	if r.Op == devices.OpFlush {
		if s.dirty = !s.dirty; s.dirty {
			s.pretend(r)
			return
		}
	}
	s.Device.Submit(r)
}

// keepsFlush answers a FLUSH without forwarding it.
func keepsFlush(s *swap, r *devices.Request) {
	if r.Op == devices.OpFlush {
		s.pretend(r)
		return
	}
	s.Device.Submit(r)
}

// zeroesUnflushed is emulate that forgets that zeros are data.
func zeroesUnflushed(s *swap, r *devices.Request) {
	if !r.Durable() {
		s.Device.Submit(r)
		return
	}
	s.child(r, plainly, func(c *devices.Request) {
		if r.Op == devices.OpWriteZeroes {
			s.end(r, c.Errno)
			return
		}
		s.child(r, asFlush, func(c *devices.Request) { s.end(r, c.Errno) })
	})
}

// mutant is a variant with a defect, and where it is put.
type mutant struct {
	name                       string
	device, workload, strategy string
	depth, connections         uint32
	cuts                       int // 0 is mutantCuts
	fault                      string
	defect                     drive.Defect
	inDevice, server, client   func(s *swap, r *devices.Request)
	hops                       string // proxies, and what is in the one of index hop
	hop                        int
	inHop                      func(s *swap, r *devices.Request)
}

func (m *mutant) config(t *testing.T) Config {
	t.Helper()
	c := one(m.device, m.workload, m.strategy, mutantCuts)
	c.QueueDepth, c.Connections, c.Commits = m.depth, max(m.connections, 1), 48
	if m.cuts > 0 {
		c.Cuts = m.cuts
	}
	c.Hops = hopsOf(t, m.hops)
	var err error
	if c.Fault, err = fault.Parse(m.fault); err != nil {
		t.Fatal(err)
	}
	return c
}

// mutate puts the defect into the cell.
func (m *mutant) mutate(c *Cell) {
	if m.defect != drive.DefectNone || m.inDevice != nil {
		c.Around = func(loop *sim.Loop, d fault.Device) fault.Device {
			if m.inDevice != nil {
				return &swap{Device: d, loop: loop, info: d.Info(), on: m.inDevice}
			}
			d.(interface{ Cache() *drive.Cache }).Cache().Break(m.defect)
			return d
		}
	}
	if m.inHop != nil {
		c.InHop = func(loop *sim.Loop, hop int, d devices.Device) devices.Device {
			if hop != m.hop {
				return d
			}
			return &swap{Device: d, loop: loop, info: d.Info(), on: m.inHop}
		}
	}
	wrap := func(on func(s *swap, r *devices.Request)) layer.Wrap {
		return func(inner devices.Device, o layer.Options) (devices.Device, error) {
			info := inner.Info()
			info.FUA = devices.FUAEmulate
			return &swap{Device: inner, loop: o.Loop, info: info, on: on}, nil
		}
	}
	if m.server != nil {
		c.Place.Server = wrap(m.server)
	}
	if m.client != nil {
		c.Place.Client = wrap(m.client)
	}
}

// mutants are all there are. The names in capitals stand for profiles that the
// test writes.
func mutants() []mutant {
	return []mutant{
		{name: "cache: FUA leaves the older cached copy", device: "ONE", workload: "overwrite", strategy: "native", defect: drive.DefectStaleCopyAfterFUA},
		{name: "cache: a FUA program leaves the older cached copy", device: "nvme-990pro", workload: "overwrite", strategy: "native", defect: drive.DefectStaleCopyAfterFUA},
		{name: "cache: an older destage in flight lands after a FUA program", device: "SMALL", workload: "overwrite", strategy: "native", depth: 8, defect: drive.DefectOldFlightLandsAfterFUA},
		{name: "cache: an older destage in flight lands after FUA", device: "TWO", workload: "overwrite", strategy: "native", depth: 8, defect: drive.DefectOldFlightLandsAfterFUA},
		{name: "cache: FLUSH does not wait for what is being destaged", device: "TWO", workload: "overwrite", strategy: "none", defect: drive.DefectFlushMissesFlights},
		{name: "cache: FLUSH forgets zeros", device: "DISK", workload: "ZEROING", strategy: "none", defect: drive.DefectFlushForgetsZeroes},
		{name: "cache: two destages of one sector overtake each other", device: "TWO", workload: "overwrite", strategy: "none", depth: 8, defect: drive.DefectFlightsOvertake},
		{name: "device: FLUSH is answered before it is done", device: "nvme-990pro", workload: "wal", strategy: "none", inDevice: answersEarly},
		{name: "device: every other FLUSH does nothing", device: "nvme-990pro", workload: "wal", strategy: "emulate", inDevice: halfFlush},
		{name: "device: FUA makes the first 4 KiB durable", device: "nvme-990pro", workload: "wal", strategy: "native", inDevice: firstPage},
		{name: "device: FUA is dropped from WRITE_ZEROES", device: "SMALL", workload: "ZEROED", strategy: "native", inDevice: notFor(func(_ *swap, r *devices.Request) bool { return r.Op == devices.OpWriteZeroes })},
		{name: "device: FUA is dropped from one write of seven", device: "hdd-7200", workload: "sync-4k", strategy: "force", inDevice: notFor(func(s *swap, _ *devices.Request) bool { return s.n%7 == 0 })},
		{name: "server: emulate replies before the FLUSH", device: "nvme-990pro", workload: "sync-4k", strategy: "emulate", server: replyEarly},
		{name: "server: emulate sends write and FLUSH together", device: "nvme-990pro", workload: "sync-4k", strategy: "emulate", server: flushWithWrite},
		{name: "server: FLUSH elided, its mark cleared too early", device: "nvme-990pro", workload: "sync-4k", strategy: "emulate", depth: 4, server: dirtyTooEarly},
		{name: "server: a write joins a FLUSH that has begun", device: "nvme-990pro", workload: "sync-4k", strategy: "emulate-grouped", depth: 4, server: joinRunning},
		{name: "server: FLUSH is for one connection, but multi-conn is advertised", device: "nvme-990pro", workload: "overwrite", strategy: "none", depth: 4, connections: 4, inDevice: perConnection},
		{name: "server: a failed write is called a success", device: "nvme-990pro", workload: "sync-4k", strategy: "native", fault: "eio-write:every=4", inDevice: swallows},
		{name: "server: a failed FLUSH is called a success", device: "nvme-990pro", workload: "sync-4k", strategy: "none", fault: "eio-flush:every=4", inDevice: swallows},
		{name: "client: FLUSH is sent with the write, not after its reply", device: "nvme-990pro", workload: "sync-4k", strategy: "none", client: flushWithWrite},
		{name: "client: a write joins a FLUSH that has begun", device: "nvme-990pro", workload: "OPENED", strategy: "none-grouped", client: joinRunning},
		{name: "client: FLUSH elided, its mark cleared too early", device: "nvme-990pro", workload: "sync-4k", strategy: "none", depth: 4, client: dirtyTooEarly},
		{name: "client: no FLUSH after WRITE_ZEROES", device: "SMALL", workload: "ZEROED", strategy: "none", client: zeroesUnflushed},
		{name: "cache: FUA drops one of the older cached copies", device: "MIXEDTWO", workload: "MIXED", cuts: mixedCuts, strategy: "native", defect: drive.DefectFUADropsOneExtent},
		{name: "cache: FUA drops what a destage carries behind its range", device: "MIXEDTWO", workload: "MIXED", cuts: mixedCuts, strategy: "native", defect: drive.DefectFUACutsTooMuch},
		{name: "cache: an overwritten range counts as new", device: "MIXEDDISK", workload: "MIXED", cuts: 4 * mixedCuts, strategy: "native", defect: drive.DefectOverwriteForgets},
		{name: "device: FUA above 16 KiB is acknowledged from the cache", device: "MIXEDDISK", workload: "MIXED", cuts: mixedCuts, strategy: "native", inDevice: notFor(func(_ *swap, r *devices.Request) bool { return r.Length > 16<<10 })},
		{name: "device: FUA is dropped where it does not begin at 16 KiB", device: "MIXEDDISK", workload: "MIXED", cuts: mixedCuts, strategy: "native", inDevice: notFor(func(_ *swap, r *devices.Request) bool { return r.Offset%(16<<10) != 0 })},
		{name: "proxy: FLUSH is acknowledged and not forwarded", device: "nvme-990pro", workload: "wal", strategy: "native", hops: "lan:emulate unix:native", hop: 1, inHop: keepsFlush},
		{name: "proxy: FLUSH is acknowledged before the server has done it", device: "nvme-990pro", workload: "wal", strategy: "native", hops: "lan:none unix:native", hop: 0, inHop: answersEarly},
		{name: "proxy: FUA is dropped", device: "nvme-990pro", workload: "sync-4k", strategy: "native", hops: "lan:native unix:native", hop: 0, inHop: notFor(func(*swap, *devices.Request) bool { return true })},
		{name: "proxy: FUA is dropped from one write of seven, before a server that emulates it", device: "hdd-7200", workload: "sync-4k", strategy: "emulate", hops: "lan:native unix:pass", hop: 1, inHop: notFor(func(s *swap, _ *devices.Request) bool { return s.n%7 == 0 })},
		{name: "device: FLUSH is answered early while others are in progress", device: "MIXEDTWO", workload: "MIXED", cuts: mixedCuts, strategy: "none", inDevice: answersEarlyWhenBusy},
		{name: "device: WRITE_ZEROES leaves its last 4 KiB", device: "MIXEDTWO", workload: "MIXED", cuts: mixedCuts, strategy: "native", inDevice: losesZerosEnd},
	}
}

func TestTheCheckerFindsEveryMutant(t *testing.T) {
	profiles := map[string]string{
		"SMALL": file(t, "small.yaml", "extends: nvme-990pro"+smallCache), "ONE": file(t, "one.yaml", "extends: nvme-990pro"+smallCache+oneUnit),
		"TWO":     file(t, "two.yaml", "extends: nvme-970pro"+smallCache),
		"DISK":    file(t, "disk.yaml", "extends: hdd-7200"+smallCache),
		"OPENED":  file(t, "opened.yaml", opened),
		"ZEROING": file(t, "zeroing.yaml", zeroing),
		"ZEROED":  file(t, "zeroed.yaml", zeroed),
		"MIXED":   file(t, "mixed.yaml", mixed), "MIXEDTWO": file(t, "mixed-two.yaml", "extends: nvme-970pro"+mixedCache),
		"MIXEDDISK": file(t, "mixed-disk.yaml", "extends: hdd-7200"+mixedCache),
	}
	named := func(s string) string {
		if p, ok := profiles[s]; ok {
			return p
		}
		return s
	}
	table := []string{"| mutant | where it is found | cuts needed | violation |", "| --- | --- | ---: | --- |"}
	for _, m := range mutants() {
		where := strings.ToLower(m.device + " / " + m.workload + " / " + m.strategy)
		m.device, m.workload = named(m.device), named(m.workload)
		c := m.config(t)
		cell := cellOf(t, c)
		m.mutate(cell)
		r, err := cell.check(func() bool { return false })
		if err != nil || r.Status != "ok" {
			t.Fatalf("%s: %v, %+v", m.name, err, r)
		}
		if r.FirstBroken == 0 {
			t.Errorf("%s: not found in %d cuts", m.name, r.Cuts)
			continue
		}
		var found []history.Class
		for _, v := range r.Violations {
			if !slices.Contains(found, v.Class) {
				found = append(found, v.Class)
			}
		}
		table = append(table, fmt.Sprintf("| %s | %s | %d | %s |", m.name, where, r.FirstBroken, strings.Trim(fmt.Sprint(found), "[]")))
	}
	keepTable(t, "../../docs/DURABILITY.md", "mutants", strings.Join(table, "\n"))
}

// Without a defect, mixed breaks no promise: what finds the mutants is not noise.
func TestHonestDrivesKeepTheirPromisesUnderMixed(t *testing.T) {
	load := file(t, "mixed.yaml", mixed)
	for device, strategy := range map[string]string{
		file(t, "two.yaml", "extends: nvme-970pro"+mixedCache): "native", file(t, "disk.yaml", "extends: hdd-7200"+mixedCache): "none",
		"nvme-pm963": "native", "hdd-7200-wt": "none", "raid-bbu": "native",
	} {
		c := one(device, load, strategy, mixedCuts/3)
		c.Commits = 48
		r, err := cellOf(t, c).check(func() bool { return false })
		if err != nil || r.Status != "ok" || r.FirstBroken != 0 || r.Cuts == 0 {
			t.Errorf("%s: %v, %+v", device, err, r)
		}
	}
}

// keepTable holds a table between two marks of a document, or rewrites it.
func keepTable(t *testing.T, path, name, table string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from, to := "<!-- "+name+" -->\n", "\n<!-- end of "+name+" -->"
	head, rest, ok := strings.Cut(string(text), from)
	old, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no table of %s", path, name)
	}
	if old == table {
		return
	}
	if !*update {
		t.Errorf("%s: the table of %s is not what the test found; -update rewrites it:\n%s", path, name, table)
		return
	}
	if err := os.WriteFile(path, []byte(head+from+table+to+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
