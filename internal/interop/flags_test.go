package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices/layer"
)

// export is what nbdinfo says of an export.
type export struct {
	Name        string `json:"export-name"`
	Description string `json:"description"`
	Size        uint64 `json:"export-size"`
	ReadOnly    bool   `json:"is_read_only"`
	Rotational  bool   `json:"is_rotational"`
	Flush       bool   `json:"can_flush"`
	FUA         bool   `json:"can_fua"`
	Trim        bool   `json:"can_trim"`
	Zero        bool   `json:"can_zero"`
	FastZero    bool   `json:"can_fast_zero"`
	Cache       bool   `json:"can_cache"`
	DF          bool   `json:"can_df"`
	MultiConn   bool   `json:"can_multi_conn"`
	Minimum     uint32 `json:"block_size_minimum"`
	Preferred   uint32 `json:"block_size_preferred"`
	Maximum     uint32 `json:"block_size_maximum"`
}

func nbdinfo(t *testing.T, uri string) export {
	t.Helper()
	text := must(t, "", "nbdinfo", "--json", uri)
	var doc struct {
		Protocol string
		Exports  []export
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Exports) != 1 || doc.Protocol != "newstyle-fixed" {
		t.Fatalf("expected one export by the fixed newstyle protocol, got %v in\n%s", err, text)
	}
	return doc.Exports[0]
}

// nvme is what the profile nvme-990pro advertises by itself.
var nvme = export{
	Size: 2e12, Flush: true, FUA: true, Trim: true, Zero: true, FastZero: true, Cache: true, DF: true, MultiConn: true,
	Minimum: 1, Preferred: 4096, Maximum: 32 << 20,
}

// with returns x changed by f.
func (x export) with(f func(*export)) export {
	f(&x)
	return x
}

func noFUA(x *export) { x.FUA = false }

// readOnly is nbdkit's decision for an export that cannot be written: FUA, TRIM
// and WRITE_ZEROES go, FLUSH stays.
func readOnly(x *export) {
	x.ReadOnly, x.FUA, x.Trim, x.Zero, x.FastZero = true, false, false, false, false
}

func TestEachStrategyAdvertisesItsFlags(t *testing.T) {
	need(t, "nbdinfo")
	want := map[string]export{
		"native": nvme, "emulate": nvme, "emulate-grouped": nvme,
		"none": nvme.with(noFUA), "none-grouped": nvme.with(noFUA), "none-unsafe": nvme.with(noFUA),
		"force": nvme, "discard": nvme, "pass": nvme,
	}
	for _, strategy := range layer.Names() {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			want, ok := want[strategy]
			if !ok {
				t.Fatal("expected the flags of each strategy to be in the table")
			}
			want.Description = "nvme-990pro, " + strategy
			checkFlags(t, want, "nvme-990pro", "--strategy", strategy)
		})
	}
}

// checkFlags serves with these arguments and compares what nbdinfo reports.
func checkFlags(t *testing.T, want export, args ...string) {
	t.Helper()
	s := serve(t, args...)
	if got := nbdinfo(t, s.uri); got != want {
		t.Errorf("serve %s: got\n%+v, expected\n%+v", strings.Join(args, " "), got, want)
	}
}

// disk is what the profile hdd-7200 advertises: it has no TRIM.
var disk = nvme.with(func(x *export) { x.Trim, x.FastZero, x.Rotational = false, false, true })

func TestProfilesAndOverridesAdvertiseTheirFlags(t *testing.T) {
	need(t, "nbdinfo")
	const nvmePass = "nvme-990pro, pass"
	flags := func(flush, fua bool) export {
		return nvme.with(func(x *export) { x.Description, x.Flush, x.FUA = nvmePass, flush, fua })
	}
	described := func(x export, d string) export { return x.with(func(x *export) { x.Description = d }) }
	plain := hddWithout(t, "flush: true, fua: none, write_zeroes: true, rotational: true")
	for name, c := range map[string]struct {
		args string
		want export
	}{
		"advertise fua only":   {"nvme-990pro --advertise fua", flags(false, true)},
		"advertise flush only": {"nvme-990pro --advertise flush", flags(true, false)},
		"advertise neither":    {"nvme-990pro --advertise=", flags(false, false)},
		"advertise both":       {"nvme-990pro --advertise flush,fua", flags(true, true)},
		"none, advertising fua": {
			"nvme-990pro --strategy none --advertise flush,fua", described(nvme, "nvme-990pro, none"),
		},
		"read-only":           {"nvme-990pro --read-only", described(nvme.with(readOnly), nvmePass)},
		"read-only, emulated": {"nvme-990pro --read-only --strategy emulate", described(nvme.with(readOnly), "nvme-990pro, emulate")},
		"read-only, advertising fua": {
			"nvme-990pro --read-only --advertise flush,fua", described(nvme.with(readOnly), nvmePass),
		},
		"read-only, without flush": {
			"nvme-990pro --read-only --advertise fua",
			flags(false, true).with(readOnly),
		},
		"rotational":      {"hdd-7200", described(disk, "hdd-7200, pass")},
		"disk, no fua":    {plain, described(disk.with(noFUA), plain+", pass")},
		"disk, emulated":  {plain + " --strategy emulate", described(disk, plain+", emulate")},
		"a size of ours":  {"nvme-990pro --size 1GiB", flags(true, true).with(func(x *export) { x.Size = 1 << 30 })},
		"an export's own": {"nvme-990pro --listen nbd://127.0.0.1:0/disk", flags(true, true).with(func(x *export) { x.Name = "disk" })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkFlags(t, c.want, strings.Fields(c.args)...)
		})
	}
}

// hddWithout writes a profile of a disk that advertises only this.
func hddWithout(t *testing.T, advertise string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.yaml")
	text := "extends: hdd-7200\nname: old-disk\nadvertise: {" + advertise + "}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServeRefusesWhatTheDeviceCannotDo(t *testing.T) {
	noFUA, neither := hddWithout(t, "flush: true, fua: none"), hddWithout(t, "flush: false, fua: none")
	for _, c := range []struct{ device, strategy, message string }{
		{noFUA, "native", "native on old-disk: device has no FUA"},
		{noFUA, "force", "force on old-disk: device has no FUA"},
		{neither, "native", "native on old-disk: device has no FUA"},
		{neither, "emulate", "emulate on old-disk: device has no FLUSH"},
		{neither, "none", "none on old-disk: device has no FLUSH"},
		{"hdd-7200", "emulated", `--strategy: expected one of [native emulate emulate-grouped none none-grouped none-unsafe force discard pass], got "emulated"`},
		{"floppy", "native", `unknown device "floppy"`},
	} {
		r := run(t, "", "nbdbench", "serve", c.device, "--strategy", c.strategy)
		if r.code != 2 || !strings.Contains(r.stderr, c.message) || r.stdout != "" {
			t.Errorf("expected exit code 2, %q and no URI: %v", c.message, r)
		}
	}
	r := run(t, "", "nbdbench", "serve", "ram", "--listen", "nbds://127.0.0.1:0")
	if r.code != 2 || !strings.Contains(r.stderr, "TLS") {
		t.Errorf("expected exit code 2 and a word on TLS: %v", r)
	}
}

func TestDoctorNamesThePeersOfTheseTests(t *testing.T) {
	out := run(t, "", "nbdbench", "doctor").stdout // which fails where the kernel has no nbd
	for _, p := range programs {
		if p.name == libnbd || p.name == "nbd-server" {
			continue // a module, and a target only
		}
		if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool { return strings.HasPrefix(line, p.name+" ") }) {
			t.Errorf("expected a line on %s in\n%s", p.name, out)
		}
	}
}
