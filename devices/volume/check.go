package volume

import (
	"fmt"

	"nbdbench/devices"
	"nbdbench/sim"
)

// refusal is the error of a request that the server in front should never have
// let through, or OK.
func refusal(info *devices.Info, r *devices.Request) devices.Errno {
	switch {
	case r.Op == devices.OpFlush:
		return devices.OK
	case r.Offset > info.Size || r.Length > info.Size-r.Offset:
		if r.Op == devices.OpWrite || r.Op == devices.OpWriteZeroes {
			return devices.ENOSPC
		}
		return devices.EINVAL
	case info.ReadOnly && r.Op.Modifies():
		return devices.EPERM
	case r.Durable() && info.FUA == devices.FUANone:
		return devices.EINVAL
	}
	return devices.OK
}

// transfers reports whether r moves its length in bytes.
func transfers(r *devices.Request) bool {
	return r.Op == devices.OpWrite || r.Op == devices.OpRead
}

// span is a named duration that must not be below 0.
type span struct {
	name  string
	value sim.Duration
}

func negative(spans ...span) (errs []error) {
	for _, s := range spans {
		if s.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v, want at least 0", s.name, s.value))
		}
	}
	return errs
}
