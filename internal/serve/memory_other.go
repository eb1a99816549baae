//go:build !linux

package serve

import "github.com/KimMachineGun/automemlimit/memlimit"

// addressSpace says nothing: how much of a limit is used is read from /proc.
func addressSpace() (uint64, error) { return 0, memlimit.ErrNoLimit }
