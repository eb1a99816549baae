package serve

import (
	"errors"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"nbdbench/nbd/socket"
)

// TestDefaultMemoryIsAQuarterOfTheLeastLimit there is.
func TestDefaultMemoryIsAQuarterOfTheLeastLimit(t *testing.T) {
	none := func() (uint64, error) { return 0, memlimit.ErrNoLimit }
	broken := func() (uint64, error) { return 1 << 30, errors.New("no such file") }
	for name, test := range map[string]struct {
		sources []memlimit.Provider
		want    int64
	}{
		"machine":          {[]memlimit.Provider{memlimit.Limit(16 << 30), none, none}, 4 << 30},
		"cgroup":           {[]memlimit.Provider{memlimit.Limit(16 << 30), memlimit.Limit(2 << 30), none}, 512 << 20},
		"ulimit":           {[]memlimit.Provider{memlimit.Limit(16 << 30), none, memlimit.Limit(1 << 30)}, 256 << 20},
		"broken":           {[]memlimit.Provider{memlimit.Limit(16 << 30), broken}, 4 << 30},
		"small":            {[]memlimit.Provider{memlimit.Limit(64 << 20)}, socket.MinMemory},
		"nobody says":      {[]memlimit.Provider{none, none}, socket.MinMemory},
		"without a cgroup": {[]memlimit.Provider{memlimit.Limit(1<<64 - 4096), memlimit.Limit(8 << 30)}, 2 << 30},
	} {
		if got := defaultMemory(test.sources...); got != test.want {
			t.Errorf("%s: %d, expected %d", name, got, test.want)
		}
	}
	if got := DefaultMemory(); got < socket.MinMemory {
		t.Errorf("here it is %d", got)
	}
}
