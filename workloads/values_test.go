package workloads

import (
	"reflect"
	"strings"
	"testing"

	"nbdbench/internal/units"
)

func TestAParameterHasAnotherValueInAnotherProfile(t *testing.T) {
	for _, c := range []struct {
		name, path, value string
		want              any
	}{
		{"sync-4k", "transaction[0].size", "8k", 8 * units.KiB},
		{"sync-4k", "queue_depth", "7", uint32(7)},
		{"innodb", "streams[0].queue_depth", "16", uint32(16)},
		{"innodb", "logs.redo.delay", "1ms", units.Duration(1e6)},
		{"wal-noisy", "regions[0].at_most", "64MiB", 64 * units.MiB},
	} {
		p, err := Get(c.name)
		if err != nil {
			t.Fatal(err)
		}
		q, err := p.WithValue(c.path, c.value)
		if err != nil {
			t.Errorf("%s, %s: %v", c.name, c.path, err)
			continue
		}
		if v, err := q.Value(c.path); err != nil || v != c.want {
			t.Errorf("%s, %s: got %v, want %v: %v", c.name, c.path, v, c.want, err)
		}
		if again, err := Get(c.name); err != nil || !reflect.DeepEqual(p, again) {
			t.Errorf("%s, %s: the profile itself changed", c.name, c.path)
		}
	}
}

func TestWhatIsNoParameterIsNotVaried(t *testing.T) {
	p, err := Get("sync-4k")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"name": "expected a parameter", "source": "expected a parameter", "per_commit.flushes": "expected a parameter", "invariant": "expected a parameter",
		"transaction[1].size": "expected one of 1 entries", "streams[0].rate": "expected one of 0 entries", "size": `unknown key "size"`, "logs.wal.delay": `got "wal"`,
	} {
		if _, err := p.WithValue(path, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := p.WithValue("transaction[0].size", "64GB"); err == nil || !strings.Contains(err.Error(), "transaction[0].size: expected") {
		t.Errorf("a size that is too large: %v", err)
	}
}
