package nbd

import (
	"fmt"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// Tests of nbdkit's own suite (nbdkit/tests), re-created against this server by
// what they check, each called after the original. docs/NBD.md says where the
// others are.

// TestNbdkitEflags is test-eflags.sh: callbacks to the exact word of flags.
func TestNbdkitEflags(t *testing.T) {
	const zeroes = SendWriteZeroes // nbdkit emulates it by writing
	for _, test := range []struct {
		name     string
		backend  fua.Backend
		readOnly bool
		options  ClientOptions
		want     TransmissionFlags
	}{
		{"nothing", fua.Backend{API: 2}, false, ClientOptions{}, HasFlags | zeroes},
		{"-r", fua.Backend{API: 2}, true, ClientOptions{}, HasFlags | ReadOnly},
		{"can_write no", fua.Backend{API: 2, CanWrite: fua.No}, false, ClientOptions{}, HasFlags | ReadOnly},
		{"can_flush", fua.Backend{API: 2, Flush: true, CanFlush: fua.Yes}, false, ClientOptions{}, HasFlags | SendFlush | SendFUA | zeroes},
		{"can_flush, can_fua none", fua.Backend{API: 2, Flush: true, CanFlush: fua.Yes, CanFUA: fua.No}, false, ClientOptions{}, HasFlags | SendFlush | zeroes},
		{"can_flush, can_fua emulate", fua.Backend{API: 2, Flush: true, CanFlush: fua.Yes, CanFUA: fua.Emulate}, false, ClientOptions{}, HasFlags | SendFlush | SendFUA | zeroes},
		{"can_fua native without flush", fua.Backend{API: 2, CanFUA: fua.Native}, false, ClientOptions{}, HasFlags | SendFUA | zeroes},
		{"-r, can_flush", fua.Backend{API: 2, Flush: true, CanFlush: fua.Yes}, true, ClientOptions{}, HasFlags | ReadOnly | SendFlush},
		{"-r, can_fua, can_trim, can_zero are ignored", fua.Backend{API: 2, Flush: true, CanFUA: fua.Native, Trim: true, CanTrim: fua.Yes, Zero: true, CanZero: fua.Native}, true, ClientOptions{}, HasFlags | ReadOnly | SendFlush},
		{"can_trim", fua.Backend{API: 2, Trim: true, CanTrim: fua.Yes}, false, ClientOptions{}, HasFlags | SendTrim | zeroes},
		{"can_zero none", fua.Backend{API: 2, CanZero: fua.No}, false, ClientOptions{}, HasFlags},
		{"structured replies bring DF", fua.Backend{API: 2}, false, ClientOptions{Structured: true}, HasFlags | zeroes | SendDF},
		{"--no-sr has no DF", fua.Backend{API: 2}, false, ClientOptions{}, HasFlags | zeroes},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &scribe{info: devices.Info{Size: nbdtest.Size}}
			client, server := NewClientHandshake(OptGo, ""), NewServerHandshake([]*Export{backendExport(sim.NewLoop(), test.backend, s, fua.ModeAbsent, test.readOnly)}, ConnInfo{})
			client.SetOptions(test.options)
			if err := Negotiate(client, server); err != nil {
				t.Fatal(err)
			}
			if got := client.Export().Flags; got != test.want {
				t.Errorf("got %#x, want %#x", got, test.want)
			}
		})
	}
}

// TestNbdkitFlush is test-flush.sh: one level for can_flush and can_fua alike.
func TestNbdkitFlush(t *testing.T) {
	answers := map[int]fua.Answer{-1: fua.Failed, 0: fua.No, 1: fua.Yes, 2: fua.Native, 3: fua.Other}
	for _, test := range []struct {
		level    int
		readOnly bool
		want     string // flush, fua; a FLUSH; a FUA write
	}{
		{-1, false, "refused"},
		{-1, true, "refused"}, // can_flush is asked all the same
		{0, false, "false false; EINVAL; EINVAL"},
		{1, false, "true true; flush; pwrite;flush"},
		{1, true, "true false; flush; EPERM"},
		{2, false, "true true; flush; pwrite(fua)"},
		{3, false, "true true; flush; pwrite;flush"}, // bogus, and taken
		{3, true, "true false; flush; EPERM"},
	} {
		a := answers[test.level]
		got := "refused"
		if s, w, err := plug(t, fua.Backend{API: 2, Flush: true, CanFlush: a, CanFUA: a}, fua.ModeAbsent, test.readOnly); err == nil {
			info := w.Client.Info()
			got = fmt.Sprintf("%v %v; %s; %s", info.CanFlush, info.FUA != devices.FUANone, s.ask(t, w, devices.OpFlush, 0, 0), s.ask(t, w, devices.OpWrite, devices.FUA, 4096))
		}
		if got != test.want {
			t.Errorf("level %d, read-only %v: %s, want %s", test.level, test.readOnly, got, test.want)
		}
	}
}

// TestNbdkitFua is test-fua.sh: what reaches the plugin under each mode of the
// filter, by a client that writes and zeroes without FUA and with it, or flushes
// where it cannot.
func TestNbdkitFua(t *testing.T) {
	for mode, want := range map[fua.Mode]string{
		fua.ModeNone:    "pwrite zero flush pwrite flush zero flush", // the client's flushes
		fua.ModeEmulate: "pwrite zero flush pwrite flush zero flush",
		fua.ModeNative:  "pwrite zero flush pwrite(fua) zero(fua)",
		fua.ModeForce:   "pwrite(fua) zero(fua) pwrite(fua) zero(fua)", // no flush reaches the plugin
		fua.ModePass:    "pwrite zero flush pwrite(fua) zero(fua)",
		fua.ModeDiscard: "pwrite zero pwrite zero", // nor any FUA
	} {
		t.Run(mode.String(), func(t *testing.T) {
			s, w, err := plug(t, fua.Backend{API: 2, Flush: true, CanFUA: fua.Native, Zero: true}, mode, false)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			send := func(op devices.Op, flags devices.Flags) {
				n := uint64(4096)
				if op == devices.OpFlush {
					n = 0
				}
				if calls := s.ask(t, w, op, flags, n); calls != "nop" {
					got = append(got, strings.Split(calls, ";")...)
				}
			}
			durable := func(op devices.Op) { // as qemu-io's w -f
				if w.Client.Info().FUA != devices.FUANone {
					send(op, devices.FUA)
					return
				}
				send(op, 0)
				send(devices.OpFlush, 0)
			}
			send(devices.OpWrite, 0)
			send(devices.OpWriteZeroes, 0)
			send(devices.OpFlush, 0)
			durable(devices.OpWrite)
			durable(devices.OpWriteZeroes)
			if s := strings.Join(got, " "); s != want {
				t.Errorf("the plugin saw %s, want %s", s, want)
			}
		})
	}
}

// TestNbdkitLongName is test-long-name.sh: names up to 4,096 bytes.
func TestNbdkitLongName(t *testing.T) {
	d := nbdtest.NewRAM(nil, nbdtest.Size)
	long := strings.Repeat("x", MaxString)
	for name, ok := range map[string]bool{long: true, long + "x": false} {
		client, server := NewClientHandshake(OptGo, name), NewServerHandshake([]*Export{{Name: long, Device: d}}, ConnInfo{})
		if err := Negotiate(client, server); (err == nil) != ok {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
}

// TestNbdkitMultiConnName is test-multi-conn-name.sh in what it is about here:
// CAN_MULTI_CONN is each export's own.
func TestNbdkitMultiConnName(t *testing.T) {
	shared, private := nbdtest.NewRAM(nil, nbdtest.Size), nbdtest.NewRAM(nil, nbdtest.Size)
	private.Desc.MultiConn = false
	exports := []*Export{{Name: "shared", Device: shared}, {Name: "private", Device: private}}
	for name, want := range map[string]bool{"shared": true, "private": false} {
		client := NewClientHandshake(OptGo, name)
		if err := Negotiate(client, NewServerHandshake(exports, ConnInfo{})); err != nil {
			t.Fatal(err)
		}
		if got := client.Export().Flags&CanMultiConn != 0; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
