package interop

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheProgramOfTheDocument is built as docs/PLUGINS.md prints it, and serves.
func TestTheProgramOfTheDocument(t *testing.T) {
	need(t, libnbd)
	const source = "../../docs/testdata/own/main.go"
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/PLUGINS.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```go\n"+string(text)+"```\n") {
		t.Errorf("docs/PLUGINS.md does not print %s", source)
	}
	program := filepath.Join(t.TempDir(), "own")
	must(t, "../..", "go", "build", "-o", program, "./docs/testdata/own")
	p := start(t, "", program, filepath.Join(t.TempDir(), "socket"))
	uri, err := bufio.NewReader(p.stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	must(t, "", libnbd, "-c", `
import nbd, sys
h = nbd.NBD(); h.connect_uri(sys.argv[1])
assert h.can_fua() and not h.can_flush()
h.pwrite(b"x" * 512, 512, nbd.CMD_FLAG_FUA)
assert h.pread(1024, 0) == bytearray(512) + b"x" * 512
h.shutdown()`, strings.TrimSpace(uri))
}
