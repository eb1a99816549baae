package nbd

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/nbdtest"
	"nbdbench/sim"
)

// FuzzServerConn feeds any bytes to a ServerConn as a stream of requests. It
// must answer each request once, with an error value that the protocol has, and
// must hand the device nothing that was not advertised or lies outside of it.
func FuzzServerConn(f *testing.F) {
	f.Add(uint16(everything), uint8(0), encode(Header{Op: devices.OpWrite, Flags: devices.FUA, Length: 2}, 1, 2))
	f.Add(uint16(HasFlags), uint8(0), append(encode(Header{Op: devices.OpRead, Offset: 1<<64 - 1, Length: 2}), encode(Header{Op: devices.OpFlush})...))
	f.Add(uint16(everything|ReadOnly), uint8(1), encode(Header{Op: devices.OpWriteZeroes, Flags: devices.FastZero, Length: 1<<32 - 1}))
	f.Add(uint16(everything), uint8(1), encode(Header{Op: CmdDisc}))
	f.Add(uint16(everything), uint8(2), encodeExt(Header{Op: devices.OpBlockStatus, Length: 1 << 40}))
	f.Add(uint16(everything), uint8(2), encodeExt(Header{Op: devices.OpWrite, Flags: devices.PayloadLen, Length: 2}, 1, 2))
	f.Fuzz(func(t *testing.T, advertised uint16, dialect uint8, in []byte) {
		serveStream(t, TransmissionFlags(advertised)|HasFlags, allDialects[int(dialect)%len(allDialects)], in)
	})
}

// allDialects are those that two ends can agree on.
var allDialects = []Dialect{{}, {Structured: true, Allocation: true, AllocationID: allocationID}, {Structured: true, Extended: true, Allocation: true, AllocationID: allocationID}}

func encodeExt(h Header, data ...byte) []byte {
	var b [ExtRequestSize]byte
	EncodeExtHeader(&b, &h)
	return append(b[:], data...)
}

// fuzzRAM has the memory that all streams are served from: a million of them
// need not each have their own.
var fuzzRAM = nbdtest.NewRAM(nil, nbdtest.Size)

// serveStream has a ServerConn serve a stream, and checks what it answers.
func serveStream(t testing.TB, advertised TransmissionFlags, d Dialect, in []byte) {
	loop, out := sim.NewLoop(), &replies{}
	dev := *fuzzRAM
	dev.Loop = loop
	s := NewServerConn(loop, &Export{}, &dev, 0, out)
	s.SetDialect(d)
	s.info.Flags, s.dev = advertised, &strict{&dev, t, &s.info}
	want := stream(s, in)
	loop.Run(sim.Never)
	if len(out.got) != want || s.InFlight() != 0 || s.bytes != 0 {
		t.Fatalf("%d replies to %d requests, %d left", len(out.got), want, s.InFlight())
	}
	for _, r := range out.got {
		if r.Errno != knownErrno(r.Errno) || r.Errno == devices.ENOTSUP || r.Errno == devices.EOVERFLOW {
			t.Errorf("replied %v", r.Errno)
		}
		var b [MaxHeaderSize]byte
		var c Chunk
		n := d.EncodeReply(&b, &r)
		if size, err := d.DecodeReply(b[:n], &c); err != nil || size > n || c.Cookie != r.Cookie {
			t.Errorf("%+v was encoded to what is read as %+v, %v", r, c, err)
		}
	}
}

// stream parses in and gives it to s, and returns how many replies are due.
func stream(s *ServerConn, in []byte) (due int) {
	var h Header
	d := &s.info.Dialect
	for n := d.HeaderSize(); len(in) >= n && !s.Disconnected() && d.DecodeRequest(in[:n], &h) == nil; {
		in = in[n:]
		data := d.PayloadSize(&h)
		if data > uint64(len(in)) {
			return due
		}
		s.Receive(&h, devices.Payload{}, 0)
		if in = in[data:]; h.Op != CmdDisc {
			due++
		}
	}
	return due
}

// strict is a device that takes nothing that a server should have refused.
type strict struct {
	*nbdtest.RAM
	t    testing.TB
	info *ExportInfo
}

func (d *strict) Submit(r *devices.Request) {
	if r.Op != devices.OpFlush && (r.Length == 0 || r.Offset >= d.info.Size || r.Length > d.info.Size-r.Offset) {
		d.t.Errorf("%v lies outside", r)
	}
	if r.Flags&devices.FUA != 0 && (d.info.Flags&SendFUA == 0 || !r.Op.Modifies()) {
		d.t.Errorf("%v has an FUA", r)
	}
	if r.Op.Modifies() && d.info.Flags&ReadOnly != 0 {
		d.t.Errorf("%v on read-only", r)
	}
	d.RAM.Submit(r)
}

// FuzzClientReply feeds any bytes to a Client as replies. Each request must be
// completed exactly once, and an unexpected reply must end the connection.
func FuzzClientReply(f *testing.F) {
	var b [RequestSize]byte
	EncodeReply(&b, devices.EIO, 1)
	f.Add(b[:ReplySize])
	EncodeReply(&b, devices.ESHUTDOWN, 0)
	f.Add(append(b[:ReplySize:ReplySize], b[:ReplySize]...))
	f.Add(make([]byte, ReplySize))
	f.Fuzz(func(t *testing.T, in []byte) {
		const n = 4
		c, _, loop := newClient(everything)
		done := &counter{}
		for range n {
			c.Submit(request(devices.OpWrite, 0, 512, done))
		}
		for len(in) >= ReplySize && c.Err() == nil {
			copy(b[:], in[:ReplySize])
			in = in[ReplySize:]
			e, cookie, err := DecodeReply(&b)
			expected := err == nil && c.Expect(cookie) != nil
			if err != nil {
				c.Fail(err)
			} else {
				err = c.Receive(e, cookie, devices.Payload{})
			}
			if expected != (err == nil) {
				t.Fatalf("cookie %#x: %v", cookie, err)
			}
		}
		c.Fail(ErrCut)
		loop.Run(sim.Never)
		seen := map[*devices.Request]bool{}
		for _, r := range done.done {
			seen[r] = true
		}
		if len(done.done) != n || len(seen) != n || c.InFlight() != 0 {
			t.Fatalf("%d of %d completed, %d times", len(seen), n, len(done.done))
		}
	})
}

// FuzzNegotiation feeds any bytes to either end of the handshake, whole and
// byte by byte. Both ways must give the same bytes and the same end.
func FuzzNegotiation(f *testing.F) {
	f.Add(true, nbdtest.Unhex(f, "00000003"+nbdtest.HexOption+"00000007 00000007 00000001 66 0000"))
	f.Add(true, nbdtest.Unhex(f, "00000003"+nbdtest.HexExtendedHeaders+nbdtest.HexSetMeta("0000000a", "66", nbdtest.HexBaseAllocation)+nbdtest.HexGoF))
	f.Add(true, nbdtest.Unhex(f, "00000003"+nbdtest.HexStructuredReply+nbdtest.HexSetMeta("00000009", "66", nbdtest.HexBase)+nbdtest.HexOption+"00000005 00000000"))
	f.Add(false, nbdtest.Unhex(f, hexGreeting+hexEHAck+hexReply+"0000000a 00000004 00000013 00000001"+nbdtest.HexBaseAllocation+hexReply+"0000000a 00000001 00000000"+hexInfoF("0085")+hexGoFEnd))
	f.Add(true, nbdtest.Unhex(f, "00000001"+nbdtest.HexOption+"00000003 00000000"+nbdtest.HexOption+"00000001 00000000"))
	f.Add(true, nbdtest.Unhex(f, "00000003"+nbdtest.HexOption+"0000000a 00000003 010203"+nbdtest.HexOption+"00000002 00000000"))
	f.Add(false, nbdtest.Unhex(f, hexGreeting+hexReply+"00000007 80000001 00000000 0000000000002000 000d"))
	f.Add(false, nbdtest.Unhex(f, hexGreeting+hexReply+"00000007 00000003 0000000c 0000 0000000000002000 000d"+hexReply+"00000007 00000001 00000000"))
	exports := testExports()
	f.Fuzz(func(t *testing.T, server bool, in []byte) {
		begin := func() end {
			h := NewClientHandshake(OptGo, "f")
			h.SetOptions(ClientOptions{Extended: true, Structured: true, Allocation: true})
			return h
		}
		if server {
			begin = func() end {
				h := NewServerHandshake(exports, ConnInfo{})
				h.Offer(MayTLS)
				return h
			}
		}
		whole, bytewise := begin(), begin()
		a, b := feed(whole, in, len(in)+1), feed(bytewise, in, 1)
		if string(a) != string(b) || whole.Done() != bytewise.Done() || (whole.Err() == nil) != (bytewise.Err() == nil) {
			t.Fatalf("whole: %x, %v; byte by byte: %x, %v", a, whole.Err(), b, bytewise.Err())
		}
	})
}

// FuzzHeader: what decodes encodes to the same bytes.
func FuzzHeader(f *testing.F) {
	f.Add(encode(Header{Op: devices.OpTrim, Flags: devices.FUA, Cookie: 1, Offset: 2, Length: 3}))
	f.Fuzz(func(t *testing.T, in []byte) {
		var h Header
		if len(in) < RequestSize || DecodeHeader((*[RequestSize]byte)(in), &h) != nil || h.Op == opUnknown {
			return
		}
		if out := encode(h); string(out) != string(in[:RequestSize]) {
			t.Errorf("%x became %x", in[:RequestSize], out)
		}
	})
}

// FuzzExtHeader: what decodes encodes to the same bytes.
func FuzzExtHeader(f *testing.F) {
	f.Add(encodeExt(Header{Op: devices.OpTrim, Flags: devices.FUA, Cookie: 1, Offset: 2, Length: 3 << 32}))
	f.Fuzz(func(t *testing.T, in []byte) {
		var h Header
		if len(in) < ExtRequestSize || DecodeExtHeader((*[ExtRequestSize]byte)(in), &h) != nil || h.Op == opUnknown {
			return
		}
		if out := encodeExt(h); string(out) != string(in[:ExtRequestSize]) {
			t.Errorf("%x became %x", in[:ExtRequestSize], out)
		}
	})
}

// FuzzMetaRequest: what parses is made of the same bytes.
func FuzzMetaRequest(f *testing.F) {
	f.Add(nbdtest.Unhex(f, nbdtest.HexMeta("66", nbdtest.HexBase, nbdtest.HexBaseAllocation)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if m, ok := parseMetaRequest(in); ok {
			if out := appendMetaRequest(nil, m); string(out) != string(in) {
				t.Errorf("%x became %x", in, out)
			}
		}
	})
}

// FuzzClientChunks feeds any bytes to a client as a stream of replies, as
// package socket does. Each request must be completed exactly once.
func FuzzClientChunks(f *testing.F) {
	f.Add(uint8(1), nbdtest.Unhex(f, "668e33ef 0001 8001 0000000000000000 00000006 00000005 0000"))
	f.Add(uint8(1), nbdtest.Unhex(f, "668e33ef 0001 0002 0000000000000000 0000000c 0000000000000000 00000200"))
	f.Add(uint8(1), nbdtest.Unhex(f, "668e33ef 0000 0002 0000000000000000 0000000c 0000000000000000 00000100 668e33ef 0001 0002 0000000000000000 0000000c 0000000000000080 00000100"))
	f.Add(uint8(1), nbdtest.Unhex(f, "668e33ef 0000 0002 0000000000000000 0000000c 0000000000000100 00000100 668e33ef 0001 0002 0000000000000000 0000000c 0000000000000000 00000100"))
	f.Add(uint8(1), nbdtest.Unhex(f, "668e33ef 0001 0005 0000000000000001 0000000c 00000001 00000200 00000003"))
	f.Add(uint8(2), nbdtest.Unhex(f, "6e8a278c 0001 0000 0000000000000002 0000000000000000 0000000000000000"))
	f.Fuzz(func(t *testing.T, dialect uint8, in []byte) {
		clientStream(t, allDialects[int(dialect)%len(allDialects)], in)
	})
}

// clientStream has a client with three requests in flight receive a stream.
func clientStream(t testing.TB, d Dialect, in []byte) {
	x := exportWith(everything).in(d)
	loop, done := sim.NewLoop(), &counter{}
	c := NewClient(loop, x, &requests{})
	read, status := request(devices.OpRead, 0, 512, done), request(devices.OpBlockStatus, 0, 512, done)
	read.Bytes, status.Status = make([]byte, 512), &devices.BlockStatus{}
	status.Status.Reset(4)
	c.Submit(read)
	c.Submit(status)
	c.Submit(request(devices.OpWrite, 0, 512, done))
	var k Chunk
	for c.Err() == nil {
		size, err := d.DecodeReply(in, &k)
		if err != nil {
			c.Fail(err)
		} else if len(in) < size || k.Length > uint64(len(in)-size) || k.Simple && d == (Dialect{}) && len(in) < size+512 {
			break // the rest never comes
		} else {
			body := in[size : size+int(k.Length)]
			in = in[size+int(k.Length):]
			if k.Simple && !d.Structured {
				err = c.Receive(k.Errno, k.Cookie, devices.Payload{})
			} else {
				err = c.ReceiveWhole(&k, body)
			}
			if err != nil {
				c.Fail(err)
			}
		}
	}
	c.Fail(ErrCut)
	loop.Run(sim.Never)
	if len(done.done) != 3 || c.InFlight() != 0 {
		t.Fatalf("%d of 3 completed, %d are left", len(done.done), c.InFlight())
	}
}

func encode(h Header, data ...byte) []byte {
	var b [RequestSize]byte
	EncodeHeader(&b, &h)
	return append(b[:], data...)
}
