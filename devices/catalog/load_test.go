package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices/catalog"
	"nbdbench/internal/conf"
)

// file writes a profile into dir and returns its path.
func file(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// whole is a profile with every key; each line can be replaced.
const whole = `name: mine
kind: ssd
size: 1GiB
logical_block: 512
atomic_unit: 4KiB
advertise: {flush: true, fua: native}
cache: {mode: volatile, capacity: 1MiB, high_water: 512KiB, low_water: 256KiB}
ssd: {flush_base: 1ms, servers: 2}
`

func TestAnErrorNamesFileLineAndColumn(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "kind: ssd", "kind: ssd\ncolour: red", `:3:1: unknown key "colour"`},
		{"unknown key within", "servers: 2", "server: 2", `:8:24: unknown key "server"`},
		{"no number", "servers: 2", "servers: two", ":8:33: ssd.servers: expected a whole number"},
		{"no size", "size: 1GiB", "size: big", ":3:7: size: "},
		{"no duration", "1ms", "1", ":8:19: ssd.flush_base: "},
		{"no name", "name: mine", `name: ""`, ":1:7: name: expected a name"},
		{"size too small", "1GiB", "4KiB", ":3:7: size: expected a multiple of 512, the logical block, from 1MiB"},
		{"size not whole", "1GiB", "1048577", ":3:7: size: expected a multiple of 512"},
		{"block", "logical_block: 512", "logical_block: 1KiB", ":4:16: logical_block: expected 512 or 4KiB"},
		{"unit", "atomic_unit: 4KiB", "atomic_unit: 3KiB", ":5:14: atomic_unit: expected a power of two"},
		{"fua", "fua: native", "fua: emulate", `:6:31: advertise.fua: expected native or none, got "emulate"`},
		{"cache mode", "mode: volatile", "mode: wet", ":7:15: cache.mode: expected volatile, protected or none"},
		{"cache too small", "capacity: 1MiB", "capacity: 4KiB", ":7:35: cache.capacity: expected at least 64KiB"},
		{"mark above the capacity", "high_water: 512KiB", "high_water: 2MiB", ":7:53: cache.high_water: "},
		{"marks crossed", "low_water: 256KiB", "low_water: 1MiB", ":7:72: cache.low_water: "},
		{"kind", "kind: ssd", "kind: tape", ":2:7: kind: expected ssd, hdd, cloud, raid, empirical, ram, mirror, stripe, raid5 or log"},
		{"no section", "kind: ssd", "kind: hdd", `:2:7: kind: expected a section "hdd"`},
		{"model", "servers: 2", "servers: 9999", ":8:1: ssd: servers is 9999, want 0 to 1024"},
		{"more FLUSHes at once than units", "servers: 2", "servers: 2, flush: {servers: 3}", ":8:1: ssd: flush.servers is 3, want at most the servers, 2"},
		{"no refill", "servers: 2", "flush: {reserve: 9, exhausted: 2ms}", ":8:1: ssd: flush.exhausted is 2ms and flush.refill 0s"},
		{"a key of the shape", "servers: 2", "flush: {speed: 9}", `:8:32: unknown key "speed"`},
		{"FLUSH", "servers: 2", "flush_mode: serial", ":8:36: ssd.flush_mode: expected shared or separate"},
		{"a batch without programs", "servers: 2", "fua_batch: 16", ":8:1: ssd: fua_batch or fua_hold_off is given without fua_programs"},
		{"a lie without a cache", "cache: {mode: volatile", "lies: {flush: true}\ncache: {mode: protected", ":7:1: lies: expected none but of an ssd or hdd with a volatile cache"},
		{"no capacitors to fail", "cache: {mode: volatile", "lies: {capacitor: true}\ncache: {mode: volatile", ":7:19: lies.capacitor: expected false but of an ssd or hdd with a protected cache"},
		{"nothing for capacitors to save", "cache: {mode: volatile, capacity: 1MiB", "lies: {capacitor: true}\ncache: {mode: protected, capacity: 4KiB", ":8:36: cache.capacity: expected at least 64KiB that the capacitors do not save, got 4KiB"},
		{"a lie that is not offered", "fua: native", "fua: none}\nlies: {fua: true", ":7:13: lies.fua: expected false, as FUA is not advertised"},
		{"twice", "kind: ssd", "kind: ssd\nkind: ram", ":3:1: expected each key once"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(whole, c.old) {
				t.Fatalf("%q is not in the profile", c.old)
			}
			path := file(t, t.TempDir(), "mine.yaml", strings.Replace(whole, c.old, c.new, 1))
			_, err := catalog.Load(path)
			var e *conf.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, which is no *conf.Error", err)
			}
			if !strings.HasPrefix(err.Error(), path+c.want) {
				t.Errorf("got  %v\nwant %s", err, path+c.want)
			}
		})
	}
}

func TestAWholeProfileLoads(t *testing.T) {
	p, err := catalog.Load(file(t, t.TempDir(), "mine.yaml", whole))
	if err != nil || p.Name != "mine" || p.SSD.Servers != 2 {
		t.Errorf("%+v: %v", p, err)
	}
}

func TestAnUnknownNameListsTheKnownOnes(t *testing.T) {
	_, err := catalog.Load("nvme-991pro")
	if !errors.Is(err, catalog.ErrUnknown) || !strings.Contains(err.Error(), "nvme-990pro") {
		t.Errorf("got %v", err)
	}
}

func TestAMissingFileIsAnErrorOfThatFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, err := catalog.Load(path)
	var e *conf.Error
	if !errors.As(err, &e) || e.File != path {
		t.Errorf("got %v", err)
	}
}

// TestServersAloneAreThoseOfFUAWrites: programs that a profile inherits do not count,
// and how FLUSHes are served is not affected.
func TestServersAloneAreThoseOfFUAWrites(t *testing.T) {
	for _, c := range []struct {
		ssd      string
		mode     string
		programs int
	}{
		{"{fua_base: 1ms}", "separate", 3},
		{"{servers: 2}", "separate", 0},
		{"{servers: 2, fua_programs: 5}", "separate", 5},
		{"{servers: 2, flush_mode: shared}", "shared", 3},
	} {
		p, err := catalog.Load(file(t, t.TempDir(), "a.yaml", "extends: nvme-990pro\nname: a\nssd: "+c.ssd+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if p.SSD.FlushMode != c.mode || p.SSD.FUAPrograms != c.programs {
			t.Errorf("%s: flush_mode %q and fua_programs %d, want %q and %d", c.ssd, p.SSD.FlushMode, p.SSD.FUAPrograms, c.mode, c.programs)
		}
	}
}

func TestAProfileExtendsAnEmbeddedOne(t *testing.T) {
	p, err := catalog.Load(file(t, t.TempDir(), "a.yaml", "extends: nvme-990pro\nname: a\nssd: {servers: 2}\nsources: {ssd.servers: a guess}\n"))
	if err != nil {
		t.Fatal(err)
	}
	parent, err := catalog.Load("nvme-990pro")
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "a" || p.SSD.Servers != 2 || p.SSD.FUABase != parent.SSD.FUABase || p.Cache != parent.Cache {
		t.Errorf("got %+v, %+v", p, p.SSD)
	}
	if p.Sources["ssd.servers"] != "a guess" || p.Sources["ssd.fua_base"] != parent.Sources["ssd.fua_base"] {
		t.Errorf("sources %v", p.Sources)
	}
	if parent.SSD.Servers != 1 {
		t.Error("the child has changed its parent")
	}
}

func TestAProfileExtendsAFileBesideIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	file(t, dir, "base.yaml", whole)
	file(t, dir, "sub/mid.yaml", "extends: ../base.yaml\nname: mid\nsize: 2GiB\n")
	p, err := catalog.Load(file(t, dir, "top.yaml", "extends: sub/mid.yaml\nname: top\n"))
	if err != nil || p.Name != "top" || p.Size != 2<<30 || p.SSD.Servers != 2 {
		t.Errorf("%+v: %v", p, err)
	}
}

func TestABadParentNamesBothFiles(t *testing.T) {
	dir := t.TempDir()
	base := file(t, dir, "base.yaml", whole+"colour: red\n")
	top := file(t, dir, "top.yaml", "name: top\nextends: base.yaml\n")
	_, err := catalog.Load(top)
	if err == nil || !strings.Contains(err.Error(), base+":9:1:") || !strings.Contains(err.Error(), top+":2:10:") {
		t.Errorf("got %v", err)
	}
	_, err = catalog.Load(file(t, dir, "lost.yaml", "name: lost\nextends: nowhere\n"))
	if !errors.Is(err, catalog.ErrUnknown) || !strings.Contains(err.Error(), "lost.yaml:2:10:") {
		t.Errorf("got %v", err)
	}
}

func TestACycleOfProfilesEnds(t *testing.T) {
	dir := t.TempDir()
	self := file(t, dir, "self.yaml", "extends: self.yaml\n")
	file(t, dir, "b.yaml", "extends: a.yaml\n")
	for _, path := range []string{self, file(t, dir, "a.yaml", "extends: b.yaml\n")} {
		_, err := catalog.Load(path)
		var e *conf.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "expected a chain of at most 8 profiles") {
			t.Errorf("got %v", err)
		}
	}
}

func TestDescribePrintsWhatADeviceDoesAndItsSources(t *testing.T) {
	for name, facts := range map[string][]string{
		"nvme-990pro": {
			"nvme-990pro: Samsung 990 Pro 2 TB, ", "advertises   FLUSH, FUA, TRIM, WRITE_ZEROES\n",
			"write cache  volatile, 64MiB; destages from 32MiB down to 16MiB, and after 5ms without work\n",
			"on FLUSH     1.6ms and 200µs for each 1MiB beyond the first that was dirty when it started; 20µs if nothing was;\n             each takes its whole time, one after another\n",
			"on FUA       3.98ms on top of the write; other dirty data stays in the cache;\n             a program takes the writes that wait, up to 16; programs at once: 3\n",
			"power loss   what was acknowledged and neither flushed, destaged nor written with FUA is lost\n",
			"blocks       logical 512, survives a power cut whole: 4KiB\n", "confidence   high\n",
			"ssd.fua_base", "3.98ms", "pg_test_fsync",
		},
		"nvme-pm963": {
			"write cache  protected, 64MiB; full, it takes 1.2GB/s in sequence and, of a drive that was written over once, 286MB/s at random\n", "on FLUSH     5µs: nothing is at risk\n",
			"on FUA       as any write: acknowledged is durable\n", "power loss   keeps all that was acknowledged\n",
		},
		"hdd-7200": {
			"advertises   FLUSH, FUA, WRITE_ZEROES, rotational\n", "the nearest first; 100µs if nothing was\n",
			"on FUA       seek, settle, wait for the sector, write; other dirty data stays in the cache\n", "hdd.rpm",
		},
		"ram": {"on FLUSH     nothing to do\n", "write cache  none\n", "power loss   keeps all that was acknowledged\n"},
	} {
		p, err := catalog.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		text := p.Describe()
		for _, want := range facts {
			if !strings.Contains(text, want) {
				t.Errorf("%s: expected %q in\n%s", name, want, text)
			}
		}
		for path := range p.Sources {
			if !strings.Contains(text, "\n  "+path+" ") {
				t.Errorf("%s: %s is not listed", name, path)
			}
		}
	}
}
