package plugin

import (
	"context"

	"nbdbench/devices/fua"
)

// ConnInfo says for whom a plugin is opened.
type ConnInfo struct {
	ID       uint32 // the connection, unique in a server's life
	Export   string // the name that the client asked for; empty is the default
	ReadOnly bool   // the connection will not write
	TLS      bool   // the client asks over TLS
}

// ThreadModel is which calls of a plugin may run at once. The four are nbdkit's,
// in its order.
type ThreadModel uint8

// The thread models.
const (
	SerializeConnections ThreadModel = iota // one connection at a time, from open to close
	SerializeAllRequests                    // one data call at a time
	SerializeRequests                       // one data call at a time on each connection
	Parallel                                // any number
)

// Flags are what a data call is asked besides its range.
type Flags uint8

// The flags of data calls.
const (
	FUA      Flags = 1 << iota // the call may not return before its data is durable
	MayTrim                    // PZero may leave a hole
	FastZero                   // PZero fails with devices.ENOTSUP where writing would be as fast
)

// Plugin is a backend. Open is required.
type Plugin struct {
	// Name is for messages; Lookup sets it if it is empty.
	Name string
	// Thread is the most that the plugin allows.
	Thread ThreadModel
	// NonBlocking declares that no call ever waits: calls run where requests are
	// handled, one at a time, not on a worker. No lock is needed, and no call times out.
	NonBlocking bool
	// External declares that calls reach what is outside of this process: a file, a
	// drive, a service. run then needs real time, as what they take cannot be known in
	// virtual time, and the leave to overwrite what is there.
	External bool
	// Open is called for each connection, during its negotiation. Its error refuses
	// the connection, with its message.
	Open func(ctx context.Context, c ConnInfo) (*Conn, error)
	// Exports lists what clients may ask for, for a client that has not chosen yet; nil
	// is the default export alone.
	Exports func(ctx context.Context, c ConnInfo) ([]Export, error)
}

// Export is an entry of a plugin's list.
type Export struct{ Name, Description string }

// Conn is what a plugin does on one connection. A function that is nil is absent, as
// in nbdkit's plugins; Size and PRead are required. A filter copies a Conn and
// replaces functions. The can functions are called once, before any data call;
// Close once, after all of them.
//
// A call's error reaches the client as devices.ErrnoOf has it.
type Conn struct {
	API int // of nbdkit's: 1 knows no flags, so that its native FUA is emulated; 0 is 2

	Size  func(ctx context.Context) (uint64, error) // bytes
	PRead func(ctx context.Context, b []byte, offset uint64) error

	PWrite func(ctx context.Context, b []byte, offset uint64, f Flags) error
	PZero  func(ctx context.Context, length, offset uint64, f Flags) error
	PTrim  func(ctx context.Context, length, offset uint64, f Flags) error
	Cache  func(ctx context.Context, length, offset uint64) error
	Flush  func(ctx context.Context) error

	CanWrite     func(ctx context.Context) (bool, error)       // absent: whether PWrite exists
	CanFlush     func(ctx context.Context) (bool, error)       // absent: whether Flush exists
	CanFUA       func(ctx context.Context) (fua.Answer, error) // absent: fua.Emulate if Flush exists, else fua.No
	CanTrim      func(ctx context.Context) (bool, error)       // absent: whether PTrim exists
	CanZero      func(ctx context.Context) (bool, error)       // absent: whether PZero exists; false is emulated by writing
	CanFastZero  func(ctx context.Context) (bool, error)       // absent: whether PZero does not exist, so that it fails fast
	CanCache     func(ctx context.Context) (bool, error)       // absent: whether Cache exists
	CanMultiConn func(ctx context.Context) (bool, error)       // absent: no

	// PowerCut lets crash cut the plugin's power: it becomes what it would be after
	// that. Of each unit of 512 bytes that was written and is not durable, keep says
	// whether it survives. Absent: the plugin's power cannot be cut.
	PowerCut func(keep func(unit int) bool) error

	// Description is for people to read: what a client gets that asks about the export.
	// Its error is that there is none.
	Description func(ctx context.Context) (string, error)

	Close func()
}
