package nbd

import (
	"nbdbench/devices"
)

// counter is a Completer that keeps what has completed.
type counter struct {
	done []*devices.Request
}

func (c *counter) Done(r *devices.Request) { c.done = append(c.done, r) }
