package stack

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAPathThatIsNoProfileIsStorage(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"disk.img", "mine.yaml", "mine.yml", "noext", "hdd-7200", "sh:x"} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"disk.img": true, "./disk.img": true, "noext": true, "./hdd-7200": true, ".": true, dir: true, dir + "/noext": true,
		"mine.yaml": false, "./mine.yml": false, "hdd-7200": false, "none.img": false, "./none": false, "nvme-990pro": false,
		"sh:x": false, "go:memory": false,
	} {
		if got := IsStorage(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
