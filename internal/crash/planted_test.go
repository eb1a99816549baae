package crash

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
)

// plantedCuts is within how many cuts of one cell a planted bug must be found.
const plantedCuts = 300

// zeroesWholePages is a WRITE_ZEROES that leaves the pages that it covers in part.
func zeroesWholePages(s *swap, r *devices.Request) {
	from, to := (r.Offset+4095)/4096*4096, r.End()/4096*4096
	switch {
	case r.Op != devices.OpWriteZeroes:
		s.Device.Submit(r)
	case from >= to:
		s.pretend(r)
	default:
		s.child(r, func(c *devices.Request) { c.Offset, c.Length = from, to-from }, func(c *devices.Request) { s.end(r, c.Errno) })
	}
}

// answersEarlyAtDepth answers a FLUSH as soon as the device has it while more than so
// many requests are in progress.
func answersEarlyAtDepth(depth int) func(s *swap, r *devices.Request) {
	return func(s *swap, r *devices.Request) {
		if r.Op == devices.OpFlush && s.inside >= depth {
			answersEarly(s, r)
			return
		}
		s.inside++
		s.child(r, func(*devices.Request) {}, func(c *devices.Request) { s.inside--; s.end(r, c.Errno) })
	}
}

// planted are bugs that each break a promise, and the cell of the default matrix that
// finds it soonest. Each is of mixed-geometry.
func planted() []mutant {
	const disk, nvme, smallDisk, two = "hdd-7200", "nvme-990pro", SmallCache + "hdd-7200", SmallCache + twoUnits
	above := func(n uint64) func(s *swap, r *devices.Request) {
		return notFor(func(_ *swap, r *devices.Request) bool { return r.Length > n })
	}
	return []mutant{
		{name: "FLUSH waits only for the newest flight", device: two, strategy: "none", defect: drive.DefectFlushMissesOldFlights},
		{name: "FUA drops only the first dirty extent", device: disk, strategy: "native", defect: drive.DefectFUADropsOneExtent},
		{name: "FUA drops only the newest flight's copy", device: two, strategy: "native", defect: drive.DefectFUACutsNewestFlight},
		{name: "FUA that cuts a piece in flight loses its tail", device: nvme, strategy: "native", defect: drive.DefectFUACutLosesTail},
		{name: "zeros that are split lose their end", device: disk, strategy: "native", defect: drive.DefectZeroSplitLosesTail},
		{name: "FUA at an unaligned offset drops no older copies", device: nvme, strategy: "native", defect: drive.DefectFUASkipsUnaligned},
		{name: "an extent that is split loses its tail", device: disk, strategy: "none", defect: drive.DefectSplitLosesTail},
		{name: "an atomic unit leaves in two flights", device: smallDisk, strategy: "native", defect: drive.DefectUnitInTwoFlights},
		{name: "WRITE_ZEROES leaves pages that it covers in part", device: disk, strategy: "native", inDevice: zeroesWholePages},
		{name: "an overwrite of more than 4 KiB counts as new", device: disk, strategy: "native", defect: drive.DefectLongOverwriteForgets},
		{name: "FUA above 16 KiB is acknowledged from the cache", device: disk, strategy: "native", inDevice: above(16 << 10)},
		{name: "FLUSH ends at any landing", device: disk, strategy: "none", defect: drive.DefectFlushEndsAtAnyLanding},
		{name: "FLUSH does not cover the latest write", device: disk, strategy: "none", defect: drive.DefectSnapshotOffByOne},
		{name: "FLUSH with nothing dirty does not wait for destages", device: smallDisk, strategy: "none", defect: drive.DefectFlushSkipsDestages},
		{name: "FUA is lost in a read-modify-write of a block", device: disk, strategy: "native", inDevice: notFor(func(_ *swap, r *devices.Request) bool { return (r.Offset|r.Length)%4096 != 0 })},
		{name: "FLUSH is answered early above depth 4", device: disk, strategy: "none", inDevice: answersEarlyAtDepth(4)},
		{name: "FUA above 32 KiB is acknowledged from the cache", device: disk, strategy: "native", inDevice: above(32 << 10)},
		{name: "no FLUSH after WRITE_ZEROES", device: disk, strategy: "none", client: zeroesUnflushed},
	}
}

// The default matrix finds what is planted in its drives, server and client.
func TestTheDefaultMatrixFindsThePlantedBugs(t *testing.T) {
	usual := Default()
	cells, err := usual.Cells()
	if err != nil {
		t.Fatal(err)
	}
	table := []string{"| planted bug | cell of the default matrix | cuts needed | violation |", "| --- | --- | ---: | --- |"}
	var missed []string
	for _, m := range planted() {
		i := slices.IndexFunc(cells, func(c Cell) bool {
			return c.Device == m.device && c.Workload == mixedGeometry && c.Strategy == m.strategy
		})
		if i < 0 {
			t.Fatalf("%s: %s/%s is no cell of the default matrix", m.name, m.device, m.strategy)
		}
		cell := cells[i]
		config := usual
		config.Cuts = plantedCuts
		cell.Config = &config
		m.mutate(&cell)
		r, found := cell.firstBroken(t)
		needed := fmt.Sprint(r.FirstBroken)
		if r.FirstBroken == 0 {
			missed = append(missed, m.name)
			needed = fmt.Sprintf("not in %d", r.Cuts)
		}
		table = append(table, fmt.Sprintf("| %s | %s | %s | %s |", m.name, cell.ID(), needed, strings.Join(found, " ")))
	}
	if len(missed) > 2 {
		t.Errorf("not found: %v", missed)
	}
	keepTable(t, "../../docs/DURABILITY.md", "planted", strings.Join(table, "\n"))
}

// firstBroken is the part of check that looks for a violation: it ends with the first
// run that has one, and does not make it shorter.
func (c *Cell) firstBroken(t *testing.T) (r *CellResult, classes []string) {
	t.Helper()
	r = &CellResult{}
	first := map[history.Class]found{}
	for n := uint64(0); r.Cuts < int64(c.target()) && r.FirstBroken == 0; n++ {
		s := scenario{cell: c, seed: c.Config.Seed + n, commits: c.Config.Commits, connections: c.Config.connections(c.Load.Name)}
		if err := c.oneRun(s, r, first, func() bool { return false }); err != nil {
			t.Fatalf("%s: %v", c.ID(), err)
		}
	}
	for class := range first {
		classes = append(classes, string(class))
	}
	slices.Sort(classes)
	return r, classes
}

// Drives with small caches and without a defect keep their promises: what finds the
// planted bugs is not noise.
func TestSmallCachesKeepTheirPromises(t *testing.T) {
	for _, device := range []string{SmallCache + "nvme-990pro", SmallCache + twoUnits, SmallCache + "hdd-7200", SmallCache + "nvme-980"} {
		c := one(device, mixedGeometry, durable, 64)
		c.Connections = 0
		if d := check(t, c); d.Broken() || d.CommitsLost > 0 || d.Cuts == 0 {
			t.Errorf("%s: %v", device, d.Violations)
		}
	}
	c := one(SmallCache+"nvme-pm963", "wal", "native", 1)
	if _, err := c.Cells(); err == nil || !strings.Contains(err.Error(), "volatile") {
		t.Errorf("a drive without a volatile cache: got %v", err)
	}
}
