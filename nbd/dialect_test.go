package nbd

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

const (
	hexGoFEnd = hexReply + "00000007 00000001 00000000"
	hexSRAck  = hexReply + "00000008 00000001 00000000"
	hexEHAck  = hexReply + "0000000b 00000001 00000000"
)

func hexInfoF(flags string) string {
	return hexReply + "00000007 00000003 0000000c 0000 0000000000002000" + flags
}

// TestDialectTranscripts: each rule of the options that change the dialect, by
// what the client sends after its flags, what the server answers, byte for byte,
// and what was agreed on.
func TestDialectTranscripts(t *testing.T) {
	const set, list = "0000000a", "00000009"
	gotMeta := func(opt, id string) string {
		return hexReply + opt + "00000004 00000013" + id + nbdtest.HexBaseAllocation
	}
	ack := func(opt string) string { return hexReply + opt + "00000001 00000000" }
	for _, test := range []struct {
		name, send, want string
		dialect          Dialect
		ended            bool
	}{
		{"STRUCTURED_REPLY is acknowledged and brings SEND_DF", nbdtest.HexStructuredReply + nbdtest.HexGoF, hexSRAck + hexInfoF("0085") + hexGoFEnd, Dialect{Structured: true}, false},
		{"STRUCTURED_REPLY with data is ERR_INVALID", nbdtest.HexOption + "00000008 00000001 00", hexReply + "00000008 80000003" + nbdtest.HexString("STRUCTURED_REPLY has no data"), Dialect{}, false},
		{"EXTENDED_HEADERS brings structured replies", nbdtest.HexExtendedHeaders + nbdtest.HexGoF, hexEHAck + hexInfoF("0085") + hexGoFEnd, Dialect{Structured: true, Extended: true}, false},
		{"EXTENDED_HEADERS with data is ERR_INVALID", nbdtest.HexOption + "0000000b 00000001 00", hexReply + "0000000b 80000003" + nbdtest.HexString("EXTENDED_HEADERS has no data"), Dialect{}, false},
		{"STRUCTURED_REPLY after EXTENDED_HEADERS is ERR_EXT_HEADER_REQD", nbdtest.HexExtendedHeaders + nbdtest.HexStructuredReply, hexEHAck + hexReply + "00000008 8000000a" + nbdtest.HexString("extended headers have structured replies"), Dialect{Structured: true, Extended: true}, false},
		{"EXTENDED_HEADERS twice is ERR_INVALID", nbdtest.HexExtendedHeaders + nbdtest.HexExtendedHeaders, hexEHAck + hexReply + "0000000b 80000003" + nbdtest.HexString("EXTENDED_HEADERS was negotiated already"), Dialect{Structured: true, Extended: true}, false},
		{"STRUCTURED_REPLY twice is ERR_INVALID", nbdtest.HexStructuredReply + nbdtest.HexStructuredReply, hexSRAck + hexReply + "00000008 80000003" + nbdtest.HexString("STRUCTURED_REPLY was negotiated already"), Dialect{Structured: true}, false},
		{"EXTENDED_HEADERS after STRUCTURED_REPLY", nbdtest.HexStructuredReply + nbdtest.HexExtendedHeaders, hexSRAck + hexEHAck, Dialect{Structured: true, Extended: true}, false},
		{"EXPORT_NAME after EXTENDED_HEADERS drops the connection", nbdtest.HexExtendedHeaders + nbdtest.HexOption + "00000001 00000001 66", hexEHAck, Dialect{Structured: true, Extended: true}, true},
		{"EXPORT_NAME after STRUCTURED_REPLY advertises SEND_DF", nbdtest.HexStructuredReply + nbdtest.HexOption + "00000001 00000001 66", hexSRAck + "0000000000002000 0085", Dialect{Structured: true}, false},

		{"SET_META_CONTEXT before STRUCTURED_REPLY is ERR_INVALID", nbdtest.HexSetMeta(set, "66", nbdtest.HexBaseAllocation), hexReply + set + "80000003" + nbdtest.HexString("SET_META_CONTEXT comes after STRUCTURED_REPLY"), Dialect{}, false},
		{"SET_META_CONTEXT selects base:allocation", nbdtest.HexStructuredReply + nbdtest.HexSetMeta(set, "66", nbdtest.HexBaseAllocation) + nbdtest.HexGoF, hexSRAck + gotMeta(set, "00000001") + ack(set) + hexInfoF("0085") + hexGoFEnd, Dialect{Structured: true, Allocation: true, AllocationID: 1}, false},
		{"SET_META_CONTEXT ignores a namespace that is not known", nbdtest.HexStructuredReply + nbdtest.HexSetMeta(set, "66", "71656d753a78"), hexSRAck + ack(set), Dialect{Structured: true}, false},
		{"SET_META_CONTEXT knows no wildcard", nbdtest.HexStructuredReply + nbdtest.HexSetMeta(set, "66", nbdtest.HexBase), hexSRAck + ack(set), Dialect{Structured: true}, false},
		{
			"SET_META_CONTEXT without queries selects none", nbdtest.HexStructuredReply + nbdtest.HexSetMeta(set, "66", nbdtest.HexBaseAllocation) + nbdtest.HexOption + set + "00000009" + nbdtest.HexMeta("66"),
			hexSRAck + gotMeta(set, "00000001") + ack(set) + ack(set),
			Dialect{Structured: true, AllocationID: 1},
			false,
		},
		{
			"SET_META_CONTEXT that fails puts an end to the selection", nbdtest.HexStructuredReply + nbdtest.HexSetMeta(set, "66", nbdtest.HexBaseAllocation) + nbdtest.HexSetMeta(set, "78", nbdtest.HexBaseAllocation),
			hexSRAck + gotMeta(set, "00000001") + ack(set) + hexReply + set + "80000006" + nbdtest.HexString("there is no such export"),
			Dialect{Structured: true, AllocationID: 1},
			false,
		},
		{
			"SET_META_CONTEXT with a length beyond its data is ERR_INVALID", nbdtest.HexStructuredReply + nbdtest.HexOption + set + "0000000d 00000001 66 00000001 00000009",
			hexSRAck + hexReply + set + "80000003" + nbdtest.HexString("malformed name or queries"),
			Dialect{Structured: true},
			false,
		},
		{
			"SET_META_CONTEXT with bytes left over is ERR_INVALID", nbdtest.HexStructuredReply + nbdtest.HexOption + set + "0000000a 00000001 66 00000000 00",
			hexSRAck + hexReply + set + "80000003" + nbdtest.HexString("malformed name or queries"),
			Dialect{Structured: true},
			false,
		},
		{
			"a context holds for the export it was selected for", nbdtest.HexStructuredReply + nbdtest.HexSetMeta(set, "6469736b", nbdtest.HexBaseAllocation) + nbdtest.HexGoF,
			hexSRAck + gotMeta(set, "00000001") + ack(set) + hexInfoF("0085") + hexGoFEnd,
			Dialect{Structured: true, AllocationID: 1},
			false,
		},
		{"LIST_META_CONTEXT needs no structured replies", nbdtest.HexSetMeta(list, "66", nbdtest.HexBase), gotMeta(list, "00000000") + ack(list), Dialect{}, false},
		{"LIST_META_CONTEXT without queries lists all", nbdtest.HexOption + list + "00000009" + nbdtest.HexMeta("66"), gotMeta(list, "00000000") + ack(list), Dialect{}, false},
		{"LIST_META_CONTEXT of another namespace lists nothing", nbdtest.HexSetMeta(list, "66", "71656d753a"), ack(list), Dialect{}, false},
		{"LIST_META_CONTEXT of no export is ERR_UNKNOWN", nbdtest.HexSetMeta(list, "78", nbdtest.HexBase), hexReply + list + "80000006" + nbdtest.HexString("there is no such export"), Dialect{}, false},

		{"STARTTLS without TLS is ERR_POLICY", nbdtest.HexOption + "00000005 00000000", hexReply + "00000005 80000002" + nbdtest.HexString("this server has no TLS"), Dialect{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, chunk := range []int{1 << 20, 1, 7} {
				h := NewServerHandshake(testExports(), ConnInfo{})
				got := feed(h, nbdtest.Unhex(t, "00000003"+test.send), chunk)
				if want := nbdtest.Unhex(t, hexGreeting+test.want); !bytes.Equal(got, want) {
					t.Fatalf("in pieces of %d\ngot  %x\nwant %x", chunk, got, want)
				}
				if h.Dialect() != test.dialect || test.ended != (h.Err() != nil) {
					t.Errorf("agreed on %+v, ended by %v", h.Dialect(), h.Err())
				}
			}
		})
	}
}

// TestTLSPolicies: "TLS versions".
func TestTLSPolicies(t *testing.T) {
	const startTLS, ack = nbdtest.HexOption + "00000005 00000000", hexReply + "00000005 00000001 00000000"
	wants := "80000005" + nbdtest.HexString("this server wants TLS: begin with STARTTLS")
	for _, test := range []struct {
		name       string
		policy     TLSPolicy
		send, want string
		upgrade    bool
		ended      bool
	}{
		{"FORCEDTLS: GO is ERR_TLS_REQD", ForcedTLS, nbdtest.HexGoF, hexReply + "00000007" + wants, false, false},
		{"FORCEDTLS: LIST is ERR_TLS_REQD", ForcedTLS, nbdtest.HexOption + "00000003 00000000", hexReply + "00000003" + wants, false, false},
		{"FORCEDTLS: an unknown option is ERR_TLS_REQD", ForcedTLS, nbdtest.HexOption + "000000fe 00000000", hexReply + "000000fe" + wants, false, false},
		{"FORCEDTLS: EXPORT_NAME drops the connection", ForcedTLS, nbdtest.HexOption + "00000001 00000001 66", "", false, true},
		{"FORCEDTLS: ABORT is acknowledged", ForcedTLS, nbdtest.HexOption + "00000002 00000000", hexReply + "00000002 00000001 00000000", false, true},
		{"FORCEDTLS: STARTTLS begins TLS", ForcedTLS, startTLS, ack, true, false},
		{"SELECTIVETLS: GO without TLS", MayTLS, nbdtest.HexGoF, hexInfoF("0005") + hexGoFEnd, false, false},
		{"SELECTIVETLS: STARTTLS begins TLS", MayTLS, startTLS, ack, true, false},
		{"STARTTLS with data is ERR_INVALID", MayTLS, nbdtest.HexOption + "00000005 00000001 00", hexReply + "00000005 80000003" + nbdtest.HexString("STARTTLS has no data"), false, false},
		{"what comes after STARTTLS in plain text is not looked at", MayTLS, startTLS + nbdtest.HexGoF, ack, true, false},
		{"STARTTLS forgets what was negotiated", MayTLS, nbdtest.HexExtendedHeaders + startTLS, hexEHAck + ack, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := NewServerHandshake(testExports(), ConnInfo{})
			h.Offer(test.policy)
			got := feed(h, nbdtest.Unhex(t, "00000003"+test.send), 1<<20)
			if want := nbdtest.Unhex(t, hexGreeting+test.want); !bytes.Equal(got, want) {
				t.Fatalf("got  %x\nwant %x", got, want)
			}
			_, upgrade := h.Upgrade()
			if upgrade != test.upgrade || test.ended != (h.Err() != nil) || upgrade && h.Dialect() != (Dialect{}) {
				t.Fatalf("upgrade %v, ended by %v, agreed on %+v", upgrade, h.Err(), h.Dialect())
			}
			if upgrade { // "STARTTLS": once TLS has begun
				h.Secured()
				want := hexReply + "00000005 80000003" + nbdtest.HexString("TLS has begun already") + hexInfoF("0005") + hexGoFEnd
				if got := feed(h, nbdtest.Unhex(t, startTLS+nbdtest.HexGoF), 1); !bytes.Equal(got, nbdtest.Unhex(t, want)) {
					t.Errorf("over TLS: got %x", got)
				}
			}
		})
	}
}

// dialects are all that two ends can agree on, by name.
var dialects = map[string]ClientOptions{
	"simple":     {},
	"structured": {Structured: true, Allocation: true},
	"extended":   {Extended: true, Allocation: true},
}

// TestBothEndsAgreeOnADialect by the bytes that they exchange.
func TestBothEndsAgreeOnADialect(t *testing.T) {
	for name, w := range dialects {
		client, server := NewClientHandshake(OptGo, ""), NewServerHandshake(testExports(), ConnInfo{})
		client.SetOptions(w)
		if err := Negotiate(client, server); err != nil {
			t.Fatal(err)
		}
		d := server.Dialect()
		if client.Export().Dialect != d || d.Structured != (name != "simple") || d.Extended != (name == "extended") || d.Allocation != w.Allocation {
			t.Errorf("%s: the client believes in %+v, the server in %+v", name, client.Export().Dialect, d)
		}
		if df := client.Export().Flags&SendDF != 0; df != d.Structured {
			t.Errorf("%s: SEND_DF is %v", name, df)
		}
	}
}

// TestClientDoesWithoutWhatTheServerDoesNotHave: each wish but TLS may be
// refused, and what hangs on it is not asked for.
func TestClientDoesWithoutWhatTheServerDoesNotHave(t *testing.T) {
	unsup := func(opt string) string { return hexReply + opt + "80000001 00000000" }
	goAll := nbdtest.HexOption + "00000007 0000000d" + "00000001 66 0003 0001 0002 0003"
	ask := nbdtest.HexOption + "0000000a" + nbdtest.HexLength(nbdtest.HexMeta("66", nbdtest.HexBaseAllocation)) + nbdtest.HexMeta("66", nbdtest.HexBaseAllocation)
	const info = hexReply + "00000007 00000003 0000000c 0000 0000000000002000 000d"
	all := ClientOptions{Extended: true, Structured: true, Allocation: true}
	for _, test := range []struct {
		name, send, want string
		dialect          Dialect
		fails            bool
		options          ClientOptions
	}{
		{"neither of them", unsup("0000000b") + unsup("00000008") + info + hexGoFEnd, nbdtest.HexExtendedHeaders + nbdtest.HexStructuredReply + goAll, Dialect{}, false, all},
		{"no extended headers", unsup("0000000b") + hexSRAck + hexReply + "0000000a 00000004 00000013 00000000" + nbdtest.HexBaseAllocation + hexReply + "0000000a 00000001 00000000" + info + hexGoFEnd, nbdtest.HexExtendedHeaders + nbdtest.HexStructuredReply + ask + goAll, Dialect{Structured: true, Allocation: true}, false, all},
		{"no contexts", hexEHAck + unsup("0000000a") + info + hexGoFEnd, nbdtest.HexExtendedHeaders + ask + goAll, Dialect{Structured: true, Extended: true}, false, all},
		{"a context that was not asked for", hexEHAck + hexReply + "0000000a 00000004 00000006 00000007 7171" + hexReply + "0000000a 00000001 00000000" + info + hexGoFEnd, nbdtest.HexExtendedHeaders + ask + goAll, Dialect{Structured: true, Extended: true}, false, all},
		{"a context without an id", hexEHAck + hexReply + "0000000a 00000004 00000002 0000", nbdtest.HexExtendedHeaders + ask, Dialect{Structured: true, Extended: true}, true, all},
		{"no TLS is the end", unsup("00000005"), nbdtest.HexOption + "00000005 00000000" + nbdtest.HexOption + "00000002 00000000", Dialect{}, true, ClientOptions{TLS: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := NewClientHandshake(OptGo, "f")
			h.SetOptions(test.options)
			got := feed(h, nbdtest.Unhex(t, hexGreeting+test.send), 1)
			if want := nbdtest.Unhex(t, "00000003"+test.want); !bytes.Equal(got, want) {
				t.Fatalf("got  %x\nwant %x", got, want)
			}
			if d := h.Export().Dialect; !h.Done() || test.fails != (h.Err() != nil) || d != test.dialect {
				t.Errorf("done %v, error %v, agreed on %+v", h.Done(), h.Err(), d)
			}
		})
	}
}

// TestReplies: each form of a reply, byte for byte.
func TestReplies(t *testing.T) {
	structured, extended := Dialect{Structured: true, Allocation: true, AllocationID: 1}, Dialect{Structured: true, Extended: true, Allocation: true, AllocationID: 1}
	status := &devices.BlockStatus{Extents: []devices.StatusExtent{{Length: 4096, Flags: 3}}}
	for _, test := range []struct {
		name    string
		dialect Dialect
		reply   Reply
		want    string
	}{
		{"READ", Dialect{}, Reply{Op: devices.OpRead, Cookie: 5, Offset: 512, Data: 512}, "67446698 00000000 0000000000000005"},
		{"READ under structured replies MUST be structured", structured, Reply{Op: devices.OpRead, Cookie: 5, Offset: 512, Data: 512}, "668e33ef 0001 0001 0000000000000005 00000208 0000000000000200"},
		{"READ that fails under structured replies too", structured, Reply{Op: devices.OpRead, Cookie: 5, Errno: devices.EIO}, "668e33ef 0001 8001 0000000000000005 00000006 00000005 0000"},
		{"WRITE may be simple under structured replies", structured, Reply{Op: devices.OpWrite, Cookie: 5, Errno: devices.EIO}, "67446698 00000005 0000000000000005"},
		{"WRITE under extended headers MUST be extended", extended, Reply{Op: devices.OpWrite, Cookie: 5, Offset: 512}, "6e8a278c 0001 0000 0000000000000005 0000000000000200 0000000000000000"},
		{"an error under extended headers", extended, Reply{Op: devices.OpWrite, Cookie: 5, Offset: 512, Errno: devices.ENOSPC}, "6e8a278c 0001 8001 0000000000000005 0000000000000200 0000000000000006 0000001c 0000"},
		{"READ under extended headers", extended, Reply{Op: devices.OpRead, Cookie: 5, Offset: 512, Data: 512}, "6e8a278c 0001 0001 0000000000000005 0000000000000200 0000000000000208 0000000000000200"},
		{"BLOCK_STATUS", structured, Reply{Op: devices.OpBlockStatus, Cookie: 5, Data: 8, Payload: devices.Payload{Status: status}}, "668e33ef 0001 0005 0000000000000005 0000000c 00000001"},
		{"BLOCK_STATUS under extended headers counts its extents", extended, Reply{Op: devices.OpBlockStatus, Cookie: 5, Offset: 512, Data: 16, Payload: devices.Payload{Status: status}}, "6e8a278c 0001 0006 0000000000000005 0000000000000200 0000000000000018 00000001 00000001"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b [MaxHeaderSize]byte
			n := test.dialect.EncodeReply(&b, &test.reply)
			if want := nbdtest.Unhex(t, test.want); !bytes.Equal(b[:n], want) {
				t.Errorf("got  %x\nwant %x", b[:n], want)
			}
			var c Chunk
			if size, err := test.dialect.DecodeReply(b[:n], &c); err != nil || size > n || c.Cookie != 5 || !c.Last {
				t.Errorf("read back as %+v of %d bytes, %v", c, size, err)
			}
		})
	}
}

// TestRulesOfExtendedHeaders: "Extended request message".
func TestRulesOfExtendedHeaders(t *testing.T) {
	x := exportWith(everything)
	x.Dialect = Dialect{Structured: true, Extended: true, Allocation: true}
	*x = x.in(x.Dialect)
	x.Size = 1 << 40
	for _, test := range []struct {
		name string
		h    Header
		want devices.Errno
	}{
		{"WRITE without PAYLOAD_LEN is accepted, as QEMU sends it", Header{Op: devices.OpWrite, Length: 1}, devices.OK},
		{"WRITE with FUA and without PAYLOAD_LEN", Header{Op: devices.OpWrite, Flags: devices.FUA, Length: 1}, devices.OK},
		{"WRITE_ZEROES with PAYLOAD_LEN is EINVAL", Header{Op: devices.OpWriteZeroes, Flags: devices.PayloadLen, Length: 1}, devices.EINVAL},
		{"WRITE with PAYLOAD_LEN", Header{Op: devices.OpWrite, Flags: devices.PayloadLen, Length: 1}, devices.OK},
		{"READ with PAYLOAD_LEN is EINVAL", Header{Op: devices.OpRead, Flags: devices.PayloadLen, Length: 1}, devices.EINVAL},
		{"TRIM beyond 32 bits", Header{Op: devices.OpTrim, Length: 1 << 33}, devices.OK},
		{"WRITE_ZEROES beyond 32 bits", Header{Op: devices.OpWriteZeroes, Length: 1 << 33}, devices.OK},
		{"READ beyond the maximum payload is EINVAL", Header{Op: devices.OpRead, Length: 1 << 33}, devices.EINVAL},
		{"a length near 2^64 does not wrap", Header{Op: devices.OpTrim, Offset: 512, Length: 1<<64 - 256}, devices.EINVAL},
		{"BLOCK_STATUS with a context", Header{Op: devices.OpBlockStatus, Length: 1 << 33}, devices.OK},
		{"BLOCK_STATUS with REQ_ONE", Header{Op: devices.OpBlockStatus, Flags: devices.ReqOne, Length: 512}, devices.OK},
		{"READ with DF", Header{Op: devices.OpRead, Flags: devices.DF, Length: 512}, devices.OK},
		{"WRITE with DF is EINVAL", Header{Op: devices.OpWrite, Flags: devices.PayloadLen | devices.DF, Length: 512}, devices.EINVAL},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := x.Validate(&test.h); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestAnExtendedRequestHasPayloadLenIfItIsAWrite: this client is as strict as the
// server is lenient.
func TestAnExtendedRequestHasPayloadLenIfItIsAWrite(t *testing.T) {
	d := Dialect{Structured: true, Extended: true}
	for _, test := range []struct {
		h    Header
		want string
	}{
		{Header{Op: devices.OpWrite, Flags: devices.FUA, Cookie: 1, Offset: 2, Length: 3}, "21e41c71 0021 0001 0000000000000001 0000000000000002 0000000000000003"},
		{Header{Op: devices.OpWriteZeroes, Flags: devices.FUA, Cookie: 1, Offset: 2, Length: 3}, "21e41c71 0001 0006 0000000000000001 0000000000000002 0000000000000003"},
		{Header{Op: devices.OpRead, Cookie: 1, Offset: 2, Length: 3}, "21e41c71 0000 0000 0000000000000001 0000000000000002 0000000000000003"},
	} {
		var b [MaxHeaderSize]byte
		if n := d.EncodeRequest(&b, &test.h); !bytes.Equal(b[:n], nbdtest.Unhex(t, test.want)) {
			t.Errorf("%+v goes out as %x, expected %s", test.h, b[:n], test.want)
		}
	}
}

func TestPayloadOfARefusedExtendedRequestIsKnown(t *testing.T) {
	d := Dialect{Structured: true, Extended: true}
	for _, test := range []struct {
		h    Header
		want uint64
	}{
		{Header{Op: devices.OpRead, Length: 7}, 0},
		{Header{Op: devices.OpRead, Flags: devices.PayloadLen, Length: 7}, 7},
		{Header{Op: devices.OpBlockStatus, Flags: devices.PayloadLen, Length: 7}, 7},
		{Header{Op: devices.OpWrite, Length: 7}, 7},
	} {
		if got := d.PayloadSize(&test.h); got != test.want {
			t.Errorf("%+v is followed by %d bytes, want %d", test.h, got, test.want)
		}
	}
}

// mapped is a ram that tells a state of its own for BLOCK_STATUS.
type mapped struct {
	*nbdtest.RAM
	extents []devices.StatusExtent
}

func (m *mapped) Submit(r *devices.Request) {
	if r.Op == devices.OpBlockStatus {
		for _, e := range m.extents {
			if !r.Status.Add(e.Length, e.Flags) {
				break
			}
		}
	}
	m.RAM.Submit(r)
}

func ext(n uint64, f devices.StatusFlags) devices.StatusExtent {
	return devices.StatusExtent{Length: n, Flags: f}
}

// TestBlockStatusOverAWire in each dialect that has it: the device's extents
// reach the client, as many as it asked for.
func TestBlockStatusOverAWire(t *testing.T) {
	const hole, data = devices.StatusHole | devices.StatusZero, devices.StatusFlags(0)
	for _, test := range []struct {
		name    string
		min     uint32
		extents []devices.StatusExtent
		flags   devices.Flags
		want    []devices.StatusExtent
	}{
		{"as the device says", 1, []devices.StatusExtent{ext(100, hole), ext(200, data)}, 0, []devices.StatusExtent{ext(100, hole), ext(200, data)}},
		{"REQ_ONE gets one extent", 1, []devices.StatusExtent{ext(100, hole), ext(200, data)}, devices.ReqOne, []devices.StatusExtent{ext(100, hole)}},
		{"a device that says nothing holds data", 1, nil, 0, []devices.StatusExtent{ext(8192, data)}},
		{"extents are multiples of the minimum block", 4096, []devices.StatusExtent{ext(6144, hole), ext(2048, data)}, 0, []devices.StatusExtent{ext(4096, hole), ext(4096, data)}},
		{"a block of several states is in those that all share", 4096, []devices.StatusExtent{ext(2048, hole), ext(4096, devices.StatusZero), ext(2048, hole)}, 0, []devices.StatusExtent{ext(8192, devices.StatusZero)}},
	} {
		for name, options := range dialects {
			t.Run(test.name+", "+name, func(t *testing.T) {
				loop := sim.NewLoop()
				d := &mapped{nbdtest.NewRAM(loop, nbdtest.Size), test.extents}
				d.Desc.MinIO = test.min
				w, err := ConnectWith(loop, &Export{Device: d}, 0, nil, nil, options)
				if err != nil {
					t.Fatal(err)
				}
				r := request(devices.OpBlockStatus, test.flags, 8192, &counter{})
				r.Status = &devices.BlockStatus{}
				r.Status.Reset(devices.MaxStatusExtents)
				if test.flags&devices.ReqOne != 0 {
					r.Status.Reset(1)
				}
				w.Client.Submit(r)
				loop.Run(sim.Never)
				if name == "simple" {
					if r.Errno != devices.EINVAL {
						t.Errorf("BLOCK_STATUS without a context ended with %v", r.Errno)
					}
					return
				}
				if r.Errno != devices.OK || !slices.Equal(r.Status.Extents, test.want) {
					t.Errorf("ended with %v, %v, want %v", r.Errno, r.Status.Extents, test.want)
				}
			})
		}
	}
}

// chunkClient is a client in a dialect, with one READ or BLOCK_STATUS in flight.
func chunkClient(d Dialect, op devices.Op) (*Client, *devices.Request, uint64) {
	x := exportWith(everything)
	*x = x.in(d)
	out := &requests{}
	c := NewClient(sim.NewLoop(), *x, out)
	r := request(op, 0, 1024, &counter{})
	r.Offset = 512
	r.Status = &devices.BlockStatus{}
	r.Status.Reset(8)
	c.Submit(r)
	return c, r, out.got[0].Cookie
}

// TestClientChunks: what a client makes of each sequence of chunks.
func TestClientChunks(t *testing.T) {
	type piece struct {
		k    Chunk
		body string
		at   uint64 // of data
		n    uint64
	}
	data := func(at, n uint64, last bool) piece {
		return piece{Chunk{Type: ChunkOffsetData, Last: last}, "", at, n}
	}
	const violated = devices.ESHUTDOWN // the connection ends
	for _, test := range []struct {
		name   string
		op     devices.Op
		pieces []piece
		want   devices.Errno
	}{
		{"one piece", devices.OpRead, []piece{data(512, 1024, true)}, devices.OK},
		{"two pieces out of order", devices.OpRead, []piece{data(1024, 512, false), data(512, 512, true)}, devices.OK},
		{"a hole", devices.OpRead, []piece{data(512, 512, false), {Chunk{Type: ChunkOffsetHole}, "0000000000000400 00000200", 0, 0}, {Chunk{Type: ChunkNone, Last: true}, "", 0, 0}}, devices.OK},
		{"data, then an error", devices.OpRead, []piece{data(512, 512, false), {Chunk{Type: ChunkError, Last: true}, "00000005 0000", 0, 0}}, devices.EIO},
		{"an error with an offset and a message", devices.OpRead, []piece{{Chunk{Type: ChunkErrorOffset, Last: true}, "0000001c 0002 6869 0000000000000200", 0, 0}}, devices.ENOSPC},
		{"an error, then the end", devices.OpRead, []piece{{Chunk{Type: ChunkError}, "00000005 0000", 0, 0}, {Chunk{Type: ChunkNone, Last: true}, "", 0, 0}}, devices.EIO},
		{"an error chunk of unknown type fails the command", devices.OpRead, []piece{{Chunk{Type: 1<<15 + 77, Last: true}, "00000005 0000", 0, 0}}, devices.EIO},
		{"an error of unknown value is EINVAL", devices.OpRead, []piece{{Chunk{Type: ChunkError, Last: true}, "00001234 0000", 0, 0}}, devices.EINVAL},
		{"an error of value 0 is EINVAL", devices.OpRead, []piece{{Chunk{Type: ChunkError, Last: true}, "00000000 0000", 0, 0}}, devices.EINVAL},
		{"data that is missing", devices.OpRead, []piece{data(512, 512, true)}, violated},
		{"data that comes twice", devices.OpRead, []piece{data(512, 1024, false), data(512, 512, true)}, violated},
		{"data that comes twice, of the length that was asked for", devices.OpRead, []piece{data(512, 512, false), data(512, 512, true)}, violated},
		{"data that overlaps what came before it", devices.OpRead, []piece{data(512, 512, false), data(768, 512, false), data(1280, 256, true)}, violated},
		{"data that overlaps what came before its time", devices.OpRead, []piece{data(1024, 512, false), data(512, 768, true)}, violated},
		{"a hole where there was data", devices.OpRead, []piece{data(512, 512, false), {Chunk{Type: ChunkOffsetHole, Last: true}, "0000000000000200 00000200", 0, 0}}, violated},
		{"a hole of no size", devices.OpRead, []piece{data(512, 1024, false), {Chunk{Type: ChunkOffsetHole, Last: true}, "0000000000000200 00000000", 0, 0}}, violated},
		{"data in three pieces, the middle last", devices.OpRead, []piece{data(512, 256, false), data(1280, 256, false), data(768, 512, true)}, devices.OK},
		{"data before the READ", devices.OpRead, []piece{data(0, 512, true)}, violated},
		{"data behind the READ", devices.OpRead, []piece{data(1024, 1024, true)}, violated},
		{"data at an offset near 2^64", devices.OpRead, []piece{data(1<<64-1, 512, true)}, violated},
		{"a message longer than its chunk", devices.OpRead, []piece{{Chunk{Type: ChunkError, Last: true}, "00000005 0001", 0, 0}}, violated},
		{"status", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkBlockStatus, Last: true}, "00000001 00000200 00000003 00000200 00000000", 0, 0}}, devices.OK},
		{"status whose last extent goes beyond", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkBlockStatus, Last: true}, "00000001 00000200 00000003 00100000 00000000", 0, 0}}, devices.OK},
		{"status of another context", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkBlockStatus, Last: true}, "00000002 00000200 00000003", 0, 0}}, violated},
		{"status of half an extent", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkBlockStatus, Last: true}, "00000001 00000200 00000003 0000", 0, 0}}, violated},
		{"status with an empty extent", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkBlockStatus, Last: true}, "00000001 00000000 00000003", 0, 0}}, violated},
		{"status with an extent behind the request", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkBlockStatus, Last: true}, "00000001 00000400 00000003 00000001 00000000", 0, 0}}, violated},
		{"status twice", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkBlockStatus}, "00000001 00000400 00000003", 0, 0}, {Chunk{Type: ChunkBlockStatus, Last: true}, "00000001 00000400 00000003", 0, 0}}, violated},
		{"no status", devices.OpBlockStatus, []piece{{Chunk{Type: ChunkNone, Last: true}, "", 0, 0}}, violated},
		{"status in answer to READ", devices.OpRead, []piece{{Chunk{Type: ChunkBlockStatus, Last: true}, "00000001 00000400 00000003", 0, 0}}, violated},
		{"data in answer to BLOCK_STATUS", devices.OpBlockStatus, []piece{data(512, 512, true)}, violated},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, r, cookie := chunkClient(Dialect{Structured: true, Allocation: true, AllocationID: 1}, test.op)
			var err error
			for _, p := range test.pieces {
				p.k.Cookie = cookie
				if p.k.Type == ChunkOffsetData {
					if _, err = c.Place(&p.k, p.at, p.n); err != nil {
						c.Fail(err)
						break
					}
				}
				if err = c.ReceiveChunk(&p.k, nbdtest.Unhex(t, p.body)); err != nil {
					break
				}
			}
			var protocol *ProtocolError
			if r.Errno != test.want || (test.want == violated) != errors.As(err, &protocol) || len(r.Completer.(*counter).done) != 1 {
				t.Errorf("ended with %v, %v", r.Errno, err)
			}
		})
	}
}

// TestChunkOfUnknownTypeEndsTheConnection, as does one that is malformed.
func TestChunkOfUnknownTypeEndsTheConnection(t *testing.T) {
	for _, test := range []struct {
		name, chunk string
		ends        bool
	}{
		{"an unknown type", "668e33ef 0001 0007 0000000000000000 0000000c", true},
		{"an unknown type without a payload", "668e33ef 0001 0007 0000000000000000 00000000", true},
		{"NONE that is not the last", "668e33ef 0000 0000 0000000000000000 00000000", true},
		{"NONE with a payload", "668e33ef 0001 0000 0000000000000000 00000001", true},
		{"data of no bytes", "668e33ef 0001 0001 0000000000000000 00000008", true},
		{"a hole with too long a payload", "668e33ef 0001 0002 0000000000000000 0000000d", true},
		{"an error of unknown type", "668e33ef 0001 8777 0000000000000000 00000006", false},
		{"NONE", "668e33ef 0001 0000 0000000000000000 00000000", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var k Chunk
			_, err := (&Dialect{Structured: true}).DecodeReply(nbdtest.Unhex(t, test.chunk), &k)
			var protocol *ProtocolError
			if errors.As(err, &protocol) != test.ends || (err != nil) != test.ends {
				t.Errorf("%+v: %v", k, err)
			}
		})
	}
}
