package catalog

import (
	"strings"
	"testing"
	"time"
)

func TestAParameterHasAnotherValueInAnotherProfile(t *testing.T) {
	for _, name := range []string{"nvme-990pro", "nvme-970pro"} {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		before := *p.SSD
		q, err := p.WithValue("ssd.serial", "123us")
		if err != nil {
			t.Fatal(err)
		}
		if v, err := q.Value("ssd.serial"); err != nil || v != 123*time.Microsecond {
			t.Errorf("%s: got %v: %v", name, v, err)
		}
		if *p.SSD != before || q.Name != p.Name {
			t.Errorf("%s: the profile itself changed", name)
		}
	}
}

func TestWhatIsNoParameterIsNotVaried(t *testing.T) {
	p, err := Load("nvme-990pro")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"name": "expected a parameter", "sources.size": "expected a parameter", "extends": "expected a parameter", "kind": "expected a parameter",
		"hdd.rpm": `there is no "hdd" here`, "ssd.flash.channels": `there is no "flash" here`, "speed": `unknown key "speed"`,
	} {
		if _, err := p.WithValue(path, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for _, c := range [][3]string{
		{"cache.capacity", "1KiB", "expected at least 64KiB"}, {"advertise.fua", "often", "expected native or none"}, {"ssd.serial", "soon", "expected a duration"},
	} {
		if _, err := p.WithValue(c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s = %s: %v, want %q", c[0], c[1], err, c[2])
		}
	}
}
