package nbd

import (
	"context"
	"fmt"
	"net"
)

// Handover negotiates for the export that u names, by the plain protocol, and
// hands the socket over at the beginning of transmission, for the kernel to go
// on with: its client has neither TLS nor structured replies. Closing the socket
// is the caller's.
func Handover(ctx context.Context, u URI) (net.Conn, ExportInfo, error) {
	if u.TLS {
		return nil, ExportInfo{}, fmt.Errorf("%v: the kernel's client has no TLS", u)
	}
	h := NewClientHandshake(OptGo, u.Export)
	conn, rest, err := new(Dialer).negotiate(ctx, u, h)
	if err != nil {
		return nil, ExportInfo{}, fmt.Errorf("negotiate with %v: %w", u, err)
	}
	if len(rest) > 0 {
		_ = conn.Close()
		return nil, ExportInfo{}, fmt.Errorf("negotiate with %v: %w", u, violation("a server is silent until it is asked", "%d bytes", len(rest)))
	}
	return conn, h.Export(), nil
}
