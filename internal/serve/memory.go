package serve

import (
	"os"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/sys/unix"

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

// addressSpace is what ulimit -v and ulimit -d leave. Go's runtime has reserved more
// than a gigabyte before the first request comes.
func addressSpace() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm") // in pages: size, resident, shared, text, lib, data
	f := strings.Fields(string(text))
	if err != nil || len(f) < 6 {
		return 0, memlimit.ErrNoLimit
	}
	size, data := pages(f[0]), pages(f[5])
	left := min(leftOf(unix.RLIMIT_AS, size), leftOf(unix.RLIMIT_DATA, data))
	if left == unix.RLIM_INFINITY {
		return 0, memlimit.ErrNoLimit
	}
	return left, nil
}

func pages(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64) // the kernel wrote it
	return n * uint64(os.Getpagesize())
}

// leftOf is what is left of a resource of which so much is used.
func leftOf(resource int, used uint64) uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY {
		return unix.RLIM_INFINITY
	}
	return max(limit.Cur, used+1) - used
}
