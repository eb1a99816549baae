package text

import "testing"

func TestNearestIsTheLeastChange(t *testing.T) {
	words := []string{"nvme-990pro", "nvme-970pro", "hdd-7200", "hdd-7200-wt", "ram", "native", "none", "emulate"}
	for s, want := range map[string]string{
		"nvme990pro": "nvme-990pro", "hdd7200": "hdd-7200", "nativ": "native", "non": "none", "rma": "ram", "mra": "", "ramm": "ram",
		"x": "", "": "", "emulation": "", "emluate": "emulate", "hdd-7200": "hdd-7200",
	} {
		if got := Nearest(s, words); got != want {
			t.Errorf("%q: got %q, expected %q", s, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"kitten", "sitting", 3}, {"", "abc", 3}, {"abc", "abc", 0}, {"flaw", "lawn", 2}, {"device", "devcie", 1}, {"ab", "ba", 1}} {
		if got := distance(c.a, c.b, 10); got != c.want {
			t.Errorf("%s to %s: got %d, expected %d", c.a, c.b, got, c.want)
		}
	}
}
