package nbd

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
)

// everything advertises all that a server here can.
var everything = HasFlags | SendFlush | SendFUA | SendTrim | SendWriteZeroes | SendFastZero | SendCache | CanMultiConn

func exportWith(f TransmissionFlags) *ExportInfo {
	return &ExportInfo{Size: nbdtest.Size, Flags: f, MinBlock: 1, PreferredBlock: 4096, MaxPayload: 256 << 10}
}

// Each row is one rule of the protocol; the test's name says which.
func TestRules(t *testing.T) {
	const (
		read, write, flush, trim = devices.OpRead, devices.OpWrite, devices.OpFlush, devices.OpTrim
		cache, zeroes, status    = devices.OpCache, devices.OpWriteZeroes, devices.OpBlockStatus
		ok, inval, nospc, perm   = devices.OK, devices.EINVAL, devices.ENOSPC, devices.EPERM
	)
	for _, test := range []struct {
		name  string
		flags TransmissionFlags
		h     Header
		want  devices.Errno
	}{
		{"read in range", everything, Header{Op: read, Length: 4096}, ok},
		{"read up to the last byte", everything, Header{Op: read, Offset: nbdtest.Size - 1, Length: 1}, ok},
		{"write in range", everything, Header{Op: write, Length: 4096}, ok},
		{"write of an odd length where the minimum block is 1", everything, Header{Op: write, Offset: 3, Length: 5}, ok},

		{"write to read-only is EPERM", everything | ReadOnly, Header{Op: write, Length: 1}, perm},
		{"trim on read-only is EPERM", everything | ReadOnly, Header{Op: trim, Length: 1}, perm},
		{"write_zeroes on read-only is EPERM", everything | ReadOnly, Header{Op: zeroes, Length: 1}, perm},
		{"read-only is found out before FUA", HasFlags | ReadOnly, Header{Op: write, Flags: devices.FUA, Length: 1}, perm},
		{"read-only is found out before the range", everything | ReadOnly, Header{Op: write, Offset: nbdtest.Size, Length: 1}, perm},
		{"read of read-only", everything | ReadOnly, Header{Op: read, Length: 1}, ok},
		{"flush on read-only", everything | ReadOnly, Header{Op: flush}, ok},

		{"write past the end is ENOSPC", everything, Header{Op: write, Offset: nbdtest.Size - 1, Length: 2}, nospc},
		{"write_zeroes past the end is ENOSPC", everything, Header{Op: zeroes, Offset: nbdtest.Size, Length: 1}, nospc},
		{"read past the end is EINVAL", everything, Header{Op: read, Offset: nbdtest.Size - 1, Length: 2}, inval},
		{"trim past the end is EINVAL", everything, Header{Op: trim, Offset: nbdtest.Size, Length: 1}, inval},
		{"cache past the end is EINVAL", everything, Header{Op: cache, Offset: nbdtest.Size, Length: 1}, inval},
		{"offset near 2^64 does not wrap", everything, Header{Op: read, Offset: 1<<64 - 1, Length: 2}, inval},
		{"read of nothing is EINVAL", everything, Header{Op: read}, inval},
		{"write of nothing is EINVAL", everything, Header{Op: write}, inval},
		{"write_zeroes of nothing is EINVAL", everything, Header{Op: zeroes, Offset: 512}, inval},
		{"trim of nothing is EINVAL", everything, Header{Op: trim, Offset: nbdtest.Size}, inval},
		{"cache of nothing is EINVAL", everything, Header{Op: cache}, inval},
		{"write of nothing past the end is ENOSPC", everything, Header{Op: write, Offset: nbdtest.Size + 1}, nospc},

		{"flush with an offset is EINVAL", everything, Header{Op: flush, Offset: 512}, inval},
		{"flush with a length is EINVAL", everything, Header{Op: flush, Length: 512}, inval},
		{"flush", everything, Header{Op: flush}, ok},

		{"unknown command is EINVAL", everything, Header{Op: 8, Length: 1}, inval},
		{"command 255 is EINVAL", everything, Header{Op: opUnknown, Length: 1}, inval},
		{"unknown flag is EINVAL", everything, Header{Op: read, Flags: 1 << 9, Length: 1}, inval},
		{"payload length flag without extended headers is EINVAL", everything, Header{Op: write, Flags: devices.PayloadLen, Length: 1}, inval},

		{"no_hole on write is EINVAL", everything, Header{Op: write, Flags: devices.NoHole, Length: 1}, inval},
		{"no_hole on write_zeroes", everything, Header{Op: zeroes, Flags: devices.NoHole, Length: 1}, ok},
		{"fast_zero on trim is EINVAL", everything, Header{Op: trim, Flags: devices.FastZero, Length: 1}, inval},
		{"fast_zero on write_zeroes", everything, Header{Op: zeroes, Flags: devices.FastZero, Length: 1}, ok},
		{"fast_zero that was not advertised is EINVAL", everything &^ SendFastZero, Header{Op: zeroes, Flags: devices.FastZero, Length: 1}, inval},
		{"df without structured replies is EINVAL", everything, Header{Op: read, Flags: devices.DF, Length: 1}, inval},
		{"req_one on read is EINVAL", everything, Header{Op: read, Flags: devices.ReqOne, Length: 1}, inval},

		{"fua on write that was not advertised is EINVAL", everything &^ SendFUA, Header{Op: write, Flags: devices.FUA, Length: 1}, inval},
		{"fua on read that was not advertised is EINVAL", everything &^ SendFUA, Header{Op: read, Flags: devices.FUA, Length: 1}, inval},
		{"fua on flush that was not advertised is EINVAL", everything &^ SendFUA, Header{Op: flush, Flags: devices.FUA}, inval},
		{"fua on write", everything, Header{Op: write, Flags: devices.FUA, Length: 1}, ok},
		{"fua on trim", everything, Header{Op: trim, Flags: devices.FUA, Length: 1}, ok},
		{"fua on write_zeroes", everything, Header{Op: zeroes, Flags: devices.FUA, Length: 1}, ok},
		{"fua on read is accepted", everything, Header{Op: read, Flags: devices.FUA, Length: 1}, ok},
		{"fua on flush is accepted", everything, Header{Op: flush, Flags: devices.FUA}, ok},
		{"fua on cache is accepted", everything, Header{Op: cache, Flags: devices.FUA, Length: 1}, ok},
		{"fua without flush is a matter of its own", everything &^ SendFlush, Header{Op: write, Flags: devices.FUA, Length: 1}, ok},

		{"read beyond the maximum payload is EINVAL", everything, Header{Op: read, Length: 256<<10 + 1}, inval},
		{"write beyond the maximum payload is EINVAL", everything, Header{Op: write, Length: 256<<10 + 1}, inval},
		{"write_zeroes has no payload", everything, Header{Op: zeroes, Length: 512 << 10}, ok},
		{"trim has no payload", everything, Header{Op: trim, Length: 512 << 10}, ok},

		{"flush that was not advertised is EINVAL", everything &^ SendFlush, Header{Op: flush}, inval},
		{"trim that was not advertised is EINVAL", everything &^ SendTrim, Header{Op: trim, Length: 1}, inval},
		{"write_zeroes that was not advertised is EINVAL", everything &^ SendWriteZeroes, Header{Op: zeroes, Length: 1}, inval},
		{"cache that was not advertised is EINVAL", everything &^ SendCache, Header{Op: cache, Length: 1}, inval},
		{"block_status without a context is EINVAL", everything, Header{Op: status, Length: 1}, inval},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := exportWith(test.flags).Validate(&test.h); got != test.want {
				t.Errorf("%+v: %v, want %v", test.h, got, test.want)
			}
		})
	}
}

func TestMisalignedRequestIsEINVAL(t *testing.T) {
	x := exportWith(everything)
	x.MinBlock = 512
	for _, test := range []struct {
		h    Header
		want devices.Errno
	}{
		{Header{Op: devices.OpRead, Offset: 512, Length: 1024}, devices.OK},
		{Header{Op: devices.OpRead, Offset: 1, Length: 512}, devices.EINVAL},
		{Header{Op: devices.OpWrite, Offset: 512, Length: 511}, devices.EINVAL},
		{Header{Op: devices.OpTrim, Offset: 512, Length: 511}, devices.EINVAL},
		{Header{Op: devices.OpFlush}, devices.OK},
	} {
		if got := x.Validate(&test.h); got != test.want {
			t.Errorf("%+v: %v, want %v", test.h, got, test.want)
		}
	}
}

func TestAdvertisedFlags(t *testing.T) {
	full := nbdtest.NewRAM(nil, nbdtest.Size).Desc
	with := func(f func(*devices.Info)) devices.Info {
		i := full
		f(&i)
		return i
	}
	for _, test := range []struct {
		name   string
		info   devices.Info
		export Export
		want   TransmissionFlags
	}{
		{"all", full, Export{}, everything},
		{"nothing but HAS_FLAGS", devices.Info{Size: nbdtest.Size}, Export{}, HasFlags},
		{"fua emulated is advertised", with(func(i *devices.Info) { i.FUA = devices.FUAEmulate }), Export{}, everything},
		{"fua without flush", with(func(i *devices.Info) { i.CanFlush = false }), Export{}, everything &^ SendFlush},
		{"flush without fua", with(func(i *devices.Info) { i.FUA = devices.FUANone }), Export{}, everything &^ SendFUA},
		{"fast zero needs zero", with(func(i *devices.Info) { i.CanZero = false }), Export{}, everything &^ SendWriteZeroes &^ SendFastZero},
		{"read-only keeps flush and loses fua", full, Export{ReadOnly: true}, HasFlags | ReadOnly | SendFlush | SendCache | CanMultiConn},
		{"a read-only device", with(func(i *devices.Info) { i.ReadOnly = true }), Export{}, HasFlags | ReadOnly | SendFlush | SendCache | CanMultiConn},
		{"rotational", with(func(i *devices.Info) { i.Rotational = true }), Export{}, everything | Rotational},
		{"no multi-conn", with(func(i *devices.Info) { i.MultiConn = false }), Export{}, everything &^ CanMultiConn},
		{"overridden", full, Export{Set: Rotational, Clear: SendFUA | SendFlush}, everything&^SendFUA&^SendFlush | Rotational},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.export.describe(&test.info).Flags; got != test.want {
				t.Errorf("got %#x, want %#x", got, test.want)
			}
		})
	}
}

func TestBlockSizesAreInOrder(t *testing.T) {
	for _, test := range []struct {
		min, preferred, payload          uint32
		wantMin, wantPreferred, wantMost uint32
	}{
		{0, 0, 0, 1, 4096, DefaultMaxPayload},
		{512, 5000, 0, 512, 4096, DefaultMaxPayload},
		{4096, 512, 0, 4096, 4096, DefaultMaxPayload},
		{1, 1 << 20, 64 << 10, 1, 64 << 10, 64 << 10},
	} {
		info := devices.Info{Size: 10000, MinIO: test.min, PreferredIO: test.preferred, MaxPayload: test.payload}
		x := (&Export{}).describe(&info)
		if x.MinBlock != test.wantMin || x.PreferredBlock != test.wantPreferred || x.MaxPayload != test.wantMost {
			t.Errorf("%+v became %+v", test, x)
		}
		if x.Size%uint64(x.MinBlock) != 0 {
			t.Errorf("size %d is no multiple of %d", x.Size, x.MinBlock)
		}
	}
}
