package nbd

import (
	"encoding/hex"
	"errors"
	"testing"

	"nbdbench/devices"
)

func TestRequestHeaderOnTheWire(t *testing.T) {
	h := Header{Flags: devices.FUA, Op: devices.OpWrite, Cookie: 0x0102030405060708, Offset: 0x1112131415161718, Length: 0x21222324}
	var b [RequestSize]byte
	EncodeHeader(&b, &h)
	const want = "25609513" + "0001" + "0001" + "0102030405060708" + "1112131415161718" + "21222324"
	if got := hex.EncodeToString(b[:]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back Header
	if err := DecodeHeader(&b, &back); err != nil || back != h {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

func TestSimpleReplyOnTheWire(t *testing.T) {
	var b [RequestSize]byte
	EncodeReply(&b, devices.ENOSPC, 0x0102030405060708)
	const want = "67446698" + "0000001c" + "0102030405060708"
	if got := hex.EncodeToString(b[:ReplySize]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e, cookie, err := DecodeReply(&b)
	if e != devices.ENOSPC || cookie != 0x0102030405060708 || err != nil {
		t.Errorf("came back as %v %#x %v", e, cookie, err)
	}
}

func TestBadMagicIsAProtocolError(t *testing.T) {
	var b [RequestSize]byte
	var want *ProtocolError
	if err := DecodeHeader(&b, &Header{}); !errors.As(err, &want) {
		t.Errorf("request: %v", err)
	}
	if _, _, err := DecodeReply(&b); !errors.As(err, &want) {
		t.Errorf("reply: %v", err)
	}
}

func TestCommandBeyond255IsUnknown(t *testing.T) {
	var b [RequestSize]byte
	EncodeHeader(&b, &Header{})
	b[6], b[7] = 1, 1 // 257, whose low byte is WRITE
	var h Header
	if err := DecodeHeader(&b, &h); err != nil || h.Op != opUnknown {
		t.Errorf("decoded as %v, %v", h.Op, err)
	}
}

func TestUnexpectedErrorValueIsEINVAL(t *testing.T) {
	var b [RequestSize]byte
	EncodeReply(&b, 2, 0)
	if e, _, err := DecodeReply(&b); e != devices.EINVAL || err != nil {
		t.Errorf("ENOENT arrives as %v, %v", e, err)
	}
}

func TestErrorsThatGoOnTheWire(t *testing.T) {
	for _, test := range []struct {
		e     devices.Errno
		flags devices.Flags
		want  devices.Errno
	}{
		{devices.OK, 0, devices.OK},
		{devices.EPERM, 0, devices.EPERM},
		{devices.EIO, 0, devices.EIO},
		{devices.ENOMEM, 0, devices.ENOMEM},
		{devices.ENOSPC, 0, devices.ENOSPC},
		{devices.ESHUTDOWN, 0, devices.ESHUTDOWN},
		{devices.ENOTSUP, 0, devices.EINVAL},
		{devices.ENOTSUP, devices.FUA, devices.EINVAL},
		{devices.ENOTSUP, devices.FastZero, devices.ENOTSUP},
		{devices.EOVERFLOW, 0, devices.EINVAL},
		{devices.EOVERFLOW, devices.DF, devices.EOVERFLOW},
		{17, 0, devices.EINVAL},
	} {
		if got := replyErrno(test.e, test.flags); got != test.want {
			t.Errorf("%v with flags %#x goes out as %v, want %v", test.e, test.flags, got, test.want)
		}
	}
}
