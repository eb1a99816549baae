package nbd

import "nbdbench/devices"

// Counts are the commands that crossed the wire, by kind. The names are those
// of the result format.
type Counts struct {
	Read           uint64 `json:"read"`
	Write          uint64 `json:"write"`
	WriteFUA       uint64 `json:"write_fua"`
	Flush          uint64 `json:"flush"`
	Trim           uint64 `json:"trim"`
	TrimFUA        uint64 `json:"trim_fua"`
	WriteZeroes    uint64 `json:"write_zeroes"`
	WriteZeroesFUA uint64 `json:"write_zeroes_fua"`
}

// Add adds d to c.
func (c *Counts) Add(d Counts) {
	c.Read += d.Read
	c.Write += d.Write
	c.WriteFUA += d.WriteFUA
	c.Flush += d.Flush
	c.Trim += d.Trim
	c.TrimFUA += d.TrimFUA
	c.WriteZeroes += d.WriteZeroes
	c.WriteZeroesFUA += d.WriteZeroesFUA
}

// tally counts commands by number and FUA.
type tally [8][2]uint64

func (t *tally) count(op devices.Op, flags devices.Flags) {
	t[op&7][flags&devices.FUA]++
}

func (t *tally) counts() Counts {
	return Counts{
		Read:  t[devices.OpRead][0] + t[devices.OpRead][1],
		Write: t[devices.OpWrite][0], WriteFUA: t[devices.OpWrite][1],
		Flush: t[devices.OpFlush][0] + t[devices.OpFlush][1],
		Trim:  t[devices.OpTrim][0], TrimFUA: t[devices.OpTrim][1],
		WriteZeroes: t[devices.OpWriteZeroes][0], WriteZeroesFUA: t[devices.OpWriteZeroes][1],
	}
}
