package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"nbdbench/nbd/socket"
)

// LogFormats are the values of Config.LogFormat besides the empty one.
func LogFormats() []string { return []string{"text", "json"} }

// eventLog writes what happens to a server, for its operator: plain lines, or records
// of log/slog. Any number of goroutines may use it. Nil is silent.
type eventLog struct {
	records *slog.Logger // nil is plain lines
	verbose bool

	mu    sync.Mutex
	plain io.Writer
}

// newEventLog writes to w in the format of that name, see Config.LogFormat. Events of
// slog.LevelDebug are written only if it is verbose.
func newEventLog(w io.Writer, format string, verbose bool) *eventLog {
	g := &eventLog{plain: w, verbose: verbose}
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		g.records = slog.New(slog.NewTextHandler(w, options))
	case "json":
		g.records = slog.New(slog.NewJSONHandler(w, options))
	}
	return g
}

// event writes one event: as a plain line, or as a record with this message and these
// pairs of keys and values.
func (g *eventLog) event(level slog.Level, line, message string, pairs ...any) {
	switch {
	case g == nil:
	case g.records != nil:
		g.records.Log(context.Background(), level, message, pairs...)
	case level >= slog.LevelInfo || g.verbose:
		g.mu.Lock()
		defer g.mu.Unlock()
		_, _ = fmt.Fprintln(g.plain, line)
	}
}

// line writes a line of another program, such as a plugin's.
func (g *eventLog) line(line string) { g.event(slog.LevelInfo, line, "plugin", "output", line) }

// notices has a server's notices written. Parts of a cause are the client's own words:
// log/slog quotes them, and a plain line has ? for what does not print.
func (g *eventLog) notices() socket.Notices {
	n := socket.Notices{
		HandshakeFailed: func(client, cause string, unreported uint64) {
			g.event(slog.LevelWarn, fmt.Sprintf("handshake with %s failed: %s%s", client, printable(cause), more("handshakes failed", unreported)),
				"handshake failed", "client", client, "cause", cause, "unreported", unreported)
		},
		ProtocolError: func(client, export, cause string, unreported uint64) {
			g.event(slog.LevelWarn, fmt.Sprintf("%s broke the protocol on export %q: %s%s", client, export, printable(cause), more("clients did", unreported)),
				"protocol error", "client", client, "export", export, "cause", cause, "unreported", unreported)
		},
		SlowReader: func(client, export string, waited time.Duration) {
			g.event(slog.LevelWarn, fmt.Sprintf("%s takes no replies of export %q: %v so far", client, export, waited),
				"slow reader", "client", client, "export", export, "waited", waited.String())
		},
		LacksPayloadLen: func(client, export string) {
			g.event(slog.LevelInfo, fmt.Sprintf("%s sends WRITE without NBD_CMD_FLAG_PAYLOAD_LEN to export %q: accepted, though extended headers demand it; not reported again for this export", client, export),
				"WRITE without NBD_CMD_FLAG_PAYLOAD_LEN", "client", client, "export", export)
		},
	}
	if g.verbose {
		n.Opened = func(client, export string, secure bool) {
			with := ""
			if secure {
				with = " with TLS"
			}
			g.event(slog.LevelDebug, fmt.Sprintf("%s opened export %q%s", client, export, with), "opened", "client", client, "export", export, "tls", secure)
		}
		n.Closed = func(client, export string, cause error) {
			if cause == nil {
				g.event(slog.LevelDebug, fmt.Sprintf("%s closed export %q", client, export), "closed", "client", client, "export", export)
				return
			}
			g.event(slog.LevelDebug, fmt.Sprintf("%s left export %q: %s", client, export, printable(cause.Error())), "closed", "client", client, "export", export, "cause", cause.Error())
		}
	}
	return n
}

// more says how many events of a kind were not reported.
func more(what string, unreported uint64) string {
	if unreported == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d more %s since the last such line)", unreported, what)
}

// printable has ? in place of what does not print.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
