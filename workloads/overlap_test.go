package workloads

import "testing"

func TestFootprint(t *testing.T) {
	const head = "regions: [{name: a, size: 64k}, {name: b, offset: 64k, size: 64k}, {name: c, offset: 512k}]\n"
	for _, c := range []struct {
		steps     string
		off, end  uint64
		exclusive bool
	}{
		{"transaction: [{op: write, size: 4k, region: b}]", 64 << 10, 128 << 10, true},
		{"transaction: [{op: write, size: 4k, region: c}, {op: trim, size: 4k, region: b}]", 64 << 10, 1 << 20, true},
		{"transaction: [{op: read, size: 4k, region: a}, {op: write, size: 4k, region: b}, {op: flush}]", 64 << 10, 128 << 10, true},
		{"transaction: [{op: write, size: 4k, region: b}]\nbetween: [{op: write, size: 4k, region: a}]", 64 << 10, 128 << 10, true},
		{"transaction: [{op: write, size: 4k, region: b}]\nbetween: [{op: read, size: 4k, region: b}]", 64 << 10, 128 << 10, true},
		{"transaction: [{op: write, size: 4k, region: b}]\nbetween: [{op: write, size: 4k}]", 64 << 10, 128 << 10, false},
		{"transaction: [{op: read, size: 4k}]", 0, 0, true},
	} {
		p := profile(t, head+c.steps+"\n")
		if off, end, exclusive := p.Footprint(1 << 20); off != c.off || end != c.end || exclusive != c.exclusive {
			t.Errorf("%s: got [%d, %d), exclusive %v", c.steps, off, end, exclusive)
		}
	}
}
