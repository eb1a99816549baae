package serve

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// idleGoroutines is how many goroutines of the server an idle connection has: its reader,
// and its writer.
const idleGoroutines = 2

// idle opens an export by NBD_OPT_EXPORT_NAME, and then sends nothing. The client has no
// goroutine.
func idle(t *testing.T, address, export string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	option := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 3}, 0x49484156) // flags: fixed newstyle, no zeroes
	option = append(option, "EOPT\x00\x00\x00\x01"...)
	option = append(binary.BigEndian.AppendUint32(option, uint32(len(export))), export...)
	if _, err := io.ReadFull(c, make([]byte, 18)); err != nil { // the greeting
		t.Fatal(err)
	}
	if _, err := c.Write(option); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 10)); err != nil { // size and flags
		t.Fatal(err)
	}
	return c
}

// TestGoroutinesOfIdleConnections counts those of a server with a thousand.
func TestGoroutinesOfIdleConnections(t *testing.T) {
	const conns = 1000
	s := serveInProcess(t, Config{Device: "nvme-990pro", Size: 64 << 20})
	all := make([]net.Conn, conns)
	for i := range all {
		all[i] = idle(t, s.uri.Address, "a")
	}
	const want = conns * idleGoroutines
	stacks := make([]byte, 16<<20)
	got := 0
	for tries := 0; got != want && tries < 1000; tries++ { // the last ones begin
		got = strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "created by nbdbench/nbd/socket.(*")
	}
	if got != want {
		t.Errorf("%d goroutines for %d idle connections, expected %d each", got, conns, idleGoroutines)
	}
	for _, c := range all {
		_ = c.Close()
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
}
