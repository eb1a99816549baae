package layer

import "nbdbench/devices"

// Commands counts the commands that passed a point, by class: on the wire, what
// a strategy costs in commands.
type Commands struct {
	Read           uint64 `json:"read"`
	Write          uint64 `json:"write"`
	WriteFUA       uint64 `json:"write_fua"`
	Flush          uint64 `json:"flush"`
	Trim           uint64 `json:"trim"`
	TrimFUA        uint64 `json:"trim_fua"`
	WriteZeroes    uint64 `json:"write_zeroes"`
	WriteZeroesFUA uint64 `json:"write_zeroes_fua"`
	Other          uint64 `json:"other"` // CACHE and BLOCK_STATUS
}

// Count adds r to its class.
func (c *Commands) Count(r *devices.Request) {
	fua := r.Flags&devices.FUA != 0
	switch r.Op {
	case devices.OpRead:
		c.Read++
	case devices.OpWrite:
		countWrite(&c.Write, &c.WriteFUA, fua)
	case devices.OpFlush:
		c.Flush++
	case devices.OpTrim:
		countWrite(&c.Trim, &c.TrimFUA, fua)
	case devices.OpWriteZeroes:
		countWrite(&c.WriteZeroes, &c.WriteZeroesFUA, fua)
	default:
		c.Other++
	}
}

func countWrite(plain, durable *uint64, fua bool) {
	if fua {
		*durable++
		return
	}
	*plain++
}

// Sub is what was counted since t.
func (c Commands) Sub(t Commands) Commands {
	return Commands{
		Read: c.Read - t.Read, Write: c.Write - t.Write, WriteFUA: c.WriteFUA - t.WriteFUA, Flush: c.Flush - t.Flush,
		Trim: c.Trim - t.Trim, TrimFUA: c.TrimFUA - t.TrimFUA,
		WriteZeroes: c.WriteZeroes - t.WriteZeroes, WriteZeroesFUA: c.WriteZeroesFUA - t.WriteZeroesFUA,
		Other: c.Other - t.Other,
	}
}

// Add adds t to c.
func (c *Commands) Add(t Commands) {
	c.Read += t.Read
	c.Write += t.Write
	c.WriteFUA += t.WriteFUA
	c.Flush += t.Flush
	c.Trim += t.Trim
	c.TrimFUA += t.TrimFUA
	c.WriteZeroes += t.WriteZeroes
	c.WriteZeroesFUA += t.WriteZeroesFUA
	c.Other += t.Other
}

// Stats counts what is submitted through it. A write counts in one class only,
// with or without FUA.
type Stats struct {
	inner  devices.Device
	counts Commands
}

// NewStats counts commands on their way to inner.
func NewStats(inner devices.Device) *Stats { return &Stats{inner: inner} }

// Info is the inner device's.
func (s *Stats) Info() devices.Info { return s.inner.Info() }

// Submit counts r and forwards it.
func (s *Stats) Submit(r *devices.Request) {
	s.counts.Count(r)
	s.inner.Submit(r)
}

// Counts is what has passed so far, those still in progress included.
func (s *Stats) Counts() Commands { return s.counts }
