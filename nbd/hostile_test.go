package nbd

import (
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// exchanges is how many broken exchanges a test goes through: NBDBENCH_EXCHANGES
// of them, or a slice that takes a second or two.
func exchanges(t *testing.T) int {
	if s := os.Getenv("NBDBENCH_EXCHANGES"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 5_000
	}
	return 200_000
}

// maxPerExchange bounds what an exchange allocates on average, in bytes. Those
// here are a few kilobytes long; a length that was believed would be seen.
const maxPerExchange = 32 << 10

// TestBrokenExchanges: corrupt, truncated and random bytes to either end, in
// pieces of any size: no panic, no request unanswered, nothing allocated for a
// length that a peer only claims, and no error but the documented ones.
func TestBrokenExchanges(t *testing.T) {
	n, exports := exchanges(t), testExports()
	const batch = 500
	var before, after runtime.MemStats
	worst := uint64(0)
	for i := 0; i < n; i += batch {
		runtime.ReadMemStats(&before)
		for j := i; j < min(i+batch, n); j++ {
			brokenExchange(t, exports, rand.New(rand.NewPCG(1, uint64(j))))
			if t.Failed() {
				t.Fatalf("in exchange %d", j)
			}
		}
		runtime.ReadMemStats(&after)
		worst = max(worst, (after.TotalAlloc-before.TotalAlloc)/batch)
	}
	if worst > maxPerExchange {
		t.Errorf("%d bytes allocated for an exchange, expected at most %d", worst, maxPerExchange)
	}
	t.Logf("%d exchanges, at most %d bytes allocated for one, on average of %d", n, worst, batch)
}

func brokenExchange(t *testing.T, exports []*Export, r *rand.Rand) {
	dialect := r.IntN(len(allDialects))
	switch r.IntN(4) {
	case 0:
		brokenNegotiation(t, exports, r, dialect)
	case 1:
		clientNegotiation(t, r, damage(r, serverTalk(t, exports, dialect)))
	case 2:
		serveStream(t, everything, allDialects[dialect], damage(r, requestTalk(r, allDialects[dialect])))
	default:
		clientStream(t, allDialects[dialect], damage(r, replyTalk(r, allDialects[dialect])))
	}
}

// damage breaks b: some bytes changed, cut off, or nothing but noise.
func damage(r *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	switch r.IntN(4) {
	case 0:
		return b[:r.IntN(len(b)+1)]
	case 1:
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	case 2: // a length or a number made great, where there is one
		if len(b) >= 4 {
			copy(b[r.IntN(len(b)/4)*4:], []byte{byte(r.Uint32()), 0xff, 0xff, 0xff})
		}
	default:
		for range 1 + r.IntN(3) {
			if len(b) > 0 {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
		}
	}
	return b
}

// negotiations are what a client sends for each dialect.
var negotiations = []string{
	"00000003" + nbdtest.HexGoF,
	"00000003" + nbdtest.HexStructuredReply + nbdtest.HexOption + "0000000a 00000020 00000001 66 00000001 0000000f" + nbdtest.HexBaseAllocation + nbdtest.HexGoF,
	"00000003" + nbdtest.HexExtendedHeaders + nbdtest.HexOption + "00000005 00000000",
}

// brokenNegotiation has a server take a broken client's part.
func brokenNegotiation(t *testing.T, exports []*Export, r *rand.Rand, dialect int) {
	h := NewServerHandshake(exports, ConnInfo{})
	h.Offer(TLSPolicy(r.IntN(3)))
	in := damage(r, nbdtest.Unhex(t, negotiations[dialect]))
	feed(h, in, 1+r.IntN(len(in)+1))
	var protocol *ProtocolError
	if err := h.Err(); err != nil && !errors.As(err, &protocol) && !errors.Is(err, ErrEnded) &&
		!errors.Is(err, errNoExport) && !errors.Is(err, errBadName) {
		t.Errorf("ended with %v", err)
	}
}

// serverTalk is what a server sends in a dialect's negotiation.
func serverTalk(t *testing.T, exports []*Export, dialect int) []byte {
	return feed(NewServerHandshake(exports, ConnInfo{}), nbdtest.Unhex(t, negotiations[dialect]), 1<<20)
}

func clientNegotiation(t *testing.T, r *rand.Rand, in []byte) {
	h := NewClientHandshake([]Option{OptGo, OptInfo, OptList}[r.IntN(3)], "f")
	h.SetOptions(ClientOptions{Structured: r.IntN(2) == 0, Extended: r.IntN(2) == 0, Allocation: r.IntN(2) == 0, TLS: r.IntN(8) == 0})
	feed(h, in, 1+r.IntN(len(in)+1))
	var protocol *ProtocolError
	var option *OptionError
	if err := h.Err(); err != nil && !errors.As(err, &protocol) && !errors.As(err, &option) && !h.Done() {
		t.Errorf("ended with %v", err)
	}
}

// requestTalk is some requests, most of which could be served.
func requestTalk(r *rand.Rand, d Dialect) (b []byte) {
	for range 1 + r.IntN(8) {
		h := Header{Op: devices.Op(r.IntN(9)), Cookie: r.Uint64(), Offset: uint64(r.IntN(nbdtest.Size)), Length: uint64(r.IntN(2048)), Flags: devices.Flags(1<<r.IntN(8)) & devices.Flags(r.IntN(256))}
		var head [MaxHeaderSize]byte
		b = append(b, head[:d.EncodeRequest(&head, &h)]...)
		b = append(b, make([]byte, min(d.PayloadSize(&h), 2048))...)
	}
	return b
}

// replyTalk is some replies to the three requests of clientStream.
func replyTalk(r *rand.Rand, d Dialect) (b []byte) {
	status := &devices.BlockStatus{Extents: []devices.StatusExtent{{Length: 512, Flags: 3}}}
	for range 1 + r.IntN(4) {
		which := r.IntN(3)
		reply := Reply{Op: []devices.Op{devices.OpRead, devices.OpBlockStatus, devices.OpWrite}[which], Cookie: uint64(which)}
		switch {
		case r.IntN(4) == 0:
			reply.Errno = devices.EIO
		case which == 0:
			reply.Data = 512
		case which == 1:
			reply.Data, reply.Status = uint32(d.descriptorSize()), status
		}
		var head [MaxHeaderSize]byte
		b = append(b, head[:d.EncodeReply(&head, &reply)]...)
		data := make([]byte, reply.Data)
		if which == 1 && reply.Data > 0 {
			d.PutStatus(data, status)
		}
		b = append(b, data...)
	}
	return b
}

// TestMisalignedRequestsAreRefusedAndTheConnectionGoesOn over a socket, of every
// command, where the minimum block is 4 KiB.
func TestMisalignedRequestsAreRefusedAndTheConnectionGoesOn(t *testing.T) {
	loop := sim.NewLoop()
	d := nbdtest.NewRAM(loop, nbdtest.Size)
	d.Desc.MinIO = 4096
	for _, test := range []struct {
		op         devices.Op
		off, n     uint64
		want       devices.Errno
		whatItDoes string
	}{
		{devices.OpRead, 512, 4096, devices.EINVAL, "offset"},
		{devices.OpRead, 4096, 512, devices.EINVAL, "length"},
		{devices.OpWrite, 512, 4096, devices.EINVAL, "offset"},
		{devices.OpTrim, 4096, 4097, devices.EINVAL, "length"},
		{devices.OpWriteZeroes, 1, 4096, devices.EINVAL, "offset"},
		{devices.OpCache, 4096, 100, devices.EINVAL, "length"},
		{devices.OpRead, 4096, 4096, devices.OK, "nothing"},
	} {
		out := &replies{}
		s := NewServerConn(loop, &Export{}, d, 0, out)
		h := Header{Op: test.op, Offset: test.off, Length: test.n}
		s.Receive(&h, devices.Payload{Bytes: make([]byte, test.n)}, loop.Now())
		loop.Run(sim.Never)
		if got := out.last().Errno; got != test.want {
			t.Errorf("%v with %s misaligned: %v, want %v", test.op, test.whatItDoes, got, test.want)
		}
	}
}
