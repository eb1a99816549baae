package devices

import (
	"fmt"

	"nbdbench/sim"
)

// A Device serves requests. Submit never blocks; the request's completer is
// called later, on the loop, exactly once. Requests may complete in any order.
type Device interface {
	Info() Info
	Submit(r *Request)
}

// FUASupport is how a device or a backend serves FUA. The values and their
// order are those of nbdkit's NBDKIT_FUA_NONE, _EMULATE and _NATIVE.
type FUASupport uint8

// The levels of FUA support.
const (
	FUANone    FUASupport = iota // it cannot; the client must flush
	FUAEmulate                   // write, then flush everything
	FUANative                    // that one write is made durable
)

func (f FUASupport) String() string {
	switch f {
	case FUANone:
		return "none"
	case FUAEmulate:
		return "emulate"
	case FUANative:
		return "native"
	}
	return fmt.Sprintf("fua(%d)", uint8(f))
}

// CacheMode is what a device's write cache does when the power goes.
type CacheMode uint8

// The modes of a write cache.
const (
	CacheNone      CacheMode = iota // there is none: a reply means durable
	CacheVolatile                   // what was only acknowledged is lost
	CacheProtected                  // capacitors or a battery save what was acknowledged
)

func (m CacheMode) String() string {
	switch m {
	case CacheNone:
		return "none"
	case CacheVolatile:
		return "volatile"
	case CacheProtected:
		return "protected"
	}
	return fmt.Sprintf("cache(%d)", uint8(m))
}

// Info is what a device can do. It does not change while the device is open.
type Info struct {
	Size uint64 // bytes

	LogicalBlock uint32 // bytes; a smaller or misaligned write is a read-modify-write
	AtomicUnit   uint32 // bytes, aligned: survives a power cut whole or not at all
	MinIO        uint32 // the smallest request that clients may send; 0 is 1
	PreferredIO  uint32 // bytes
	MaxPayload   uint32 // bytes in one READ or WRITE; 0 is the protocol's 32 MiB

	CanFlush    bool
	FUA         FUASupport
	CanTrim     bool
	CanZero     bool
	CanFastZero bool
	CanCache    bool
	MultiConn   bool // FLUSH and FUA on one connection hold for all
	Rotational  bool
	ReadOnly    bool

	Cache CacheMode
}

// Stats are a device's counters since it was made.
type Stats struct {
	Flushes           uint64 `json:"flushes"`             // FLUSH commands that the device served
	FlushedBytes      uint64 `json:"flushed_bytes"`       // what they had to write
	CollateralBytes   uint64 `json:"collateral_bytes"`    // of those, extents that the flushing commit did not write
	MediaWrittenBytes uint64 `json:"media_written_bytes"` // all that reached the medium
	HostWrittenBytes  uint64 `json:"host_written_bytes"`  // all that the host wrote

	// Of flash whose translation layer is modelled; 0 of others.
	MovedBytes   uint64 `json:"moved_bytes"`   // by garbage collection, and from pSLC
	PaddingBytes uint64 `json:"padding_bytes"` // programmed without data
	Erases       uint64 `json:"erases"`        // of superblocks
}

// Add adds t to s.
func (s *Stats) Add(t Stats) {
	s.Flushes += t.Flushes
	s.FlushedBytes += t.FlushedBytes
	s.CollateralBytes += t.CollateralBytes
	s.MediaWrittenBytes += t.MediaWrittenBytes
	s.HostWrittenBytes += t.HostWrittenBytes
	s.MovedBytes += t.MovedBytes
	s.PaddingBytes += t.PaddingBytes
	s.Erases += t.Erases
}

// Sub is what was counted since t.
func (s Stats) Sub(t Stats) Stats {
	return Stats{
		Flushes: s.Flushes - t.Flushes, FlushedBytes: s.FlushedBytes - t.FlushedBytes,
		CollateralBytes:   s.CollateralBytes - t.CollateralBytes,
		MediaWrittenBytes: s.MediaWrittenBytes - t.MediaWrittenBytes,
		HostWrittenBytes:  s.HostWrittenBytes - t.HostWrittenBytes,
		MovedBytes:        s.MovedBytes - t.MovedBytes, PaddingBytes: s.PaddingBytes - t.PaddingBytes,
		Erases: s.Erases - t.Erases,
	}
}

// Record is what a write that several transactions share holds of one of them: a
// range of the device, in bytes.
type Record struct {
	Txn            uint64
	Offset, Length uint64
}

// A Commit is one durable transaction of a workload, finished.
type Commit struct {
	Stream uint32
	Txn    uint64
	// Intended is when it was due, Started when its first request was submitted,
	// Acked when its strategy called it durable.
	Intended, Started, Acked sim.Time
	// Stages is the time along its critical path; it sums to Acked-Intended.
	Stages Stages
	Hops   *HopTimes // the part of Stages at proxies; nil without any. Good until the observer returns
	Errno  Errno
}
