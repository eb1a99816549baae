package nbd

import (
	"context"
	"fmt"
	"net"
)

// Handover negotiates for the export that u names and hands the socket over at
// the beginning of transmission, for the kernel to go on with. Closing it is
// the caller's.
func Handover(ctx context.Context, u URI) (net.Conn, ExportInfo, error) {
	conn, err := connect(ctx, u)
	if err != nil {
		return nil, ExportInfo{}, fmt.Errorf("connect to %v: %w", u, err)
	}
	h := NewClientHandshake(OptGo, u.Export)
	rest, err := shake(conn, h, func(f func()) { f() })
	if err == nil && len(rest) > 0 {
		err = violation("a server is silent until it is asked", "%d bytes", len(rest))
	}
	if err != nil {
		_ = conn.Close()
		return nil, ExportInfo{}, fmt.Errorf("negotiate with %v: %w", u, err)
	}
	return conn, h.Export(), nil
}
