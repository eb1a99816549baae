package socket

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"strconv"

	"github.com/mdlayher/vsock"
)

// anyContext is where a server listens without a context in its URI: at each that
// the machine has (VMADDR_CID_ANY).
const anyContext = math.MaxUint32

// vsock reads the host and port of nbd+vsock://cid:port: both are numbers of 32
// bits, and neither has to be there.
func (u URI) vsock(p *url.URL) (URI, error) {
	port := p.Port()
	if port == "" {
		port = DefaultPort
	}
	u.Network, u.Address = "vsock", net.JoinHostPort(p.Hostname(), port)
	if _, _, err := u.context(vsock.Host); err != nil {
		return URI{}, fmt.Errorf("%q: %w: %s://cid:port/export", p, err, p.Scheme)
	}
	return u, nil
}

// context is the context, or other if there is none, and the port.
func (u URI) context(other uint32) (cid, port uint32, err error) {
	c, p, err := net.SplitHostPort(u.Address)
	if err != nil {
		return 0, 0, err
	}
	n, err := strconv.ParseUint(p, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("port %q: want a number below 2^32", p)
	}
	if c == "" {
		return other, uint32(n), nil
	}
	m, err := strconv.ParseUint(c, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("context %q: want a number below 2^32", c)
	}
	return uint32(m), uint32(n), nil
}

// listenVsock listens at a context, or at all of them if u names none.
func listenVsock(u URI) (net.Listener, error) {
	cid, port, err := u.context(anyContext)
	if err != nil {
		return nil, err
	}
	return vsock.ListenContextID(cid, port, nil)
}

// dialVsock connects. Without a context it is the hypervisor's host, as with
// libnbd. Linux gives up after 2 s.
func dialVsock(u URI) (net.Conn, error) {
	cid, port, err := u.context(vsock.Host)
	if err != nil {
		return nil, err
	}
	return vsock.Dial(cid, port, nil)
}

// listenerOf is the listening socket that a file is.
func listenerOf(f *os.File) (net.Listener, error) {
	l, err := net.FileListener(f)
	if err == nil {
		return l, nil
	}
	if v, vsockErr := vsock.FileListener(f); vsockErr == nil {
		return v, nil
	}
	return nil, err
}

// addressOf is where clients find a, as in a URI.
func addressOf(a net.Addr) string {
	v, ok := a.(*vsock.Addr)
	if !ok {
		return a.String()
	}
	cid := ""
	if v.ContextID != anyContext {
		cid = strconv.FormatUint(uint64(v.ContextID), 10)
	}
	return net.JoinHostPort(cid, strconv.FormatUint(uint64(v.Port), 10))
}
