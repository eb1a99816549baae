package catalog

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/internal/conf"
)

func profile(t *testing.T, name string) *Profile {
	t.Helper()
	p, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rowsOf(t *testing.T, p *Profile) []Row {
	t.Helper()
	rows, err := p.Rows()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestPublishedFiguresAreWholeAndAllOfThemHaveADevice(t *testing.T) {
	all, err := Published()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range List() {
		for _, r := range rowsOf(t, profile(t, name)) {
			n++
			if r.Device != name || r.Confidence == "" || len(r.Source) < 15 {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	if n != len(all) || n < 60 {
		t.Errorf("%d rows by device, %d in all", n, len(all))
	}
}

func TestTheKindOfARowFollowsFromRowAndProfile(t *testing.T) {
	for _, c := range []struct {
		device, row string
		kind        RowKind
		sets        string
	}{
		{"nvme-990pro", "990pro-fua", Fitted, "ssd.fua_base"},
		{"nvme-990pro", "990pro-fsync", Predicted, ""},
		{"nvme-970pro", "970pro-2", Fitted, "ssd.servers"},
		{"nvme-970pro", "970pro-4", Predicted, ""},
		{"nvme-970pro", "970pro-read", Derived, ""},
		{"nvme-pm963", "pm963-16", Fitted, "ssd.serial_per_4k"},
		{"nvme-pm963", "pm963-law-16", Derived, ""},
		{"hdd-7200", "hdd-7200-sequential", Predicted, ""},
		{"ebs-gp3", "ebs-gp3-rate", Fitted, "host"},
		{"ebs-gp3-6000", "ebs-gp3-6000-rate", Predicted, ""},
		{"sata-pm863a", "pm863a-9", Predicted, ""},
		{"ssd-mqsim", "mqsim-write-16", Derived, ""},
		{"hdd-7200", "hdd-7200-flush-32", Derived, ""},
	} {
		p := profile(t, c.device)
		rows := rowsOf(t, p)
		i := slices.IndexFunc(rows, func(r Row) bool { return r.ID == c.row })
		if i < 0 {
			t.Errorf("no row %s", c.row)
			continue
		}
		if kind, sets := p.KindOf(&rows[i]); kind != c.kind || strings.Join(sets, " ") != c.sets {
			t.Errorf("%s is %s and sets %v, want %s and %q", c.row, kind, sets, c.kind, c.sets)
		}
	}
}

func TestNoProfileHasMoreFittedRowsThanParametersThatWereFitted(t *testing.T) {
	fitted := 0
	for _, name := range List() {
		p := profile(t, name)
		rows, n := rowsOf(t, p), 0
		for i := range rows {
			if kind, sets := p.KindOf(&rows[i]); kind == Fitted {
				fitted += len(sets)
				if !slices.Equal(sets, []string{"host"}) { // which is no parameter of the device
					n++
				}
			}
		}
		if n > len(p.Fitted) {
			t.Errorf("%s: %d fitted rows by %d parameters", name, n, len(p.Fitted))
		}
		if free := len(p.values()) - 3; n > free { // but size and block sizes
			t.Errorf("%s: %d fitted rows, %d parameters", name, n, free)
		}
	}
	if fitted < 15 {
		t.Errorf("only %d parameters are fitted", fitted)
	}
}

// A parameter that was set by a row is no estimate, and says where it is from.
func TestAFittedParametersSourceIsNoEstimate(t *testing.T) {
	for _, name := range List() {
		p := profile(t, name)
		for path := range p.Fitted {
			if strings.HasPrefix(p.Sources[path], "estimate") {
				t.Errorf("%s: %s is fitted to %s, its source is %q", name, path, p.Fitted[path], p.Sources[path])
			}
		}
	}
}

func TestTheTwoStageLawInTheFileIsThatOfTheProfiles(t *testing.T) {
	laws := 0
	for _, name := range List() {
		p := profile(t, name)
		for _, r := range rowsOf(t, p) {
			if !strings.Contains(r.ID, "-law-") {
				continue
			}
			laws++
			s := float64(p.SSD.Serial + p.SSD.SerialPer4K)
			if p.SSD.Bandwidth > 0 {
				s += 4096 / float64(p.SSD.Bandwidth) * 1e9
			}
			n, both := float64(max(r.Jobs, 1)), s+float64(p.SSD.Parallel)
			want := min(n/both, 1/s) * 1e9
			if p.Advertise.FUA == "none" { // a FLUSH waits for the writes of all jobs, and is for all
				want = n / (n*s + float64(p.SSD.Parallel+p.SSD.FlushClean)) * 1e9
			}
			if math.Abs(r.Value/want-1) > 0.002 {
				t.Errorf("%s: %g, by the profile's parameters %.0f", r.ID, r.Value, want)
			}
		}
	}
	if laws != 4*6 {
		t.Errorf("%d rows of the law, want six on each of four protected drives", laws)
	}
}

func TestAHostsTimeIsThatOfAPublishedFigure(t *testing.T) {
	const text = "extends: nvme-pm963\nname: own\npublished:\n  - {id: a, op: read, value: 1, unit: ops/s, tolerance: 0.1, source: x, host: 1us, host_source: y, host_from: %s}\n"
	for from, ok := range map[string]bool{"a": true, "ebs-gp3-rate": true, "nothing": false} {
		if _, err := own(t, fmt.Sprintf(text, from)); (err == nil) != ok {
			t.Errorf("host_from %s: %v", from, err)
		}
	}
}

// publishedText is a whole file; each part can be replaced.
const publishedText = `sources: {a: somewhere}
rows:
  - {id: one, device: ram, op: read, value: 5, unit: us, tolerance: 0.1, source: a}
  - {id: two, device: ram, op: sync_4k, jobs: 2, value: 5, unit: us, tolerance: 0.1, source: a}
`

func TestAnErrorInPublishedFiguresNamesFileLineAndColumn(t *testing.T) {
	if _, err := parsePublished("p", []byte(publishedText)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "jobs: 2", "job: 2", `p:4:41: unknown key "job"`},
		{"kind cannot be chosen", "jobs: 2", "kind: predicted", `p:4:41: unknown key "kind"`},
		{"unknown device", "two, device: ram", "two, device: rom", "p:4:23: rows[1].device: expected one of"},
		{"unknown op", "op: read", "op: reed", "p:3:32: rows[0].op: expected one of read,"},
		{"unknown source", "0.1, source: a}\n  - {id: two", "0.1, source: b}\n  - {id: two", `rows[0].source: expected a key of sources, got "b"`},
		{"no value", "value: 5, unit: us, tolerance: 0.1, source: a}\n  -", "unit: us, tolerance: 0.1, source: a}\n  -", "rows[0].value: expected more than 0"},
		{"unknown unit", "unit: us, tolerance: 0.1, source: a}\n  -", "unit: s, tolerance: 0.1, source: a}\n  -", "rows[0].unit: expected us, ms, ops/s or MB/s"},
		{"no tolerance", "tolerance: 0.1, source: a}\n  -", "tolerance: 1, source: a}\n  -", "rows[0].tolerance: expected more than 0 and less than 1"},
		{"the same id", "id: two", "id: one", "p:4:10: rows[1].id: expected an id of its own"},
		{"no id", "id: two", `id: ""`, "p:4:10: rows[1].id: expected an id"},
		{"too many jobs", "jobs: 2", "jobs: 2000", "p:4:47: rows[1].jobs: expected 1 to 1024"},
		{"another size", "jobs: 2", "size: 8k", "p:4:47: rows[1].size: expected 4KiB with sync_4k"},
		{"no multiple", "op: read", "op: read, size: 100", "rows[0].size: expected a multiple of 512"},
		{"unknown pattern", "jobs: 2", "pattern: zipf", "p:4:50: rows[1].pattern: expected sequential or random"},
		{"a workload with a size", "op: read", "op: fsync_ext4, size: 4k", "rows[0].op: expected no size, no pattern and no from with fsync_ext4"},
		{"host without source", "jobs: 2", "host: 1ms", "rows[1].host_source: expected where the time of the host is from"},
		{"a host's source alone", "jobs: 2", "host_source: x", "rows[1].host_source: expected where the time of the host is from, and only with host"},
		{"host of a latency", "jobs: 2", "host: 1ms, host_source: x", "p:4:47: rows[1].host: expected none with the unit us"},
		{"host for ever", "jobs: 2", "host: 2s, host_source: x", "rows[1].host: expected 0 to 1s, got 2s"},
		{"host from without host", "jobs: 2", "host_from: one", "rows[1].host_from: expected nothing without host"},
		{"behind the end", "op: read", "op: read, from: 100", "rows[0].from: expected 0 up to 100, got 100"},
		{"confidence", "jobs: 2", "confidence: total", "rows[1].confidence: expected high, medium or low"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(publishedText, c.old) {
				t.Fatalf("%q is not in the file", c.old)
			}
			_, err := parsePublished("p", []byte(strings.Replace(publishedText, c.old, c.new, 1)))
			var e *conf.Error
			if !errors.As(err, &e) || e.Line == 0 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// own writes a profile that extends another, and loads it.
func own(t *testing.T, text string) (*Profile, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path)
}

func TestWhatAProfileCallsFittedMustBeSo(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no such row", "fitted: {ssd.fua_base: nothing}", `own.yaml:3:24: fitted.ssd.fua_base: expected the id of a published figure of own, got "nothing"`},
		{"another device's row", "fitted: {ssd.fua_base: 990pro-fua}", `expected the id of a published figure of own, got "990pro-fua"`},
		{"no such parameter", "fitted: {ssd.speed: a}", "own.yaml:3:21: fitted.ssd.speed: expected a parameter that has a value"},
		{"a formula", "fitted: {ssd.servers: b}", `own.yaml:3:23: fitted.ssd.servers: expected a measurement, got "b"`},
		{"a wrong row", "{rows}", "own.yaml:4:17: published[0].op: expected one of"},
		{"another's device", "{device}", `own.yaml:4:21: published[0].device: expected own or nothing, got "ram"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := "published:\n  - {id: a, op: read, value: 1, unit: us, tolerance: 0.1, source: x}\n  - {id: b, op: read, value: 1, unit: us, tolerance: 0.1, source: x, formula: y}\n"
			text := c.text + "\n" + rows
			switch c.text {
			case "{rows}":
				text = strings.Replace(rows, "read", "eat", 1)
			case "{device}":
				text = strings.Replace(rows, "id: a,", "id: a, device: ram,", 1)
			}
			_, err := own(t, "extends: nvme-990pro\nname: own\n"+text)
			var e *conf.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAFigureOfFUANeedsADeviceWithFUA(t *testing.T) {
	_, err := own(t, "extends: nvme-990pro\nname: nvme-990pro\nadvertise: {fua: none}\n")
	if err == nil || !strings.Contains(err.Error(), "own.yaml:3:18: advertise.fua: expected native, as row 990pro-fua measures write_fua") {
		t.Errorf("got %v", err)
	}
}

func TestAnIDIsNotUsedTwiceForOneDevice(t *testing.T) {
	_, err := own(t, "extends: nvme-980\nname: nvme-980\npublished:\n  - {id: 980-write, op: read, value: 1, unit: us, tolerance: 0.1, source: x}\n")
	if err == nil || !strings.Contains(err.Error(), `own.yaml:3:1: published: expected ids of their own, got "980-write"`) {
		t.Errorf("got %v", err)
	}
}

func TestWhatWasMeasuredOnAParentIsNotKnownOfAChildWithAnotherName(t *testing.T) {
	const row = "published:\n  - {id: mine, op: read, value: 1, unit: us, tolerance: 0.1, source: x}\n"
	p, err := own(t, "extends: nvme-990pro\nname: other\n"+row)
	if err != nil {
		t.Fatal(err)
	}
	if rows := rowsOf(t, p); len(p.Fitted) != 0 || len(rows) != 1 || rows[0].ID != "mine" || rows[0].Device != "other" || rows[0].Confidence != "high" {
		t.Errorf("fitted %v, rows %+v", p.Fitted, rows)
	}
	p, err = own(t, "extends: nvme-990pro\nname: nvme-990pro\nssd: {fua_base: 1ms}\n"+row)
	if err != nil {
		t.Fatal(err)
	}
	if rows := rowsOf(t, p); len(rows) != 9 || fmt.Sprint(p.Fitted) != "map[ssd.flush_base:990pro-write-flush]" {
		t.Errorf("fitted %v, %d rows", p.Fitted, len(rows))
	}
}

func TestASourceGoesWithItsParameter(t *testing.T) {
	p := profile(t, "hdd-7200-wt")
	if p.Sources["cache.capacity"] != "" || p.Sources["hdd.rpm"] == "" {
		t.Errorf("sources %v", p.Sources)
	}
}

func TestDescribePrintsDevicesWithoutACacheAndWhatWasFitted(t *testing.T) {
	for name, facts := range map[string][]string{
		"hdd-7200-wt":   {"on FLUSH     100µs: nothing is at risk\n", "on FUA       as any write: acknowledged is durable\n"},
		"nvme-p4800x":   {"on FLUSH     1µs: nothing is at risk\n", "on FUA       as any write: acknowledged is durable\n"},
		"hdd-7200-sata": {"on FUA       not supported: write, then flush\n"},
		"nvme-970pro":   {"\n  ssd.servers: sync_4k, 2 jobs: 840 ops/s (970pro-2)\n", "a read takes 29.76µs or 41.76µs, a program of 32KiB 185µs"},
		"nvme-990pro":   {"\n  ssd.fua_base: write_fua, 8KiB: 4007 us (990pro-fua)\n"},
		"nvme-980": {
			"\n  ssd.parallel: write, random: 16.4 us (980-write)\n",
			"on FLUSH     a program of 200µs for each 32KiB of all that was dirty when it started, the last one padded,\n             then 200µs of mapping, 1.286ms of firmware; 20µs if nothing was dirty;\n             each takes its whole time, one after another\n",
			"on FUA       a program of 200µs for each 32KiB of its own data, padded,\n             then 200µs of mapping, 1.286ms of firmware; other dirty data stays in the cache\n",
			"dies         16 on 4 channels of 1.2GB/s; a read takes 45µs, a program of 96KiB 1.2ms, an erase 3.5ms\n",
			"             pSLC for 160GB: a read takes 25µs, a program of 32KiB 200µs; a full one is folded as the host writes\n",
			"             7% more room than the drive has, besides; it begins filled once in order\n",
		},
		"ssd-mqsim": {
			"on FLUSH     a program of 750µs for each 8KiB of all that was dirty when it started, the last one padded;\n             0s if nothing was dirty\n",
			"dies         32 on 8 channels of 333MB/s; a read takes 75µs, a program of 8KiB 750µs, an erase 3.8ms\n",
		},
		"ebs-gp3": {"\n  host: fdatasync_etcd, 205µs of host: 1105 ops/s (ebs-gp3-rate)\n"},
	} {
		text := profile(t, name).Describe()
		for _, want := range facts {
			if !strings.Contains(text, want) {
				t.Errorf("%s: expected %q in\n%s", name, want, text)
			}
		}
	}
}

func TestProfilesAreListedInTheOrderOfTheirNames(t *testing.T) {
	if names := List(); !slices.IsSorted(names) {
		t.Errorf("got %v", names)
	}
}
