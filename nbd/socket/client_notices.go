package socket

import (
	"errors"

	"nbdbench/nbd"
)

// ClientNotices are what a Dialer and its connections report to whoever runs them,
// besides the errors that they return. The zero value is silent. They are called by
// the goroutine that dials, or that reads a connection's replies: one that blocks
// holds up that goroutine's connections. Parts of a cause may be the server's own
// text, as it came.
type ClientNotices struct {
	// Opened reports a connection that has begun transmission; u.TLS is with TLS.
	Opened func(u URI)
	// HandshakeFailed reports a connection that did not get as far, and why: it was
	// not made, the server refused the export or TLS, its certificate is not trusted,
	// or it broke the protocol.
	HandshakeFailed func(u URI, cause error)
	// ProtocolError reports a server that broke the protocol in transmission. Closed
	// follows.
	ProtocolError func(u URI, cause error)
	// Closed reports the end of a connection that was opened. The cause is nil if the
	// client ended it, else a *LostError, an *nbd.TimeoutError or an
	// *nbd.ProtocolError.
	Closed func(u URI, cause error)
}

func (n *ClientNotices) opened(u URI) {
	if n.Opened != nil {
		n.Opened(u)
	}
}

func (n *ClientNotices) handshakeFailed(u URI, err error) {
	if n.HandshakeFailed != nil {
		n.HandshakeFailed(u, err)
	}
}

// closed reports the end of a connection because of err; leaving is that the client
// wanted it.
func (n *ClientNotices) closed(u URI, leaving bool, err error) {
	var violated *nbd.ProtocolError
	broke := errors.As(err, &violated)
	if broke && n.ProtocolError != nil {
		n.ProtocolError(u, err)
	}
	if n.Closed == nil {
		return
	}
	if leaving && !broke {
		err = nil
	}
	n.Closed(u, err)
}
