package serve

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"nbdbench/nbd/socket"
)

// notifySocket is where systemd and others learn that a service is ready, by the
// protocol of sd_notify(3); the environment has it.
const notifySocket = "NOTIFY_SOCKET"

// announce says that clients can connect: the URIs to w, a line for each, the first to
// Ready, and who started the process by sd_notify.
func (c *Config) announce(w io.Writer, uris []socket.URI) error {
	if c.Ready != nil {
		c.Ready(uris[0])
	}
	for _, uri := range uris {
		if _, err := fmt.Fprintln(w, uri); err != nil {
			return err
		}
	}
	path := os.Getenv(notifySocket)
	if path == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", path) // @ begins an abstract name, as there
	if err != nil {
		return fmt.Errorf("%s: %w", notifySocket, err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "READY=1\n"); err != nil {
		return fmt.Errorf("%s: %w", notifySocket, err)
	}
	return nil
}

// metrics serves them, if there is an address for them.
func (c *Config) metrics(con *console) (end func(), err error) {
	if c.Metrics == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", c.Metrics)
	if err != nil {
		return func() {}, fmt.Errorf("--metrics: %w", err)
	}
	con.log.event(slog.LevelInfo, fmt.Sprintf("metrics at http://%v/metrics", l.Addr()), "metrics", "address", l.Addr().String())
	go con.serveMetrics(l)
	return func() { _ = l.Close() }, nil
}
