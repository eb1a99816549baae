package nbd

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

// FuzzServerConn feeds any bytes to a ServerConn as a stream of requests. It
// must answer each request once, with an error value that the protocol has, and
// must hand the device nothing that was not advertised or lies outside of it.
func FuzzServerConn(f *testing.F) {
	f.Add(uint16(everything), encode(Header{Op: devices.OpWrite, Flags: devices.FUA, Length: 2}, 1, 2))
	f.Add(uint16(HasFlags), append(encode(Header{Op: devices.OpRead, Offset: 1<<64 - 1, Length: 2}), encode(Header{Op: devices.OpFlush})...))
	f.Add(uint16(everything|ReadOnly), encode(Header{Op: devices.OpWriteZeroes, Flags: devices.FastZero, Length: 1<<32 - 1}))
	f.Add(uint16(everything), encode(Header{Op: cmdDisc}))
	f.Fuzz(func(t *testing.T, advertised uint16, in []byte) {
		loop, out := sim.NewLoop(), &replies{}
		d := newRAM(loop, testSize)
		s := NewServerConn(loop, &Export{}, d, 0, out)
		s.info.Flags, s.dev = TransmissionFlags(advertised)|HasFlags, &strict{d, t, &s.info}
		want := stream(s, in)
		loop.Run(sim.Never)
		if len(out.got) != want || s.InFlight() != 0 || s.bytes != 0 {
			t.Fatalf("%d replies to %d requests, %d left", len(out.got), want, s.InFlight())
		}
		for _, r := range out.got {
			if r.Errno != knownErrno(r.Errno) || r.Errno == devices.ENOTSUP || r.Errno == devices.EOVERFLOW {
				t.Errorf("replied %v", r.Errno)
			}
		}
	})
}

// stream parses in and gives it to s, and returns how many replies are due.
func stream(s *ServerConn, in []byte) (due int) {
	var h Header
	for len(in) >= RequestSize && !s.Disconnected() && DecodeHeader((*[RequestSize]byte)(in), &h) == nil {
		in = in[RequestSize:]
		n := int(s.info.payload(&h))
		if n < 0 || n > len(in) {
			return due
		}
		s.Receive(&h, devices.Payload{}, 0)
		if in = in[n:]; h.Op != cmdDisc {
			due++
		}
	}
	return due
}

// strict is a device that takes nothing that a server should have refused.
type strict struct {
	*ram
	t    *testing.T
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
	d.ram.Submit(r)
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
	f.Add(true, unhex(f, "00000003"+hexOption+"00000007 00000007 00000001 66 0000"))
	f.Add(true, unhex(f, "00000001"+hexOption+"00000003 00000000"+hexOption+"00000001 00000000"))
	f.Add(true, unhex(f, "00000003"+hexOption+"0000000a 00000003 010203"+hexOption+"00000002 00000000"))
	f.Add(false, unhex(f, hexGreeting+hexReply+"00000007 80000001 00000000 0000000000002000 000d"))
	f.Add(false, unhex(f, hexGreeting+hexReply+"00000007 00000003 0000000c 0000 0000000000002000 000d"+hexReply+"00000007 00000001 00000000"))
	exports := testExports()
	f.Fuzz(func(t *testing.T, server bool, in []byte) {
		begin := func() engine { return NewClientHandshake(OptGo, "f") }
		if server {
			begin = func() engine { return NewServerHandshake(exports, ConnInfo{}) }
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

// FuzzURI: what parses prints to what parses the same.
func FuzzURI(f *testing.F) {
	f.Add("nbd://host/x")
	f.Add("nbd+unix:///e%20f?socket=/a%26b")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		if back, err := ParseURI(u.String()); err != nil || back != u {
			t.Errorf("%q: %+v prints as %q, which is %+v, %v", s, u, u, back, err)
		}
	})
}
