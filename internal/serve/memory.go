package serve

import (
	"github.com/KimMachineGun/automemlimit/memlimit"

	"nbdbench/nbd/socket"
)

// memoryShare is which part of the memory that a process may use serve's clients
// may hold: Go's heap grows to twice what is in use, and devices need some.
const memoryShare = 4

// DefaultMemory is how much serve's clients may hold if nobody says how much: a
// quarter of the machine's memory, or of what a cgroup or ulimit allows this process,
// and at least socket.MinMemory.
func DefaultMemory() int64 {
	return defaultMemory(memlimit.FromSystem, memlimit.FromCgroup, addressSpace)
}

// defaultMemory is a share of the least limit there is. A source without one says
// nothing.
func defaultMemory(sources ...memlimit.Provider) int64 {
	least := uint64(0)
	for _, source := range sources {
		if n, err := source(); err == nil && n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return max(int64(least/memoryShare), socket.MinMemory)
}
