package nbd

import (
	"context"
	"fmt"
	"math/bits"

	"nbdbench/devices"
)

// ConnInfo says who asks for an export.
type ConnInfo struct {
	ID     uint32 // the connection, unique in a server's life
	Export string // the name that the client asked for
	Remote string // the peer's address; empty on a virtual wire
	TLS    bool   // the client asks over TLS
	// Fail ends the connection because of its device: what is in flight is answered,
	// and nothing more is read. On the loop; nil on a virtual wire.
	Fail func()
}

// Session is an export opened for one connection.
type Session struct {
	Device devices.Device
	// Description takes the place of the export's, unless it is empty.
	Description string
	// Close is called on the loop, once, when the connection has no more use of the
	// device. nil is nothing.
	Close func()
}

// ExportName is an entry of the answer to LIST.
type ExportName struct{ Name, Description string }

// Export is a device under a name. The device has its server-side layers on;
// what it says of itself is what is advertised, unless overridden.
type Export struct {
	Name        string // empty is the default export
	Description string
	Device      devices.Device
	// Open, where set, makes the device for one connection in place of Device. It
	// runs on the loop. Its error refuses the connection, with its message.
	Open func(ConnInfo) (devices.Device, error)
	// Connect, where set, is used in place of Open and may take its time: the goroutine
	// of the connection calls it, without the loop, and ends ctx when the server ends.
	// A connection has one session at a time.
	Connect func(ctx context.Context, c ConnInfo) (Session, error)
	// AnyName has the export serve the names that no other one has, too.
	AnyName bool
	// List, where set, says under which names the export is to be listed to a client that
	// has not chosen yet. It is called as Connect is.
	List func(ctx context.Context, c ConnInfo) ([]ExportName, error)

	ReadOnly bool
	// Set and Clear override what is advertised, for experiments. An FUA or FLUSH
	// that is advertised for a device without it is accepted and does nothing.
	Set, Clear TransmissionFlags
}

// ExportInfo is what a server tells a client about an export.
type ExportInfo struct {
	Name        string
	Description string
	Size        uint64
	Flags       TransmissionFlags

	MinBlock       uint32 // bytes: requests are aligned to it
	PreferredBlock uint32 // bytes
	MaxPayload     uint32 // bytes of data in one READ or WRITE

	Dialect // in which one talks about it
}

// in returns x as it is in a dialect: "Transmission flags", SEND_DF needs
// structured replies.
func (x ExportInfo) in(d Dialect) ExportInfo {
	x.Dialect = d
	if d.Structured {
		x.Flags |= SendDF
	}
	return x
}

func (e *Export) open(c ConnInfo) (devices.Device, error) {
	if e.Open != nil {
		return e.Open(c)
	}
	if e.Device == nil {
		return nil, fmt.Errorf("export %q has no device", e.Name)
	}
	return e.Device, nil
}

// describe is what e's clients are sent about a device with this info.
func (e *Export) describe(info *devices.Info) ExportInfo {
	x := ExportInfo{
		Name: e.Name, Description: e.Description, Size: info.Size, Flags: e.flags(info),
		MinBlock: max(info.MinIO, 1), MaxPayload: info.MaxPayload,
	}
	if bits.OnesCount32(x.MinBlock) != 1 || x.MinBlock > 64<<10 {
		panic(fmt.Sprintf("nbd: a minimum block of %d bytes: the protocol has powers of 2 up to 64 KiB", x.MinBlock))
	}
	if x.MaxPayload == 0 {
		x.MaxPayload = DefaultMaxPayload
	}
	x.MaxPayload = min(x.MaxPayload, maxSkip)
	x.PreferredBlock = preferred(info.PreferredIO, x.MinBlock, x.MaxPayload)
	x.Size -= x.Size % uint64(x.MinBlock)
	return x
}

// preferred is the power of 2 that the protocol wants as the preferred block:
// at least 512 and the minimum, and at most the maximum ("Block size
// constraints").
func preferred(want, least, most uint32) uint32 {
	if want == 0 {
		want = 4096
	}
	want = uint32(1) << (bits.Len32(want) - 1)
	return min(max(want, least, 512), max(most, least))
}

// flags: "Transmission flags": FLUSH and FUA are independent of each other,
// FAST_ZERO needs WRITE_ZEROES, and CAN_MULTI_CONN promises one cache for all
// connections, which is the device's to promise.
func (e *Export) flags(info *devices.Info) TransmissionFlags {
	readOnly := e.ReadOnly || info.ReadOnly
	f := HasFlags
	for _, x := range []struct {
		on   bool
		flag TransmissionFlags
	}{
		{readOnly, ReadOnly},
		{info.CanFlush, SendFlush},
		{!readOnly && info.FUA != devices.FUANone, SendFUA},
		{info.Rotational, Rotational},
		{!readOnly && info.CanTrim, SendTrim},
		{!readOnly && info.CanZero, SendWriteZeroes},
		{!readOnly && info.CanZero && info.CanFastZero, SendFastZero},
		{info.MultiConn, CanMultiConn},
		{info.CanCache, SendCache},
	} {
		if x.on {
			f |= x.flag
		}
	}
	return (f | e.Set) &^ e.Clear
}

// Info is what a client's Device says, knowing only what the server sent. What
// lies behind FUA cannot be seen from here: it counts as native. A server that
// takes FLUSH is assumed to have a volatile cache.
func (x *ExportInfo) Info() devices.Info {
	has := func(f TransmissionFlags) bool { return x.Flags&f != 0 }
	info := devices.Info{
		Size:         x.Size,
		LogicalBlock: max(devices.Sector, x.MinBlock), AtomicUnit: max(devices.Sector, x.MinBlock),
		MinIO: x.MinBlock, PreferredIO: x.PreferredBlock, MaxPayload: x.MaxPayload,
		CanFlush: has(SendFlush), CanTrim: has(SendTrim), CanZero: has(SendWriteZeroes),
		CanFastZero: has(SendFastZero), CanCache: has(SendCache), MultiConn: has(CanMultiConn),
		Rotational: has(Rotational), ReadOnly: has(ReadOnly),
	}
	if has(SendFUA) {
		info.FUA = devices.FUANative
	}
	if info.CanFlush {
		info.Cache = devices.CacheVolatile
	}
	return info
}
