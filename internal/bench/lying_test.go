package bench

import (
	"os"
	"path/filepath"
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
func TestADriveThatLiesAboutFlushAloneKeepsFUA(t *testing.T) {
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
