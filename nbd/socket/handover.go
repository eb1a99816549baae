package socket

import (
	"context"
	"fmt"
	"net"

	"nbdbench/nbd"
)

// Handover negotiates for the export that u names, by the plain protocol, and
// hands the socket over at the beginning of transmission, for the kernel to go
// on with: its client has neither TLS nor structured replies. Closing the socket
// is the caller's.
func Handover(ctx context.Context, u URI) (net.Conn, nbd.ExportInfo, error) {
	if u.TLS {
		return nil, nbd.ExportInfo{}, fmt.Errorf("%v: the kernel's client has no TLS", u)
	}
	h := nbd.NewClientHandshake(nbd.OptGo, u.Export)
	conn, _, err := new(Dialer).negotiate(ctx, u, h)
	if err != nil {
		return nil, nbd.ExportInfo{}, fmt.Errorf("negotiate with %v: %w", u, err)
	}
	if err := h.CheckRest(); err != nil {
		_ = conn.Close()
		return nil, nbd.ExportInfo{}, fmt.Errorf("negotiate with %v: %w", u, err)
	}
	return conn, h.Export(), nil
}
