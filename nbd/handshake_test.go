package nbd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// The pieces of transcripts, as hexadecimal digits; spaces do not count.
const (
	hexGreeting = "4e42444d41474943 49484156454f5054 0003"
	hexReply    = "0003e889045565a9"
)

func testExports() []*Export {
	disk := nbdtest.NewRAM(sim.NewLoop(), 0x100000)
	flushOnly := nbdtest.NewRAM(sim.NewLoop(), 0x2000)
	flushOnly.Desc.FUA, flushOnly.Desc.CanTrim, flushOnly.Desc.CanZero, flushOnly.Desc.CanCache, flushOnly.Desc.MultiConn = 0, false, false, false, false
	coarse := nbdtest.NewRAM(sim.NewLoop(), 0x2000)
	coarse.Desc.MinIO = 4096
	return []*Export{
		{Name: "disk", Description: "memory", Device: disk},
		{Name: "f", Device: flushOnly},
		{Name: "coarse", Device: coarse},
		{Name: "broken", Open: func(c ConnInfo) (devices.Device, error) { return nil, fmt.Errorf("can_fua failed for %s", c.Export) }},
	}
}

// Each transcript is what the client sends after the greeting, what the server
// answers, byte for byte, and how the handshake stands then.
func TestServerTranscripts(t *testing.T) {
	const flags3, flags1 = "00000003 ", "00000001 "
	for _, test := range []struct {
		name, send, want string
		chosen           string
		ended            bool // the connection is to be closed
	}{
		{"unknown client flag drops the connection", "00000004", "", "", true},
		{
			"EXPORT_NAME with NO_ZEROES", flags3 + nbdtest.HexOption + "00000001 00000001" + "66",
			"0000000000002000 0005", "f", false,
		},
		{
			"EXPORT_NAME without NO_ZEROES", flags1 + nbdtest.HexOption + "00000001 00000001" + "66",
			"0000000000002000 0005" + strings.Repeat("00", 124), "f", false,
		},
		{
			"EXPORT_NAME without fixed newstyle", "00000002" + nbdtest.HexOption + "00000001 00000001" + "66",
			"0000000000002000 0005", "f", false,
		},
		{
			"LIST and GO without fixed newstyle are honoured", "00000000" + nbdtest.HexOption + "00000003 00000001 00" + nbdtest.HexOption + "00000007 00000007" + "00000001 66 0000",
			hexReply + "00000003 80000003" + nbdtest.HexString("LIST has no data") +
				hexReply + "00000007 00000003 0000000c" + "0000 0000000000002000 0005" + hexReply + "00000007 00000001 00000000",
			"f", false,
		},
		{"EXPORT_NAME of no export drops the connection", flags3 + nbdtest.HexOption + "00000001 00000001" + "78", "", "", true},
		{
			"EXPORT_NAME of an export that does not open drops the connection",
			flags3 + nbdtest.HexOption + "00000001 00000006" + hex.EncodeToString([]byte("broken")), "", "", true,
		},
		{
			"the empty name is the first export", flags3 + nbdtest.HexOption + "00000001 00000000",
			"0000000000100000 0d6d", "disk", false,
		},
		{
			"GO without requests gets EXPORT alone", flags3 + nbdtest.HexOption + "00000007 00000007" + "00000001 66 0000",
			hexReply + "00000007 00000003 0000000c" + "0000 0000000000002000 0005" + hexReply + "00000007 00000001 00000000",
			"f", false,
		},
		{
			"GO with all requests and an unknown one", flags3 + nbdtest.HexOption + "00000007 00000012" + "00000004 6469736b 0004 0001 0002 0003 1234",
			hexReply + "00000007 00000003 0000000c" + "0000 0000000000100000 0d6d" +
				hexReply + "00000007 00000003 00000006" + "0001 6469736b" +
				hexReply + "00000007 00000003 00000008" + "0002 6d656d6f7279" +
				hexReply + "00000007 00000003 0000000e" + "0003 00000001 00001000 02000000" +
				hexReply + "00000007 00000001 00000000",
			"disk", false,
		},
		{
			"INFO leaves the choice open", flags3 + nbdtest.HexOption + "00000006 00000007" + "00000001 66 0000",
			hexReply + "00000006 00000003 0000000c" + "0000 0000000000002000 0005" + hexReply + "00000006 00000001 00000000",
			"", false,
		},
		{
			"GO of no export is ERR_UNKNOWN", flags3 + nbdtest.HexOption + "00000007 00000007" + "00000001 78 0000",
			hexReply + "00000007 80000006 00000017" + hex.EncodeToString([]byte("there is no such export")), "", false,
		},
		{
			"GO of an export that does not open is ERR_UNKNOWN with its message", flags3 + nbdtest.HexOption + "00000007 0000000c" + "00000006 62726f6b656e 0000",
			hexReply + "00000007 80000006 00000019" + hex.EncodeToString([]byte("can_fua failed for broken")), "", false,
		},
		{
			"GO without asking for the block size that matters is ERR_BLOCK_SIZE_REQD", flags3 + nbdtest.HexOption + "00000007 0000000c" + "00000006 636f61727365 0000",
			hexReply + "00000007 80000008 00000000", "", false,
		},
		{
			"GO with a name longer than its data is ERR_INVALID", flags3 + nbdtest.HexOption + "00000007 00000007" + "00000002 66 0000",
			hexReply + "00000007 80000003" + nbdtest.HexString("malformed name or information requests"), "", false,
		},
		{
			"GO with fewer requests than it counts is ERR_INVALID", flags3 + nbdtest.HexOption + "00000007 00000007" + "00000001 66 0001",
			hexReply + "00000007 80000003" + nbdtest.HexString("malformed name or information requests"), "", false,
		},
		{
			"a name with a NUL is ERR_INVALID", flags3 + nbdtest.HexOption + "00000007 00000007" + "00000001 00 0000",
			hexReply + "00000007 80000003" + nbdtest.HexString("malformed name or information requests"), "", false,
		},
		{
			"LIST", flags3 + nbdtest.HexOption + "00000003 00000000",
			hexReply + "00000003 00000002 0000000e 00000004 6469736b 6d656d6f7279" + hexReply + "00000003 00000002 00000005 00000001 66" +
				hexReply + "00000003 00000002 0000000a 00000006 636f61727365" + hexReply + "00000003 00000002 0000000a 00000006 62726f6b656e" +
				hexReply + "00000003 00000001 00000000", "", false,
		},
		{
			"LIST with data is ERR_INVALID", flags3 + nbdtest.HexOption + "00000003 00000001 00",
			hexReply + "00000003 80000003" + nbdtest.HexString("LIST has no data"), "", false,
		},
		{"ABORT is acknowledged, its data ignored", flags3 + nbdtest.HexOption + "00000002 00000002 abcd", hexReply + "00000002 00000001 00000000", "", true},
		{"STARTTLS is ERR_POLICY", flags3 + nbdtest.HexOption + "00000005 00000000", hexReply + "00000005 80000002" + nbdtest.HexString("this server has no TLS"), "", false},
		{"an unknown option is ERR_UNSUP", flags3 + nbdtest.HexOption + "000000ff 00000001 00", hexReply + "000000ff 80000001 00000000", "", false},
		{
			"an unknown option of great length is skipped", flags3 + nbdtest.HexOption + "000000ff 00020000" + strings.Repeat("ee", 0x20000) + nbdtest.HexOption + "000000fe 00000000",
			hexReply + "000000ff 80000001 00000000" + hexReply + "000000fe 80000001 00000000", "", false,
		},
		{
			"a GO of great length is ERR_TOO_BIG", flags3 + nbdtest.HexOption + "00000007 00020000" + strings.Repeat("ee", 0x20000),
			hexReply + "00000007 80000009" + nbdtest.HexString("the option's data is too long"), "", false,
		},
		{"an option beyond all bounds drops the connection", flags3 + nbdtest.HexOption + "000000ff 04000001", "", "", true},
		{"a bad option magic drops the connection", flags3 + "0000000000000000 00000001 00000000", "", "", true},
		{
			"too many options drop the connection", flags3 + strings.Repeat(nbdtest.HexOption+"000000fe 00000000", MaxOptions+1),
			strings.Repeat(hexReply+"000000fe 80000001 00000000", MaxOptions), "", true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := nbdtest.Unhex(t, hexGreeting+test.want)
			for _, chunk := range []int{1 << 20, 1, 7} {
				h := NewServerHandshake(testExports(), ConnInfo{})
				got := feed(h, nbdtest.Unhex(t, test.send), chunk)
				if !bytes.Equal(got, want) {
					t.Fatalf("in pieces of %d\ngot  %x\nwant %x", chunk, got, want)
				}
				checkEnd(t, h, test.chosen, test.ended)
			}
		})
	}
}

// end is either end of the negotiation.
type end interface {
	Feed(b []byte)
	Output() []byte
	Done() bool
	Err() error
}

// feed gives b to h in pieces and gathers what it answers.
func feed(h end, b []byte, chunk int) []byte {
	out := h.Output()
	for len(b) > 0 && !h.Done() {
		n := min(chunk, len(b))
		h.Feed(b[:n])
		b = b[n:]
		out = append(out, h.Output()...)
	}
	return out
}

func checkEnd(t *testing.T, h *ServerHandshake, chosen string, ended bool) {
	t.Helper()
	e, dev := h.Chosen()
	switch {
	case ended != (h.Err() != nil):
		t.Errorf("error %v", h.Err())
	case (chosen != "") != (e != nil && dev != nil):
		t.Errorf("chose %v", e)
	case e != nil && (e.Name != chosen || !h.Done()):
		t.Errorf("chose %q", e.Name)
	}
}

func TestBytesAfterTheHandshakeAreKept(t *testing.T) {
	h := NewServerHandshake(testExports(), ConnInfo{})
	h.Feed(nbdtest.Unhex(t, "00000003"+nbdtest.HexOption+"00000001 00000000"+"25609513"))
	if !h.Done() || !bytes.Equal(h.Rest(), nbdtest.Unhex(t, "25609513")) {
		t.Errorf("done %v, rest %x", h.Done(), h.Rest())
	}
}

func TestInfoThenGoOpensOnce(t *testing.T) {
	opened := 0
	dev := nbdtest.NewRAM(sim.NewLoop(), nbdtest.Size)
	h := NewServerHandshake([]*Export{{Name: "x", Open: func(ConnInfo) (devices.Device, error) {
		opened++
		return dev, nil
	}}}, ConnInfo{})
	h.Feed(nbdtest.Unhex(t, "00000003"+nbdtest.HexOption+"00000006 00000007 00000001 78 0000"+nbdtest.HexOption+"00000007 00000007 00000001 78 0000"))
	if opened != 1 || !h.Done() || h.Err() != nil {
		t.Errorf("opened %d times, done %v, %v", opened, h.Done(), h.Err())
	}
}

// Each transcript is what the server sends, what the client answers, and what
// it knows then.
func TestClientTranscripts(t *testing.T) {
	const goF = nbdtest.HexOption + "00000007 0000000d" + "00000001 66 0003 0001 0002 0003"
	const info = hexReply + "00000007 00000003 0000000c 0000 0000000000002000 000d"
	const ack = hexReply + "00000007 00000001 00000000"
	for _, test := range []struct {
		name, send, want string
		fails            bool
	}{
		{"GO", hexGreeting + info + ack, "00000003" + goF, false},
		{"GO with unknown information", hexGreeting + info + hexReply + "00000007 00000003 00000003 0063 aa" + ack, "00000003" + goF, false},
		{"GO that is not known falls back to EXPORT_NAME", hexGreeting + hexReply + "00000007 80000001 00000000" + "0000000000002000 000d", "00000003" + goF + nbdtest.HexOption + "00000001 00000001 66", false},
		{"only the flags that both know", "4e42444d41474943 49484156454f5054 ff01" + info + ack, "00000001" + goF, false},
		{"a server without fixed newstyle", "4e42444d41474943 49484156454f5054 0000" + "0000000000002000 000d" + strings.Repeat("00", 124), "00000000" + nbdtest.HexOption + "00000001 00000001 66", false},
		{"an error is reported, and the session aborted", hexGreeting + hexReply + "00000007 80000006" + nbdtest.HexString("no"), "00000003" + goF + nbdtest.HexOption + "00000002 00000000", true},
		{"oldstyle is refused", "4e42444d41474943 00420281861253 00 0000", "", true},
		{"an ACK without EXPORT", hexGreeting + ack, "00000003" + goF, true},
		{"a reply to what was not asked", hexGreeting + hexReply + "00000006 00000001 00000000", "00000003" + goF, true},
		{"a reply beyond all bounds", hexGreeting + hexReply + "00000007 00000003 00100000", "00000003" + goF, true},
		{"a SERVER in answer to GO", hexGreeting + hexReply + "00000007 00000002 00000000", "00000003" + goF, true},
		{"a minimum block that is no power of 2", hexGreeting + hexReply + "00000007 00000003 0000000e 0003 00000003 00001000 02000000", "00000003" + goF, true},
		{"a short EXPORT", hexGreeting + hexReply + "00000007 00000003 00000004 0000 0000", "00000003" + goF, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, chunk := range []int{1 << 20, 1} {
				h := NewClientHandshake(OptGo, "f")
				got := feed(h, nbdtest.Unhex(t, test.send), chunk)
				if want := nbdtest.Unhex(t, test.want); !bytes.Equal(got, want) {
					t.Fatalf("in pieces of %d\ngot  %x\nwant %x", chunk, got, want)
				}
				if !h.Done() || test.fails != (h.Err() != nil) {
					t.Errorf("done %v, error %v", h.Done(), h.Err())
				}
				if x := h.Export(); !test.fails && (x.Size != 0x2000 || x.Flags != HasFlags|SendFlush|SendFUA) {
					t.Errorf("learnt %+v", x)
				}
			}
		})
	}
}

func TestBothEndsAgree(t *testing.T) {
	client, server := NewClientHandshake(OptGo, ""), NewServerHandshake(testExports(), ConnInfo{})
	if err := Negotiate(client, server); err != nil {
		t.Fatal(err)
	}
	e, dev := server.Chosen()
	info := dev.Info()
	if got, want := client.Export(), e.describe(&info); got != want {
		t.Errorf("the client learnt %+v\nof %+v", got, want)
	}
}

func TestRefusalReachesTheClientWithItsMessage(t *testing.T) {
	err := Negotiate(NewClientHandshake(OptGo, "broken"), NewServerHandshake(testExports(), ConnInfo{}))
	var refusal *OptionError
	if !errors.As(err, &refusal) || refusal.Reply != RepErrUnknown || refusal.Message != "can_fua failed for broken" {
		t.Errorf("got %v", err)
	}
}

// TestOptionsGrowWithTheExportsThatWereListed: a client may ask about each.
func TestOptionsGrowWithTheExportsThatWereListed(t *testing.T) {
	const list, other = nbdtest.HexOption + "00000003 00000000", nbdtest.HexOption + "000000fe 00000000"
	exports := testExports()
	for _, test := range []struct {
		first string
		most  int
	}{{other, MaxOptions}, {list, MaxOptions * (1 + len(exports))}, {list + list, MaxOptions * (1 + len(exports))}} {
		h := NewServerHandshake(exports, ConnInfo{})
		before := nbdtest.Unhex(t, "00000003"+test.first)
		feed(h, before, len(before))
		one := nbdtest.Unhex(t, other)
		n := len(before) / len(one)
		for ; !h.Done() && n < 2*test.most; n++ {
			feed(h, one, len(one))
		}
		if n-1 != test.most {
			t.Errorf("after %s the server took %d options, expected %d", test.first, n-1, test.most)
		}
	}
}

// TestOptionsWaitWhileOutputIsNotTaken: LIST is answered with more than it has
// itself, and a client may send many before it reads.
func TestOptionsWaitWhileOutputIsNotTaken(t *testing.T) {
	dev := nbdtest.NewRAM(sim.NewLoop(), nbdtest.Size)
	var exports []*Export
	for i := range 500 {
		exports = append(exports, &Export{Name: fmt.Sprintf("%0200d", i), Device: dev})
	}
	h := NewServerHandshake(exports, ConnInfo{})
	const lists = 20
	h.Feed(nbdtest.Unhex(t, "00000003"+strings.Repeat(nbdtest.HexOption+"00000003 00000000", lists)))
	total, longest := 0, 0
	for out := h.Output(); len(out) > 0; out = h.Output() {
		total, longest = total+len(out), max(longest, len(out))
		h.Feed(nil)
	}
	one := len(exports)*(OptionReplySize+4+200) + OptionReplySize
	if want := GreetingSize + lists*one; total != want {
		t.Errorf("%d bytes of output, expected %d", total, want)
	}
	if longest > maxUnsent+one {
		t.Errorf("%d bytes waited to be taken, expected at most those of one answer more than %d", longest, maxUnsent)
	}
}

func TestListNamesAllExports(t *testing.T) {
	client, server := NewClientHandshake(OptList, ""), NewServerHandshake(testExports(), ConnInfo{})
	_ = Negotiate(client, server) // ends by ABORT
	if got := strings.Join(client.Names(), " "); got != "disk f coarse broken" || client.Err() != nil {
		t.Errorf("listed %q, %v", got, client.Err())
	}
}
