package socket

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// DefaultPort is NBD's port at IANA.
const DefaultPort = "10809"

// URI names an export of a server, in the form of the NBD project's URI
// document: nbd://host:port/export, nbd+unix:///export?socket=path,
// nbd+vsock://cid:port/export, and nbds for TLS.
type URI struct {
	Network string // tcp or unix, as in package net, or vsock
	Address string // host:port, the socket's path, or cid:port of which cid may be empty
	Export  string // empty is the default export
	TLS     bool
}

// ParseURI reads a URI.
func ParseURI(s string) (URI, error) {
	p, err := url.Parse(s)
	if err != nil {
		return URI{}, err
	}
	u := URI{Export: strings.TrimPrefix(p.Path, "/")}
	switch p.Scheme {
	case "nbd", "nbds":
		u.TLS = p.Scheme == "nbds"
		return u.tcp(p)
	case "nbd+unix", "nbds+unix":
		u.TLS = p.Scheme == "nbds+unix"
		return u.unix(p)
	case "nbd+vsock", "nbds+vsock":
		u.TLS = p.Scheme == "nbds+vsock"
		return u.vsock(p)
	default:
		return URI{}, fmt.Errorf("%q: want nbd://, nbd+unix:// or nbd+vsock://, or nbds in place of nbd", s)
	}
}

func (u URI) tcp(p *url.URL) (URI, error) {
	if p.Hostname() == "" && p.Host == "" {
		return URI{}, fmt.Errorf("%q: want a host: nbd://host:port/export", p)
	}
	if strings.Contains(p.Hostname(), ":") && !strings.HasPrefix(p.Host, "[") {
		return URI{}, fmt.Errorf("%q: want an IPv6 address in brackets: nbd://[::1]:port/export", p)
	}
	port := p.Port()
	if port == "" {
		port = DefaultPort
	}
	u.Network, u.Address = "tcp", net.JoinHostPort(p.Hostname(), port)
	return u, nil
}

func (u URI) unix(p *url.URL) (URI, error) {
	socket := p.Query().Get("socket")
	if socket == "" || p.Host != "" {
		return URI{}, fmt.Errorf("%q: want a socket and no host: %s:///export?socket=path", p, p.Scheme)
	}
	u.Network, u.Address = "unix", socket
	return u, nil
}

// String is what ParseURI reads.
func (u URI) String() string {
	scheme := "nbd"
	if u.TLS {
		scheme = "nbds"
	}
	if u.Network == "unix" {
		p := url.URL{Scheme: scheme + "+unix", Path: "/" + u.Export, RawQuery: "socket=" + escapeSocket(u.Address)}
		return fmt.Sprintf("%s://%s?%s", p.Scheme, p.EscapedPath(), p.RawQuery)
	}
	if u.Network == "vsock" {
		scheme += "+vsock"
	}
	p := url.URL{Scheme: scheme, Host: u.Address, Path: "/" + u.Export}
	return p.String()
}

// escapeSocket leaves a path's slashes readable.
func escapeSocket(path string) string {
	return strings.ReplaceAll(url.QueryEscape(path), "%2F", "/")
}
