package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// Listen listens where u says, and returns u with the port that was taken if it
// asked for port 0. The socket file of a server that is gone is replaced.
func Listen(u URI) (net.Listener, URI, error) {
	l, err := listenAt(u)
	if errors.Is(err, syscall.EADDRINUSE) && u.Network == "unix" && abandoned(u.Address) {
		if err = os.Remove(u.Address); err == nil {
			l, err = listenAt(u)
		}
	}
	if err != nil {
		return nil, u, fmt.Errorf("listen on %v: %w", u, err)
	}
	if u.Network != "unix" {
		u.Address = addressOf(l.Addr())
	}
	return l, u, nil
}

func listenAt(u URI) (net.Listener, error) {
	if u.Network == "vsock" {
		return listenVsock(u)
	}
	return net.Listen(family(u), u.Address)
}

// family is the network of an address to listen at: that of IPv4 alone for an IPv4
// address. Go takes 0.0.0.0 for all addresses of IPv6, too.
func family(u URI) string {
	host, _, err := net.SplitHostPort(u.Address)
	if ip, bad := netip.ParseAddr(host); u.Network == "tcp" && err == nil && bad == nil && ip.Is4() {
		return "tcp4"
	}
	return u.Network
}

// abandoned reports whether path is a socket at which nobody listens.
func abandoned(path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// sendBuffer is what a Unix socket is asked to hold of what its reader has not
// taken, so that a request or reply of 256 KiB goes out in one piece. Linux gives
// twice what net.core.wmem_max allows, which is 208 KiB if nobody has set it.
const sendBuffer = 2 << 20

// setSendBuffer has a Unix socket hold more; TCP adapts by itself.
func setSendBuffer(c net.Conn) {
	if u, ok := c.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(sendBuffer) // less is slower, and no more
	}
}

func connect(ctx context.Context, u URI) (net.Conn, error) {
	if u.Network == "vsock" {
		return dialVsock(u)
	}
	var d net.Dialer // it sets TCP_NODELAY
	c, err := d.DialContext(ctx, u.Network, u.Address)
	if err == nil {
		setSendBuffer(c)
	}
	return c, err
}
