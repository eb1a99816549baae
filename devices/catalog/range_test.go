package catalog_test

import (
	"strings"
	"testing"

	"nbdbench/devices/catalog"
)

const ranged = `extends: nvme-990pro
name: mine
ssd: {fua_base: 2ms}
ranges: {ssd.fua_base: [1ms, 4ms]}
published:
  - {id: a, op: write_fua, published_range: [200, 900], unit: ops/s, tolerance: 0.1, source: two that disagree}
`

func TestSourcesThatDisagreeAreARange(t *testing.T) {
	p, err := catalog.Load(file(t, t.TempDir(), "mine.yaml", ranged))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, x := range p.Estimates() {
		if x.Path != "ssd.fua_base" {
			continue
		}
		found = true
		if low, high := p.RangeOf(x); low != 1e6 || high != 4e6 {
			t.Errorf("fua_base is varied from %g to %g", low, high)
		}
	}
	if !found {
		t.Error("a sensitivity analysis does not vary what sources disagree on")
	}
	rows, err := p.Rows()
	if err != nil {
		t.Fatal(err)
	}
	for simulated, want := range map[float64]float64{100: 200, 500: 500, 1000: 900} {
		if got := rows[0].Nearest(simulated); got != want {
			t.Errorf("%g is compared with %g, want %g", simulated, got, want)
		}
	}
	child, err := catalog.Load(file(t, t.TempDir(), "child.yaml", "extends: nvme-970evoplus-2tb\nname: other\n"))
	if err != nil || len(child.Ranges) != 0 {
		t.Errorf("what is known of a drive is known of one with another name: %v, %v", child.Ranges, err)
	}
}

func TestARangeWithoutItsValueIsRefused(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"[1ms, 4ms]", "[3ms, 4ms]", "mine.yaml:4:10: ranges.ssd.fua_base: expected the least and the greatest value"},
		{"[1ms, 4ms]", "[1ms]", "ranges.ssd.fua_base: expected the least and the greatest value"},
		{"[1ms, 4ms]", "[fast, 4ms]", "ranges.ssd.fua_base: expected the least"},
		{"ssd.fua_base: [", "ssd.colour: [", "ranges.ssd.colour: expected a parameter that is a number"},
		{"[200, 900]", "[900, 200]", "published_range: expected two figures, the lesser first"},
		{"[200, 900]", "[200, 900], value: 300", "published_range: expected two figures"},
	} {
		_, err := catalog.Load(file(t, t.TempDir(), "mine.yaml", strings.Replace(ranged, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.new, err, c.want)
		}
	}
}
