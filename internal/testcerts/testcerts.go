// Package testcerts makes the certificates that tests of TLS need: a CA, and a
// server's and a client's signed by it, under the names that GnuTLS's users
// (nbdkit, libnbd, qemu) look for in a directory.
package testcerts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Dir has the files of one CA.
type Dir string

// The files.
const (
	CA         = "ca-cert.pem"
	ServerCert = "server-cert.pem"
	ServerKey  = "server-key.pem"
	ClientCert = "client-cert.pem"
	ClientKey  = "client-key.pem"
)

// Algorithm is what a key is for.
type Algorithm string

// The algorithms.
const (
	EC  Algorithm = "EC"  // ECDSA on P-256
	RSA Algorithm = "RSA" // of 2048 bits
)

// Path is one of the files.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// validity is so long that no clock is asked: certificates need an interval.
var validFrom, validUntil = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)

// authority signs.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// New makes a CA and what it has signed, for localhost, in a directory of the
// test's own. All keys are EC.
func New(t testing.TB) Dir {
	t.Helper()
	return NewOf(t, EC, EC)
}

// NewOf is New with a CA's key of one algorithm, and the other keys of another.
func NewOf(t testing.TB, authorities, leaves Algorithm) Dir {
	t.Helper()
	d := Dir(t.TempDir())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nbdbench test CA"}, NotBefore: validFrom, NotAfter: validUntil,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := newKey(t, authorities)
	ca := &authority{sign(t, template, template, key, key), key}
	d.write(t, CA, "CERTIFICATE", ca.cert.Raw)
	d.issue(t, ca, newKey(t, leaves), 2, ServerCert, ServerKey, x509.ExtKeyUsageServerAuth)
	d.issue(t, ca, newKey(t, leaves), 3, ClientCert, ClientKey, x509.ExtKeyUsageClientAuth)
	return d
}

// Mix returns a directory for a client that trusts the CA of one and shows the
// certificate of another.
func Mix(t testing.TB, trusts, has Dir) Dir {
	t.Helper()
	d := Dir(t.TempDir())
	for name, from := range map[string]Dir{CA: trusts, ClientCert: has, ClientKey: has} {
		text, err := os.ReadFile(from.Path(name))
		if err == nil {
			err = os.WriteFile(d.Path(name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d Dir) issue(t testing.TB, ca *authority, key crypto.Signer, serial int64, cert, keyFile string, usage x509.ExtKeyUsage) {
	t.Helper()
	c := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: validFrom, NotAfter: validUntil,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, ca.cert, key, ca.key)
	d.write(t, cert, "CERTIFICATE", c.Raw)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, keyFile, "PRIVATE KEY", raw)
}

func newKey(t testing.TB, a Algorithm) (key crypto.Signer) {
	t.Helper()
	var err error
	if a == RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, c, by *x509.Certificate, key, with crypto.Signer) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), with)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (d Dir) write(t testing.TB, name, kind string, raw []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
	if err := os.WriteFile(d.Path(name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}
