package serve

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"nbdbench/internal/text"
)

// The metrics are served by as much of HTTP/1.1 as a scraper needs: one GET in each
// connection.
const (
	maxMetricsHead = 8 << 10
	metricsTime    = 5 * time.Second // for a request and its reply
	openMetrics    = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// serveMetrics replies to scrapers until the listener is closed.
func (c *console) serveMetrics(l net.Listener) {
	new(operators).accept(l, func(conn net.Conn) {
		if conn.SetDeadline(time.Now().Add(metricsTime)) == nil {
			c.scrape(conn)
		}
	})
}

// scrape reads one request and replies to it. What cannot be written is a scraper that
// has left.
func (c *console) scrape(conn io.ReadWriter) {
	path, err := readRequest(io.LimitReader(conn, maxMetricsHead))
	status, kind, body := "200 OK", openMetrics, []byte(nil)
	switch {
	case err != nil:
		status, kind, body = "400 Bad Request", "text/plain", []byte(err.Error()+"\n")
	case path != "/metrics":
		status, kind, body = "404 Not Found", "text/plain", []byte("expected GET /metrics\n")
	default:
		s := c.stats()
		body = s.openMetrics()
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, kind, len(body), body)
}

// readRequest reads the head of a GET, to its end, and returns its path.
func readRequest(in io.Reader) (path string, err error) {
	lines := bufio.NewReader(in)
	first, err := lines.ReadString('\n')
	words := strings.Fields(first)
	if err != nil || len(words) != 3 || words[0] != "GET" || !strings.HasPrefix(words[2], "HTTP/1.") {
		return "", errors.New("expected GET PATH HTTP/1.1")
	}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("expected a head of at most %d bytes", maxMetricsHead)
		}
		if strings.TrimRight(line, "\r\n") == "" {
			path, _, _ = strings.Cut(words[1], "?")
			return path, nil
		}
	}
}

// openMetrics is the statistics as OpenMetrics text.
func (s *controlStats) openMetrics() []byte {
	var b bytes.Buffer
	family := func(name, kind, unit, help string) {
		fmt.Fprintf(&b, "# TYPE %s %s\n", name, kind)
		if unit != "" {
			fmt.Fprintf(&b, "# UNIT %s %s\n", name, unit)
		}
		fmt.Fprintf(&b, "# HELP %s %s\n", name, help)
	}
	family("nbdbench_requests", "counter", "", "Requests of clients, by operation.")
	w := &s.Wire
	for _, k := range []struct {
		op, fua string
		n       uint64
	}{
		{"read", "false", w.Read},
		{"write", "false", w.Write},
		{"write", "true", w.WriteFUA},
		{"flush", "false", w.Flush},
		{"trim", "false", w.Trim},
		{"trim", "true", w.TrimFUA},
		{"write_zeroes", "false", w.WriteZeroes},
		{"write_zeroes", "true", w.WriteZeroesFUA},
	} {
		fmt.Fprintf(&b, "nbdbench_requests_total{op=%q,fua=%q} %d\n", k.op, k.fua, k.n)
	}
	for _, f := range []struct {
		name, kind, unit, help string
		value                  func(e *exportStats) uint64
	}{
		{"nbdbench_at_risk_bytes", "gauge", "bytes", "Bytes that are acknowledged and not durable now.", func(e *exportStats) uint64 { return e.ExposedBytes }},
		{"nbdbench_power_cuts", "counter", "", "Power cuts.", func(e *exportStats) uint64 { return e.Cuts }},
		{"nbdbench_device_flushes", "counter", "", "FLUSH commands that the device served, since its power came back.", func(e *exportStats) uint64 { return e.Device.Flushes }},
		{"nbdbench_device_flushed_bytes", "counter", "bytes", "Bytes that these had to write.", func(e *exportStats) uint64 { return e.Device.FlushedBytes }},
		{"nbdbench_device_media_written_bytes", "counter", "bytes", "Bytes that reached the medium.", func(e *exportStats) uint64 { return e.Device.MediaWrittenBytes }},
		{"nbdbench_device_host_written_bytes", "counter", "bytes", "Bytes that clients wrote.", func(e *exportStats) uint64 { return e.Device.HostWrittenBytes }},
	} {
		family(f.name, f.kind, f.unit, f.help)
		suffix := ""
		if f.kind == "counter" {
			suffix = "_total"
		}
		for i := range s.Exports {
			e := &s.Exports[i]
			fmt.Fprintf(&b, "%s%s{export=\"%s\"} %d\n", f.name, suffix, labelText(e.Export), f.value(e))
		}
	}
	family("nbdbench_connections", "gauge", "", "Connections of clients.")
	fmt.Fprintf(&b, "nbdbench_connections %d\n", s.Process.Connections)
	family("nbdbench_held_bytes", "gauge", "bytes", "Memory held for clients.")
	fmt.Fprintf(&b, "nbdbench_held_bytes %d\n", s.Process.HeldBytes)
	b.WriteString("# EOF\n")
	return b.Bytes()
}

// labelText escapes the value of a label.
func labelText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text.Line(s))
}
