package catalog_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
)

// modelled are the profiles with a mechanism that keeps its promises.
func modelled(t *testing.T) (out []*catalog.Profile) {
	t.Helper()
	for _, name := range catalog.List() {
		p, err := catalog.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Kind != "ram" && p.Lies == (catalog.Lies{}) {
			out = append(out, p)
		}
	}
	return out
}

// spreadOf is how much less the mean of some costs may be than that of fewer bytes:
// what the spread of FLUSH and FUA, and the place of a disk's head, leave of it.
func spreadOf(p *catalog.Profile) float64 {
	if p.Kind == "ssd" && p.SSD.Flush != nil && p.SSD.Flush.SlowShare > 0 {
		return 0.60 // some of the FLUSHes are of the slow kind
	}
	if p.Kind == "ssd" && p.SSD.Sigma == 0 {
		return 0.005
	}
	if p.Kind == "raid5" {
		return 0.40 // whole chunks are written with fewer reads than parts of them
	}
	if p.Kind == "hdd" || p.Kind == "raid" || p.IsArray() && p.Advertise.Rotational {
		return 0.20
	}
	return 0.10
}

// interfaces are what the standards let pass, in bytes a second: of SATA 3 with 8b/10b,
// of SAS at 12 Gb/s, of four lanes of PCIe 3.0, 4.0 and 5.0 with 128b/130b.
var interfaces = map[string]float64{"sata": 600e6, "sas": 1200e6, "pcie3": 3.939e9, "pcie4": 7.877e9, "pcie5": 15.754e9}

// interfaceOf is the interface of a profile.
func interfaceOf(name string) float64 {
	switch {
	case slices.Contains(pcie5, name):
		return interfaces["pcie5"]
	case slices.Contains(pcie4, name):
		return interfaces["pcie4"]
	case name == "stripe-nvme":
		return 2 * interfaces["pcie4"]
	case name == "mirror-nvme":
		return 2 * interfaces["pcie3"] // both legs answer reads
	case name == "raid5-hdd":
		return 3 * interfaces["sata"]
	case name == "log-hdd":
		return interfaces["pcie3"]
	case strings.HasPrefix(name, "sas-"), name == "hdd-15k", name == "hdd-10k":
		return interfaces["sas"]
	case strings.HasPrefix(name, "sata-"), strings.HasPrefix(name, "hdd-"), name == "raid-bbu":
		return interfaces["sata"]
	case name == "mirror-nvme":
		return 2 * interfaces["pcie3"] // both legs serve reads
	case name == "ssd-mqsim":
		return 4e9 // its own
	}
	return interfaces["pcie3"]
}

var (
	pcie5 = []string{"nvme-9100pro"}
	pcie4 = []string{"nvme-990pro", "nvme-fsdevel", "nvme-980pro", "nvme-pm9a1", "nvme-990pro-4tb", "nvme-sn850", "nvme-p41plus", "nvme-mp600", "nvme-epyc", "adversary", "adversary-tearing"}
)

// durable is the mean cost of n bytes made durable, by FLUSH or FUA, with one in flight.
func durable(t *testing.T, name string, fua bool, n uint64) time.Duration {
	b := newBench(t, name)
	size := b.dev.Info().Size
	return b.mean(16, func(i uint64) {
		off := i * n % (size - n) / 4096 * 4096
		if fua {
			b.do(devices.OpWrite, devices.FUA, off, n)
			return
		}
		b.do(devices.OpWrite, 0, off, n)
		b.do(devices.OpFlush, 0, 0, 0)
	})
}

func TestTheCostOfADurableWriteRisesWithItsSize(t *testing.T) {
	sizes := []uint64{4 << 10, 16 << 10, 64 << 10, 256 << 10, 512 << 10, 768 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 15 << 20}
	for _, p := range modelled(t) {
		for _, fua := range []bool{false, true} {
			if fua && p.Advertise.FUA != "native" {
				continue
			}
			last := time.Duration(0)
			for _, n := range sizes {
				got := durable(t, p.Name, fua, n)
				// RAID 5 need not read what it writes a whole stripe of.
				if p.Kind != "raid5" && float64(got) < float64(last)*(1-spreadOf(p)) {
					t.Errorf("%s: %d bytes durable (FUA %v) take %v, fewer took %v", p.Name, n, fua, got, last)
				}
				if floor := float64(n) / interfaceOf(p.Name); p.Kind != "cloud" && p.Kind != "raid" && got.Seconds() < floor {
					t.Errorf("%s: %d bytes durable (FUA %v) take %v, the interface alone %gs", p.Name, n, fua, got, floor)
				}
				last = got
			}
		}
	}
}

func TestTheCostOfAFlushRisesWithWhatIsDirty(t *testing.T) {
	for _, p := range modelled(t) {
		last := time.Duration(0)
		for _, pieces := range []uint64{1, 4, 8, 9, 12, 16, 32, 64, 160} { // of 64 KiB
			b := newBench(t, p.Name)
			got := b.mean(8, func(uint64) {
				for i := range pieces {
					b.do(devices.OpWrite, 0, i<<20, 64<<10)
				}
				b.do(devices.OpFlush, 0, 0, 0)
			})
			if float64(got) < float64(last)*(1-spreadOf(p)) {
				t.Errorf("%s: %d writes of 64 KiB and a FLUSH take %v, fewer took %v", p.Name, pieces, got, last)
			}
			last = got
		}
	}
}

// jobs has n jobs send bytes each, one request after another, and returns the bytes a
// second of all.
func (b *bench) jobs(op devices.Op, n, requests int, bytes uint64) float64 {
	rs := make([]devices.Request, n)
	sent := 0
	send := func(r *devices.Request) {
		sent++
		b.submit(r, op, 0, uint64(sent)*bytes%(1<<30), bytes)
	}
	b.next = func(r *devices.Request) {
		if sent < requests {
			send(r)
		}
	}
	start, done := b.loop.Now(), b.done
	for i := range rs {
		send(&rs[i])
	}
	b.loop.RunWhile(func() bool { return b.done-done < requests })
	b.next = nil
	return float64(requests) * float64(bytes) / b.loop.Now().Sub(start).Seconds()
}

func TestNoProfilePassesItsInterface(t *testing.T) {
	for _, p := range modelled(t) {
		if p.Kind == "cloud" || p.Kind == "raid" || p.Name == "emmc-sd" {
			continue // a cache before the disk, a network, a bus of its own
		}
		for _, op := range []devices.Op{devices.OpRead, devices.OpWrite} {
			requests := 4000
			if p.Kind == "hdd" {
				requests = 300
			}
			b := newBench(t, p.Name)
			if op == devices.OpRead && p.SSD != nil && p.SSD.Flash != nil {
				b.jobs(devices.OpWrite, 4, 1024, 1<<20) // so that there is something to be read
			}
			if got := b.jobs(op, 16, requests, 1<<20); got > interfaceOf(p.Name) {
				t.Errorf("%s: %v of 1 MiB by 16 jobs at %.3g bytes a second, its interface carries %.3g", p.Name, op, got, interfaceOf(p.Name))
			}
		}
	}
}

func TestALongReadTakesLongerThanOnePage(t *testing.T) {
	for _, p := range modelled(t) {
		if p.Kind != "ssd" || p.SSD.Flash != nil {
			continue
		}
		b := newBench(t, p.Name)
		page := b.mean(4, func(i uint64) { b.do(devices.OpRead, 0, i<<30, 4096) })
		long := b.mean(4, func(i uint64) { b.do(devices.OpRead, 0, i<<30, 16<<20) })
		if pages := 16 << 20 / max(uint64(p.SSD.Page), 4096) / uint64(max(p.SSD.Dies, 1)); long < page+time.Duration(pages-1)*p.SSD.ReadPage {
			t.Errorf("%s: 16 MiB are read in %v, a page in %v, and each die has %d pages", p.Name, long, page, pages)
		}
	}
}

func TestReadsHaveASpreadBesideWrites(t *testing.T) {
	for _, p := range modelled(t) {
		if p.Kind != "ssd" || p.SSD.Flash != nil || p.Name == "emmc-sd" {
			continue
		}
		b := newBench(t, p.Name)
		var took []time.Duration
		flags := devices.FUA
		if p.Advertise.FUA != "native" {
			flags = 0
		}
		writes := make([]devices.Request, 400)
		for i := range writes {
			b.submit(&writes[i], devices.OpWrite, flags, uint64(i)<<20, 64<<10)
			start := b.loop.Now()
			var r devices.Request
			want := &r
			done := false
			old := b.next
			b.next = func(x *devices.Request) { done = done || x == want }
			b.submit(&r, devices.OpRead, 0, uint64(i*7919%4096)<<14, 4096)
			b.loop.RunWhile(func() bool { return !done })
			b.next = old
			took = append(took, b.loop.Now().Sub(start))
		}
		slices.Sort(took)
		if p50, worst := took[len(took)/2], took[len(took)-1]; worst == p50 {
			t.Errorf("%s: each read beside writes takes %v", p.Name, p50)
		}
	}
}

func TestTrimAndWriteZeroesCostByTheirLength(t *testing.T) {
	for _, p := range modelled(t) {
		if p.Kind != "ssd" {
			continue
		}
		for _, op := range []devices.Op{devices.OpTrim, devices.OpWriteZeroes} {
			b := newBench(t, p.Name)
			short := b.mean(4, func(uint64) { b.do(op, 0, 0, 4096) })
			long := b.mean(4, func(uint64) { b.do(op, 0, 0, 1<<30) })
			if long <= short {
				t.Errorf("%s: %v of 1 GiB takes %v, of 4 KiB %v", p.Name, op, long, short)
			}
		}
	}
}

// TestAProtectedBufferIsFullOneDay: what is written faster than the medium takes it is
// taken at the medium's rate in the end, less at random than in sequence.
func TestAProtectedBufferIsFullOneDay(t *testing.T) {
	for _, p := range modelled(t) {
		if p.Kind != "ssd" || p.Cache.Mode != "protected" {
			continue
		}
		b := newBench(t, p.Name)
		sequential := b.jobs(devices.OpWrite, 16, 4000, 1<<20)
		if limit := float64(p.SSD.Drain) * 1.05; limit == 0 || sequential > limit {
			t.Errorf("%s: writes in sequence at %.3g bytes a second, the medium takes %.3g", p.Name, sequential, limit)
		}
		q, s := *p, *p.SSD
		s.Precondition, q.SSD = "random", &s
		b = benchOf(t, &q)
		i := uint64(0)
		b.next = nil
		rs := make([]devices.Request, 64)
		for range 3000 {
			done := b.done
			for k := range rs {
				i++
				b.submit(&rs[k], devices.OpWrite, 0, i*2654435761%(1<<24)*8192, 4096)
			}
			b.loop.RunWhile(func() bool { return b.done-done < len(rs) })
		}
		random := 3000 * 64 * 4096 / b.loop.Now().Sub(0).Seconds()
		if limit := float64(p.SSD.DrainRandom) * 1.15; limit == 0 || random > limit {
			t.Errorf("%s: random writes at %.3g bytes a second, the medium takes %.3g", p.Name, random, limit)
		}
	}
}

// TestANewProtectedDriveTakesRandomWritesUntilItHasBeenWrittenOverOnce: then erased
// blocks come from collection alone.
func TestANewProtectedDriveTakesRandomWritesUntilItHasBeenWrittenOverOnce(t *testing.T) {
	p, err := catalog.Load("nvme-pm963")
	if err != nil {
		t.Fatal(err)
	}
	q := *p
	q.Size = 256 << 20
	b := benchOf(t, &q)
	rate := func() float64 {
		var rs [64]devices.Request
		start, n := b.loop.Now(), 0
		for ; n < 200<<20; n += len(rs) * 4096 {
			done := b.done
			for k := range rs {
				b.submit(&rs[k], devices.OpWrite, 0, uint64(n/4096+k)*7919%(1<<16)*4096, 4096)
			}
			b.loop.RunWhile(func() bool { return b.done-done < len(rs) })
		}
		return float64(n) / b.loop.Now().Sub(start).Seconds()
	}
	if got := rate(); got < 900e6 {
		t.Errorf("a new drive takes random writes at %.3g bytes a second", got)
	}
	rate()
	if got, want := rate(), float64(p.SSD.DrainRandom); got > 1.05*want || got < 0.95*want {
		t.Errorf("a drive that has been written over takes random writes at %.3g bytes a second, want %.3g", got, want)
	}
}

// flushRate is how many writes of 4 KiB, each with a FLUSH, jobs do in a second.
func (b *bench) flushRate(jobs, flushes int) float64 {
	rs := make([]devices.Request, jobs)
	n := 0
	b.next = func(r *devices.Request) {
		if r.Op == devices.OpFlush {
			n++
			b.submit(r, devices.OpWrite, 0, b.txn%1024*4096, 4096)
			return
		}
		b.submit(r, devices.OpFlush, 0, 0, 0)
	}
	for i := range rs {
		b.submit(&rs[i], devices.OpWrite, 0, uint64(i)*4096, 4096)
	}
	start := b.loop.Now()
	b.loop.RunWhile(func() bool { return n < flushes })
	b.next = nil
	return float64(n) / b.loop.Now().Sub(start).Seconds()
}

// TestFlushesStaySerialAtDepth: none of the drives that were measured with many jobs
// serves two FLUSHes at once, so that only a profile that says so may.
func TestFlushesStaySerialAtDepth(t *testing.T) {
	for _, p := range modelled(t) {
		if p.Kind != "ssd" || p.Cache.Mode != "volatile" || p.SSD.FlushBase == 0 {
			continue
		}
		if p.SSD.Flush != nil && p.SSD.Flush.Servers > 1 {
			t.Errorf("%s: flush.servers is %d, and no drive is known to have more than one", p.Name, p.SSD.Flush.Servers)
		}
		one, many := newBench(t, p.Name).flushRate(1, 300), newBench(t, p.Name).flushRate(32, 300)
		// While one FLUSH lasts the next write is acknowledged.
		if limit := 1e9 / float64(p.SSD.FlushBase); many > 1.2*one && many > 1.1*limit {
			t.Errorf("%s: %.0f writes with a FLUSH a second at depth 32, %.0f at depth 1", p.Name, many, one)
		}
	}
}

// TestServersOfAUsersProfileLeaveFlushSerial: a profile that states only servers has as
// many FUA writes at once, and one FLUSH.
func TestServersOfAUsersProfileLeaveFlushSerial(t *testing.T) {
	for _, text := range []string{
		"extends: nvme-990pro\nname: a\nssd: {flush_base: 300us, fua_base: 250us, servers: 16}\n",
		"extends: fua-disk\nname: a\nssd: {flush_base: 300us, fua_base: 250us, servers: 16}\n",
		"extends: nvme-9100pro\nname: a\nssd: {flush_base: 300us, fua_base: 250us, servers: 16}\n",
	} {
		p, err := catalog.Load(file(t, t.TempDir(), "a.yaml", text))
		if err != nil {
			t.Fatal(err)
		}
		if one, many := benchOf(t, p).flushRate(1, 500), benchOf(t, p).flushRate(32, 500); many > 3700 || many < one {
			t.Errorf("%s: %.0f FLUSHes a second at depth 32, %.0f at depth 1", text, many, one)
		}
		if one, many := benchOf(t, p).rate(1, 500, devices.FUA), benchOf(t, p).rate(16, 4000, devices.FUA); many < 12*one {
			t.Errorf("%s: %.0f FUA writes a second at depth 16, %.0f at depth 1", text, many, one)
		}
	}
}
