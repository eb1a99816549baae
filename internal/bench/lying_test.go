package bench

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// The control that lies: an honest drive of the same kind keeps every promise,
// and this one breaks them under whatever strategy.
func TestADriveThatLiesAboutFlushAndFUABreaksItsPromises(t *testing.T) {
	p := plan("nvme-990pro lying", "sync-4k", "native emulate none force")
	p.Cuts = 10
	doc := mustRun(t, p)
	for _, device := range p.Devices {
		for _, strategy := range p.Strategies {
			c := cellOf(t, doc, device+"/sync-4k/"+strategy)
			d, lies := c.Durability, device == "lying"
			if (d.Violations > 0) != lies || (d.CommitsLost > 0) != lies || d.CommitsAcked == 0 {
				t.Errorf("%s, %s: lost %d of %d commits, %d violations; want losses: %v", device, strategy, d.CommitsLost, d.CommitsAcked, d.Violations, lies)
			}
			if !c.Advertised.Flush || !c.Advertised.FUA && strategy != "none" {
				t.Errorf("%s, %s: advertises %+v", device, strategy, c.Advertised)
			}
		}
	}
	between(t, "a write and a FLUSH that does nothing, µs", mean(t, doc, "lying/sync-4k/none").Seconds()*1e6, 20, 200)
}

// Each lie is one of its own: a drive may be honest about FUA alone.
func TestADriveThatLiesOnlyAboutFlushKeepsFUA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "half.yaml")
	if err := os.WriteFile(path, []byte("extends: lying\nname: half\nlies: {fua: false}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := plan(path, "sync-4k", "native none")
	p.Cuts = 10
	doc := mustRun(t, p)
	for strategy, breaks := range map[string]bool{"native": false, "none": true} {
		d := cellOf(t, doc, "half/sync-4k/"+strategy).Durability
		if (d.Violations > 0) != breaks || (d.CommitsLost > 0) != breaks {
			t.Errorf("%s: lost %d, %d violations; want losses: %v", strategy, d.CommitsLost, d.Violations, breaks)
		}
	}
}

// The control whose capacitors have failed unnoticed can be distinguished from the sound
// drive by a power cut alone: every time is the same.
func TestADriveThatHasNotNoticedItsFailedCapacitorsIsTheSoundOneUntilThePowerGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mixed.yaml")
	mixed := "name: mixed\nqueue_depth: 4\nregions: [{name: hot, offset: 0, size: 1MiB}]\ntransaction:\n" +
		"  - {op: read, size: 4KiB, region: hot, pattern: random}\n  - {op: write, durable: true, size: 16KiB, region: hot, pattern: random}\n"
	if err := os.WriteFile(path, []byte(mixed), 0o600); err != nil {
		t.Fatal(err)
	}
	p := plan("nvme-pm963 plp-failed", "sync-4k wal-noisy "+path, "native emulate none")
	p.Cuts = 10
	doc := mustRun(t, p)
	for _, workload := range []string{"sync-4k", "wal-noisy", "mixed"} {
		for _, strategy := range p.Strategies {
			sound, failed := cellOf(t, doc, "nvme-pm963/"+workload+"/"+strategy), cellOf(t, doc, "plp-failed/"+workload+"/"+strategy)
			if !reflect.DeepEqual(sound.Commit, failed.Commit) || *sound.Advertised != *failed.Advertised {
				t.Errorf("%s, %s: p50 %v on the sound drive, %v on the failed one", workload, strategy, *sound.Commit.P50, *failed.Commit.P50)
			}
			if d := sound.Durability; d.Violations != 0 || d.CommitsLost != 0 {
				t.Errorf("%s, %s: the sound drive lost %d commits, %d violations", workload, strategy, d.CommitsLost, d.Violations)
			}
			if d := failed.Durability; d.Violations == 0 || d.CommitsLost == 0 {
				t.Errorf("%s, %s: the failed drive lost %d of %d commits, %d violations", workload, strategy, d.CommitsLost, d.CommitsAcked, d.Violations)
			}
		}
	}
}

// The controls: with its capacitors gone, and known to be, a drive loses what it
// kept before.
func TestADriveThatKnowsOfItsFailedCapacitorsLosesWhatWasNotFlushed(t *testing.T) {
	p := plan("nvme-pm963 plp-degraded emmc-sd hdd-7200-wt nvme-p4800x", "sync-4k", "none none-unsafe")
	p.Cuts = 10
	doc := mustRun(t, p)
	for _, device := range p.Devices {
		volatile := device == "plp-degraded" || device == "emmc-sd"
		for _, strategy := range p.Strategies {
			d := cellOf(t, doc, device+"/sync-4k/"+strategy).Durability
			loses := volatile && strategy == "none-unsafe"
			if d.Violations != 0 || (d.CommitsAtRisk > 0) != loses || (d.CommitsLost > 0) != loses {
				t.Errorf("%s, %s: lost %d and %d at risk of %d commits, %d violations; want losses: %v", device, strategy, d.CommitsLost, d.CommitsAtRisk, d.CommitsAcked, d.Violations, loses)
			}
		}
	}
}

// FUA on the drive of the kernel's commit is cheaper than a write and a FLUSH,
// by as much as was measured: 370/420.
func TestFUAIsCheaperThanFlushOnTheDeviceOfTheKernelsCommit(t *testing.T) {
	doc := mustRun(t, plan("fua-disk", "sync-4k", "native emulate"))
	between(t, "native/emulate", ratio(mean(t, doc, "fua-disk/sync-4k/native"), mean(t, doc, "fua-disk/sync-4k/emulate")), 0.87, 0.89)
}
