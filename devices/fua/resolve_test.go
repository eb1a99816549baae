package fua

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
)

// summary is one cell of the tables: what is advertised, a FUA write, a FUA
// trim, a client's flush.
func summary(r Resolution) string {
	bit := map[bool]int{true: 1}
	return fmt.Sprintf("FL%d FUA%d %v %v %v", bit[r.Flush], bit[r.FUA], r.WriteFUA, r.TrimFUA, r.FlushAction)
}

// The rows of the table for a plugin without the filter. Each has a trim.
func TestResolvePluginRows(t *testing.T) {
	for _, test := range []struct {
		row      string
		backend  Backend
		readOnly bool
		want     string
	}{
		{"1", Backend{}, false, "FL0 FUA0 EINVAL EINVAL EINVAL"},
		{"2", Backend{Flush: true}, false, "FL1 FUA1 pwrite;flush trim;flush flush"},
		{"2 v1", Backend{API: 1, Flush: true}, false, "FL1 FUA1 pwrite;flush trim;flush flush"},
		{"3", Backend{Flush: true, CanFlush: No}, false, "FL0 FUA1 pwrite;flush trim;flush EINVAL"},
		{"4", Backend{CanFlush: Yes}, false, "FL1 FUA0 EINVAL EINVAL EINVAL"},
		{"5", Backend{Flush: true, CanFUA: No}, false, "FL1 FUA0 EINVAL EINVAL flush"},
		{"5 F=0", Backend{Flush: true, CanFlush: No, CanFUA: No}, false, "FL0 FUA0 EINVAL EINVAL EINVAL"},
		{"6", Backend{Flush: true, CanFUA: Emulate}, false, "FL1 FUA1 pwrite;flush trim;flush flush"},
		{"6 F=0", Backend{Flush: true, CanFlush: No, CanFUA: Emulate}, false, "FL0 FUA1 pwrite;flush trim;flush EINVAL"},
		{"7", Backend{CanFUA: Emulate}, false, "FL0 FUA1 pwrite;EINVAL trim;EINVAL EINVAL"},
		{"8", Backend{API: 2, Flush: true, CanFUA: Native}, false, "FL1 FUA1 pwrite(fua) trim(fua) flush"},
		{"8 no flush", Backend{API: 2, CanFUA: Native}, false, "FL0 FUA1 pwrite(fua) trim(fua) EINVAL"},
		{"9", Backend{API: 1, Flush: true, CanFUA: Native}, false, "FL1 FUA1 pwrite;flush trim;flush flush"},
		{"10", Backend{API: 1, CanFUA: Native}, false, "FL0 FUA1 pwrite;EINVAL trim;EINVAL EINVAL"},
		{"11", Backend{API: 2, Flush: true, CanFUA: Other}, false, "FL1 FUA1 pwrite;flush trim;flush flush"},
		{"12", Backend{Flush: true, CanFUA: Failed}, false, "can_fua failed"},
		{"12 flush", Backend{Flush: true, CanFlush: Failed}, false, "can_flush failed"},
		{"12 readonly, can_fua is not asked", Backend{Flush: true, CanFUA: Failed}, true, "FL1 FUA0 EPERM EPERM flush"},
		{"12 readonly, can_flush is", Backend{CanFlush: Failed}, true, "can_flush failed"},
		{"13", Backend{Flush: true, CanFUA: Native}, true, "FL1 FUA0 EPERM EPERM flush"},
		{"13 can_write=0", Backend{Flush: true, CanWrite: No, CanFUA: Native}, false, "FL1 FUA0 EPERM EPERM flush"},
		{"13 F=0", Backend{CanFUA: Native}, true, "FL0 FUA0 EPERM EPERM EINVAL"},
		{"can_write fails", Backend{CanWrite: Failed}, false, "can_write failed"},
	} {
		t.Run(test.row, func(t *testing.T) {
			test.backend.Trim = true
			r, err := Resolve(test.backend, ModeAbsent, test.readOnly)
			got := summary(r)
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// The columns of the filter's table: P is what the plugin resolves to, F
// whether it can flush.
var columns = []struct {
	name    string
	backend Backend
}{
	{"P=none F=0", Backend{CanFUA: No}},
	{"P=none F=1", Backend{Flush: true, CanFUA: No}},
	{"P=emulate F=1", Backend{Flush: true, CanFUA: Emulate}},
	{"P=emulate F=0", Backend{Flush: true, CanFlush: No, CanFUA: Emulate}},
	{"P=native F=1", Backend{API: 2, Flush: true, CanFUA: Native}},
	{"P=native F=0", Backend{API: 2, Flush: true, CanFlush: No, CanFUA: Native}},
}

// Each cell: advertised flush and fua, a write with FUA, a plain write, a
// client's flush.
func TestResolveFilterTable(t *testing.T) {
	for mode, want := range map[Mode][6]string{
		ModeNone: {
			"FL0 FUA0 EINVAL pwrite EINVAL", "FL1 FUA0 EINVAL pwrite flush", "FL1 FUA0 EINVAL pwrite flush",
			"FL0 FUA0 EINVAL pwrite EINVAL", "FL1 FUA0 EINVAL pwrite flush", "FL0 FUA0 EINVAL pwrite EINVAL",
		},
		ModeEmulate: {
			"refused", "FL1 FUA1 pwrite;flush pwrite flush", "FL1 FUA1 pwrite;flush pwrite flush", "refused", "FL1 FUA1 pwrite;flush pwrite flush", "refused",
		},
		ModeNative: {
			"refused", "refused", "FL1 FUA1 pwrite;flush pwrite flush", "FL0 FUA1 pwrite;flush pwrite EINVAL", "FL1 FUA1 pwrite(fua) pwrite flush", "FL0 FUA1 pwrite(fua) pwrite EINVAL",
		},
		ModeForce: {
			"refused", "refused", "FL1 FUA1 pwrite;flush pwrite;flush nop", "FL1 FUA1 pwrite;flush pwrite;flush nop", "FL1 FUA1 pwrite(fua) pwrite(fua) nop", "FL1 FUA1 pwrite(fua) pwrite(fua) nop",
		},
		ModePass: {
			"FL0 FUA0 EINVAL pwrite EINVAL", "FL1 FUA0 EINVAL pwrite flush", "FL1 FUA1 pwrite;flush pwrite flush",
			"FL0 FUA1 pwrite;flush pwrite EINVAL", "FL1 FUA1 pwrite(fua) pwrite flush", "FL0 FUA1 pwrite(fua) pwrite EINVAL",
		},
		ModeDiscard: {
			"FL1 FUA1 pwrite pwrite nop", "FL1 FUA1 pwrite pwrite nop", "FL1 FUA1 pwrite pwrite nop", "FL1 FUA1 pwrite pwrite nop", "FL1 FUA1 pwrite pwrite nop", "FL1 FUA1 pwrite pwrite nop",
		},
	} {
		for i, column := range columns {
			r, err := Resolve(column.backend, mode, false)
			got := "refused"
			if err == nil {
				bit := map[bool]int{true: 1}
				got = fmt.Sprintf("FL%d FUA%d %v %v %v", bit[r.Flush], bit[r.FUA], r.WriteFUA, r.Write, r.FlushAction)
			}
			if got != want[i] {
				t.Errorf("mode %d, %s: got %q, want %q", mode, column.name, got, want[i])
			}
		}
	}
}

func TestResolveFilterOnReadOnly(t *testing.T) {
	for mode := ModeNone; mode <= ModeDiscard; mode++ {
		for _, column := range columns {
			r, err := Resolve(column.backend, mode, true)
			plain, _ := Resolve(column.backend, ModeAbsent, true)
			wantFlush := plain.Flush || mode == ModeForce || mode == ModeDiscard
			if err != nil || r.FUA || r.Flush != wantFlush || r.WriteFUA.Errno != devices.EPERM {
				t.Errorf("mode %d, %s: %s, %v", mode, column.name, summary(r), err)
			}
		}
	}
}

func TestResolveWriteZeroesWithFUA(t *testing.T) {
	const three = 2*ZeroChunk + 1
	native := Backend{API: 2, Flush: true, Zero: true, CanFUA: Native}
	emulate := Backend{API: 2, Flush: true, Zero: true, CanFUA: Emulate}
	for _, test := range []struct {
		name   string
		b      Backend
		zero   Answer
		result devices.Errno
		fast   bool
		want   string
	}{
		{"native, zero works", native, Absent, devices.OK, false, "zero(fua)"},
		{"emulate, zero works", emulate, Absent, devices.OK, false, "zero;flush"},
		{"native, zero unsupported", native, Absent, devices.ENOTSUP, false, "pwrite(fua);pwrite(fua);pwrite(fua)"},
		{"emulate, zero unsupported", emulate, Absent, devices.ENOTSUP, false, "pwrite;pwrite;pwrite;flush"},
		{"native, zero fails", native, Absent, devices.EIO, false, "zero(fua);EIO"},
		{"emulate, zero fails: no flush", emulate, Absent, devices.EIO, false, "zero;EIO"},
		{"native, zero emulated", native, Emulate, devices.OK, false, "pwrite(fua);pwrite(fua);pwrite(fua)"},
		{"emulate, zero emulated", emulate, Emulate, devices.OK, false, "pwrite;pwrite;pwrite;flush"},
		{"fast, zero works", native, Absent, devices.OK, true, "zero(fua)"},
		{"fast, zero unsupported", native, Absent, devices.ENOTSUP, true, "ENOTSUP"},
		{"fast, zero emulated", emulate, Emulate, devices.OK, true, "ENOTSUP"},
		{"zero not advertised", native, No, devices.OK, false, "EINVAL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.b.CanZero = test.zero
			r, err := Resolve(test.b, ModeAbsent, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.WriteZeroesFUA(three, test.result, test.fast).String(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestResolveTrimAndZero(t *testing.T) {
	for _, test := range []struct {
		b          Backend
		readOnly   bool
		trim, zero bool
	}{
		{Backend{}, false, false, true},
		{Backend{Trim: true, Zero: true}, false, true, true},
		{Backend{Trim: true, Zero: true}, true, false, false},
		{Backend{Trim: true, CanTrim: No, CanZero: No}, false, false, false},
		{Backend{CanTrim: Yes, CanZero: Native}, false, true, true},
	} {
		r, err := Resolve(test.b, ModeAbsent, test.readOnly)
		if err != nil || r.Trim != test.trim || r.Zero != test.zero {
			t.Errorf("%+v: trim %v, zero %v, %v", test.b, r.Trim, r.Zero, err)
		}
	}
	if _, err := Resolve(Backend{CanTrim: Failed}, ModeAbsent, false); err == nil {
		t.Error("a failed can_trim was let through")
	}
}

// nbdkit refuses "none" although its manual lists it.
func TestExplicitModeNoneIsTaken(t *testing.T) {
	var modes []Mode
	for _, s := range strings.Fields("none emulate native force pass discard") {
		m, err := ParseMode(s)
		if err != nil {
			t.Error(err)
		}
		modes = append(modes, m)
	}
	if !slices.Equal(modes, []Mode{ModeNone, ModeEmulate, ModeNative, ModeForce, ModePass, ModeDiscard}) {
		t.Errorf("got %v", modes)
	}
	if _, err := ParseMode("writeback"); err == nil {
		t.Error("took any word")
	}
}
