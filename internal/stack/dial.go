package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nbdbench/internal/units"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

// The bounds of what a target may take its time over.
const (
	// DefaultTimeout bounds each reply of a target, and FLUSH, which may have a
	// whole cache to write back, has flushTimeouts of it: 30 s and 5 minutes.
	DefaultTimeout = 30 * time.Second
	flushTimeouts  = 10
	// MaxTimeout is the longest bound that can be asked for.
	MaxTimeout = 24 * time.Hour
)

// timeouts are the bounds of a target's replies.
func timeouts(reply time.Duration) nbd.Timeouts {
	if reply == 0 {
		reply = DefaultTimeout
	}
	return nbd.Timeouts{Reply: reply, Flush: flushTimeouts * reply}
}

// askTimeout bounds asking a target what it is.
const askTimeout = 5 * time.Second

// Dialer connects to u with these files for TLS, and bounds each reply; 0 is
// DefaultTimeout.
func Dialer(u socket.URI, files *socket.TLSFiles, timeout time.Duration) (d socket.Dialer, err error) {
	d.Timeouts = timeouts(timeout)
	if u.TLS {
		d.TLS, err = files.Client(u)
	}
	return d, err
}

// ExportName names the export that u means, with its size if the server reports it.
func ExportName(ctx context.Context, d socket.Dialer, u socket.URI) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	what := fmt.Sprintf("the export %q", u.Export)
	if info, _, err := d.Ask(ctx, u, nbd.OptInfo); err == nil && info.Size > 0 { // nbd-server says 0 until GO
		what = fmt.Sprintf("%s of %v", what, units.Size(info.Size))
	}
	return what
}

// Unreached is what becomes of a run that could not connect. A target that was
// reached before is one that died; one that cannot be reached at all is no
// measurement.
func Unreached(ctx context.Context, err error, first bool) error {
	var violated *nbd.ProtocolError
	var late *nbd.TimeoutError
	var lost *socket.LostError
	switch {
	case ctx.Err() != nil:
		return ErrNotRun
	case !first, errors.As(err, &violated), errors.As(err, &late), errors.As(err, &lost):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}
