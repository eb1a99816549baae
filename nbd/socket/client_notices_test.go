package socket

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/nbd"
)

// clientNotices has n keep what a client reports, with the kind of each cause.
func (n *noted) clientNotices() ClientNotices {
	kind := func(cause error) string {
		var lost *LostError
		var late *nbd.TimeoutError
		var violated *nbd.ProtocolError
		switch {
		case cause == nil:
			return "by the client"
		case errors.As(cause, &lost):
			return "lost"
		case errors.As(cause, &late):
			return "timeout"
		case errors.As(cause, &violated):
			return "protocol error"
		}
		return cause.Error()
	}
	return ClientNotices{
		Opened:          func(u URI) { n.add("opened %s", u.Export) },
		HandshakeFailed: func(u URI, cause error) { n.add("handshake for %s failed: %s", u.Export, kind(cause)) },
		ProtocolError:   func(u URI, cause error) { n.add("protocol error on %s", u.Export) },
		Closed:          func(u URI, cause error) { n.add("closed %s: %s", u.Export, kind(cause)) },
	}
}

// TestAClientReportsWhatHappensToItsConnections, by a poller's and by a goroutine's
// connection.
func TestAClientReportsWhatHappensToItsConnections(t *testing.T) {
	silent, _ := mute(t)
	silent.Export = "silent"
	for _, inProcess := range []bool{false, true} {
		s := newSite(t, "unix")
		ended := relay(t, s, pass, func(_ int, to io.Writer, from io.Reader) { _, _ = io.CopyN(to, from, negotiated(t, s)) })
		wrong := relay(t, s, pass, func(_ int, to io.Writer, from io.Reader) {
			_, _ = io.CopyN(to, from, negotiated(t, s))
			_, _ = to.Write(make([]byte, nbd.ReplySize))
			_, _ = io.Copy(to, from)
		})
		for name, c := range map[string]struct {
			to   URI
			want []string
		}{
			"closed":         {s.uri, []string{"opened disk", "closed disk: by the client"}},
			"lost":           {ended, []string{"opened disk", "closed disk: lost"}},
			"protocol error": {wrong, []string{"opened disk", "protocol error on disk", "closed disk: protocol error"}},
			"timeout":        {silent, []string{"handshake for silent failed: timeout"}},
		} {
			var n noted
			real := newReal(t)
			d := Dialer{InProcess: inProcess, Notices: n.clientNotices(), Timeouts: nbd.Timeouts{Reply: 50 * time.Millisecond, Flush: time.Hour}}
			if name != "timeout" {
				d.Timeouts.Reply = time.Hour
			}
			if conn, err := d.Dial(within(t), c.to, real); err == nil {
				do(t, real, conn, &devices.Request{Op: devices.OpFlush})
				_ = conn.Close()
			}
			if !slices.Equal(n.lines, c.want) {
				t.Errorf("%s, in process %v: reported %q, expected %q", name, inProcess, n.lines, c.want)
			}
		}
	}
}
