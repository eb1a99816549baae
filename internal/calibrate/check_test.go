package calibrate

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
)

func profiles(t testing.TB, names ...string) (out []*catalog.Profile) {
	t.Helper()
	for _, n := range names {
		p, err := catalog.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func mustCheck(t testing.TB, names ...string) *Check {
	t.Helper()
	c, err := CheckDevices(context.Background(), profiles(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is fitted or derived is right by construction. A prediction may be wrong,
// which is then a finding that docs/DEVICES.md explains: these, and no others.
func TestFittedAndDerivedRowsAreInTolerance(t *testing.T) {
	var out []string
	c := mustCheck(t, catalog.List()...)
	kinds := map[catalog.RowKind]int{}
	for _, r := range c.Rows {
		kinds[r.Kind]++
		if r.OK != (math.Abs(r.Simulated/r.Published-1) <= r.Tolerance) {
			t.Errorf("%+v: ok is not what the figures say", r)
		}
		switch {
		case r.OK:
		case r.Kind == catalog.Predicted:
			out = append(out, r.Device+" "+r.Op)
		default:
			t.Errorf("%s, %s at %d is %s: %g %s, published %g", r.Device, r.Op, r.Jobs, r.Kind, r.Simulated, r.Unit, r.Published)
		}
	}
	want := []string{
		"ebs-gp3-9000 write_fua", "ebs-gp3-9000 write_flush", "ebs-gp3-9000 chain",
		"nvme-9100pro write_rate", "nvme-9100pro read",
		"nvme-950pro-256 write", "nvme-950pro-256 write", "nvme-970evoplus read", "nvme-970evoplus write_rate", "nvme-970evoplus-2tb write_rate", "nvme-970evoplus-2tb chain",
		"nvme-980 read", "nvme-980 write_rate_full", "nvme-990pro write_rate", "nvme-990pro-4tb write_fua", "nvme-intel750 read_rate", "nvme-mp600 chain",
		"nvme-p4800x fsync_ext4", "nvme-p4800x fsync_ext4", "nvme-p4800x fsync_data_journal", "nvme-p4800x read_rate",
		"sas-pm1643a read", "sata-pm863 write_flush", "sata-pm863a sync_shared",
	}
	if !slices.Equal(out, want) || c.Out() != len(out) {
		t.Errorf("predictions out of tolerance: %q, want %q", out, want)
	}
	if kinds[catalog.Predicted] < 50 || kinds[catalog.Fitted] < 25 || kinds[catalog.Derived] < 40 {
		t.Errorf("kinds %v", kinds)
	}
}

func TestACheckIsTheSameEachTime(t *testing.T) {
	var text [2]bytes.Buffer
	for i := range text {
		if err := mustCheck(t, "nvme-970pro", "hdd-7200", "nvme-990pro").WriteJSON(&text[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(text[0].Bytes(), text[1].Bytes()) {
		t.Error("two checks differ")
	}
}

// measure is what a row gives on a profile.
func measure(t *testing.T, device string, r catalog.Row) float64 {
	t.Helper()
	x, err := measureRow(context.Background(), profiles(t, device)[0], &r)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return x
}

func TestEveryOpRequestsWhatItIsNamed(t *testing.T) {
	// fua-disk, in us: write 460, FLUSH 2243, FUA 1921 more than a write, clean FLUSH 20.
	const write, flush, fua = 460, 2243, 2381
	const bus = 12 << 10 / 3360. // of 16 KiB at 3.36 GB/s, beyond that of the 4 KiB in write
	want := map[string]float64{
		"read": 460, "write": write, "write_fua": fua, "sync_4k": fua, "sync_shared": fua, "write_flush": write + flush, "write_flush_shared": write + flush,
		"flush": flush, "flush_n": flush, "flush_clean": 20, "sync_n": fua, "chain": write + flush + fua,
		"fsync_ext4":         2*write + flush + fua, // data, journal, FLUSH, commit record
		"fsync_rocksdb":      2*write + flush + fua,
		"fsync_data_journal": write + bus + flush + fua, // all blocks at once, FLUSH, commit record
		"read_write":         2 * write, "read_rate": write, "write_rate": write, "write_rate_full": write, "write_full": write,
		"fdatasync_etcd": 2*write + flush, // log, inode, FLUSH
	}
	for _, op := range catalog.Ops() {
		got := measure(t, "fua-disk", catalog.Row{Op: op, Unit: "us"})
		if math.Abs(got-want[op]) > 3 {
			t.Errorf("%s takes %.1f us, want %.1f", op, got, want[op])
		}
	}
	if _, err := loadOf(&catalog.Row{Op: "nothing"}); err == nil {
		t.Error("no error for an op that is none")
	}
}

func TestUnitsAndJobs(t *testing.T) {
	for _, c := range []struct {
		unit string
		jobs int
		want float64
	}{
		{"us", 1, 29.33},
		{"ms", 1, 0.02933},
		{"ops/s", 1, 34095},
		{"ops/s", 4, 136379},
		{"us", 4, 29.33},
		{"us", 16, 16 * 3.73},
	} {
		got := measure(t, "nvme-pm963", catalog.Row{Op: "sync_4k", Jobs: c.jobs, Unit: c.unit})
		if math.Abs(got/c.want-1) > 0.001 {
			t.Errorf("%d jobs: %g %s, want %g", c.jobs, got, c.unit, c.want)
		}
	}
}

// What the host takes between two commits lowers a job's rate and no latency,
// and other jobs go on meanwhile.
func TestTheTimeOfTheHostIsBetweenCommits(t *testing.T) {
	row := catalog.Row{Op: "write_fua", Unit: "ops/s", Host: time.Millisecond}
	if got, want := measure(t, "fua-disk", row), 1e6/(2381+1000); math.Abs(got/want-1) > 0.005 {
		t.Errorf("%.1f/s with 1 ms of host, want %.1f", got, want)
	}
	row = catalog.Row{Op: "sync_4k", Unit: "ops/s", Jobs: 2, Host: 100 * time.Microsecond}
	if got, want := measure(t, "nvme-pm963", row), 2e6/(29.33+100); math.Abs(got/want-1) > 0.005 {
		t.Errorf("%.0f/s with two jobs and 100 us of host each, want %.0f", got, want)
	}
}

// With sync_shared jobs share the kernel's FLUSHes, with sync_4k they do not.
func TestJobsOnADeviceWithoutFUAShareFlushes(t *testing.T) {
	sync := measure(t, "emmc-sd", catalog.Row{Op: "sync_shared", Unit: "ops/s", Jobs: 4})
	pair := measure(t, "emmc-sd", catalog.Row{Op: "sync_4k", Unit: "ops/s", Jobs: 4})
	if sync < 2*pair {
		t.Errorf("%.0f/s with shared FLUSHes, %.0f/s with their own: want at least twice as many", sync, pair)
	}
}

// A full cache takes writes as fast as the disk behind it does, and not sooner
// than it is full.
func TestAControllerWithAFullCacheIsAsFastAsItsDisk(t *testing.T) {
	disk := measure(t, "hdd-7200-wt", catalog.Row{Op: "write", Pattern: "random", Jobs: 32, Unit: "ops/s"})
	full := measure(t, "raid-bbu", catalog.Row{Op: "write_full", Pattern: "random", Jobs: 32, Unit: "ops/s"})
	fresh := measure(t, "raid-bbu", catalog.Row{Op: "write", Pattern: "random", Jobs: 32, Unit: "ops/s"})
	if math.Abs(full/disk-1) > 0.05 || fresh < 100*disk {
		t.Errorf("%.1f/s with a full cache, %.0f/s with a fresh one, the disk %.1f/s", full, fresh, disk)
	}
	rows, err := profiles(t, "raid-bbu")[0].Rows()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.ID == "raid-bbu-full" && math.Abs(r.Value/disk-1) > 0.005 {
			t.Errorf("the row says %.1f/s, the disk is at %.1f/s", r.Value, disk)
		}
	}
}

func TestFlushNHasAsManyDirtyExtentsAsItHasJobs(t *testing.T) {
	row := catalog.Row{Op: "flush_n", Pattern: "random", Unit: "ms"}
	one := measure(t, "hdd-7200", row)
	row.Jobs = 8
	if eight := measure(t, "hdd-7200", row); eight < 4*one || eight > 8*one {
		t.Errorf("FLUSH of 8 extents takes %.1f ms, of one %.1f ms", eight, one)
	}
}

func TestADurableWriteOnADeviceWithoutFUAIsAWriteAndAFlush(t *testing.T) {
	sync := catalog.Row{Op: "sync_4k", Unit: "us"}
	pair := catalog.Row{Op: "write_flush", Unit: "us"}
	if a, b := measure(t, "emmc-sd", sync), measure(t, "emmc-sd", pair); math.Abs(a-b) > b/100 {
		t.Errorf("sync_4k takes %.1f us, write_flush %.1f us", a, b)
	}
}

func TestACheckEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := CheckDevices(ctx, profiles(t, "nvme-pm963")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestACommitThatFailsFailsTheCheck(t *testing.T) {
	var m meter
	for _, e := range []devices.Errno{devices.OK, devices.EIO, devices.ENOSPC, devices.OK} {
		m.Commit(&devices.Commit{Errno: e})
	}
	if m.failed != devices.EIO {
		t.Errorf("got %v", m.failed)
	}
	m = meter{skip: 1}
	m.Commit(&devices.Commit{Acked: 500})
	m.Commit(&devices.Commit{Intended: 500, Acked: 1500})
	m.Commit(&devices.Commit{Intended: 1500, Acked: 4500})
	if got := m.figure("us"); got != 2 {
		t.Errorf("mean of 1 and 3 us, without the first: %g", got)
	}
	if got, want := m.figure("ops/s"), 2/(4*time.Microsecond).Seconds(); got != want {
		t.Errorf("got %g/s, want %g", got, want)
	}
}

func TestATableOfACheckNamesWhatIsOut(t *testing.T) {
	c := mustCheck(t, "nvme-p4800x", "ram")
	var text, page bytes.Buffer
	if err := errors.Join(c.WriteText(&text, 120), c.Table().Markdown(&page)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"10 published figures · 3 of 3 fitted in tolerance · 0 of 0 derived in tolerance · 3 of 7 predicted in tolerance\n",
		"\nnvme-p4800x\n", " OUT  predicted ", "ssd.parallel", "OUT: nvme-p4800x, fsync_ext4, jobs 1: 1.36 times the published 21200 ops/s (",
		"\nNothing is published of ram.\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("expected %q in\n%s", want, text.String())
		}
	}
	if !strings.Contains(page.String(), "| nvme-p4800x | fsync_ext4 | 1 | 21200 |") || !strings.Contains(page.String(), "Percona, 2019") {
		t.Errorf("got\n%s", page.String())
	}
}

func TestDigitsRoundsToSignificantOnes(t *testing.T) {
	for _, c := range []struct {
		x    float64
		n    int
		want float64
	}{{1.23456, 4, 1.235}, {123456.7, 6, 123457}, {0.0123456, 3, 0.0123}, {0, 3, 0}} {
		if got := digits(c.x, c.n); math.Abs(got-c.want) > c.want*1e-12 {
			t.Errorf("digits(%g, %d) = %g, want %g", c.x, c.n, got, c.want)
		}
	}
}
