package serve

import (
	"os"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/sys/unix"
)

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
