package socket

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"nbdbench/internal/input"
)

// TLSFiles are where a peer's certificates are, in PEM.
type TLSFiles struct {
	Cert, Key string // its own certificate and key: both or neither
	CA        string // who signs the other's certificates
	// ServerName is whose certificate a client expects; empty is the host of the
	// URI, and localhost for a Unix socket.
	ServerName string
}

// Validate says which file is missing.
func (f *TLSFiles) Validate() error {
	if (f.Cert == "") != (f.Key == "") {
		return errors.New("TLS: expected a certificate and its key, got only one of them")
	}
	return nil
}

// Server is what a server does with these files: it shows its certificate, and
// if there is a CA, wants one of the client that this CA has signed.
//
// It does not tell the client which CA that is. GnuTLS before 3.8.13, which QEMU
// and libnbd use, finds none of its RSA keys fit for what Go asks for in TLS 1.3,
// and sends no certificate; if it receives no CA names, it sends the only one it has.
// So the server verifies it itself, as crypto/tls else would.
func (f *TLSFiles) Server() (*tls.Config, error) {
	c, err := f.config()
	switch {
	case err != nil:
		return nil, err
	case len(c.Certificates) == 0:
		return nil, errors.New("TLS: a server needs a certificate and its key")
	case f.CA != "":
		c.ClientAuth, c.VerifyConnection = tls.RequireAnyClientCert, verifyClient(c.RootCAs)
	}
	c.RootCAs = nil
	return c, nil
}

// verifyClient returns a function that verifies a client's certificate.
func verifyClient(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the client has shown no certificate")
		}
		o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		for _, c := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(o)
		return err
	}
}

// Client is what a client does with them: it wants a certificate that the CA,
// or without one the system's, has signed, and shows its own if asked.
func (f *TLSFiles) Client(u URI) (*tls.Config, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	c.ServerName = f.ServerName
	if c.ServerName == "" {
		c.ServerName = "localhost"
		if u.Network == "tcp" {
			c.ServerName, _, err = net.SplitHostPort(u.Address)
		}
	}
	return c, err
}

func (f *TLSFiles) config() (*tls.Config, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.Cert != "" {
		pair, err := keyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("TLS: %s and %s: %w", f.Cert, f.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if f.CA != "" {
		text, err := input.Read(f.CA, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("TLS: %s: expected certificates in PEM, got none", f.CA)
		}
	}
	return c, nil
}

// maxPEM bounds a file of certificates, in bytes: the system's has 250 KiB.
const maxPEM = 4 << 20

func keyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := input.Read(certFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := input.Read(keyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// prefixed is a connection of which some bytes were read too far.
type prefixed struct {
	net.Conn
	rest []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
