package interop

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
)

// TestSIGTERMDrains: the client says when the server has received its FLUSH,
// which takes seconds; then the server gets SIGTERM.
func TestSIGTERMDrains(t *testing.T) {
	need(t, libnbd)
	s := serve(t, "nvme-990pro", "--size", "64MiB", "--delay", "3s")
	client := start(t, "testdata", libnbd, "-B", "sigterm_drains.py", s.uri)
	said := bufio.NewScanner(client.stdout)
	if !said.Scan() || said.Text() != "in flight" {
		t.Fatalf("expected the client to have a FLUSH in flight, got %q and exit code %d\n%s", said.Text(), client.wait(), &client.stderr)
	}
	s.signal()
	var rest []string
	for said.Scan() {
		rest = append(rest, said.Text())
	}
	if code := client.wait(); code != 0 {
		t.Fatalf("the client: exit code %d\n%s", code, &client.stderr)
	}
	if got := strings.Join(rest, ", "); got != "shutting down, flushed, closed" {
		t.Errorf("the client saw %q, expected new requests to be refused, the FLUSH to succeed and the connection to end", got)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("the server: exit code %d, expected 0\n%s", code, &s.stderr)
	}
	var n counts
	_, served, _ := strings.Cut(s.stderr.String(), "served ") // after what else it had to say
	if _, err := fmt.Sscanf("served "+served, "served %d reads, %d writes, %d FUA writes, %d flushes", &n.reads, &n.writes, &n.writesFUA, &n.flushes); err != nil || n.flushes != 1 || n.writes != 1 {
		t.Errorf("the server said %q, expected 1 write and 1 flush", &s.stderr)
	}
}
