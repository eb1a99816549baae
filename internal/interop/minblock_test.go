package interop

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestADeviceOfBlocksOf4KiBTakesNoSmallerOnes: what a 4Kn disk and --min-block advertise
// is libnbd's minimum, and requests of 512 bytes, sent all the same, are refused.
func TestADeviceOfBlocksOf4KiBTakesNoSmallerOnes(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "hdd-4kn.yaml")
	if err := os.WriteFile(profile, []byte("extends: hdd-7200\nname: hdd-4kn\nlogical_block: 4096\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		minimum int
		args    []string
	}{
		{4096, []string{profile}},
		{4096, []string{profile, "--min-block", "512"}}, // no less than the device's own
		{8192, []string{"ram", "--min-block", "8KiB"}},
		{1, []string{"ram"}},
	} {
		s := serve(t, append(c.args, "--size", "16MiB")...)
		script(t, "minblock.py", s.uri, strconv.Itoa(c.minimum))
	}
}
