package testcerts

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

func TestWhatIsMadeIsTrusted(t *testing.T) {
	for _, authorities := range []Algorithm{EC, RSA} {
		for _, leaves := range []Algorithm{EC, RSA} {
			trusted(t, NewOf(t, authorities, leaves))
		}
	}
}

func trusted(t *testing.T, d Dir) {
	t.Helper()
	text, err := os.ReadFile(d.Path(CA))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("the CA is not in PEM")
	}
	for _, c := range []struct {
		cert, key string
		usage     x509.ExtKeyUsage
	}{{ServerCert, ServerKey, x509.ExtKeyUsageServerAuth}, {ClientCert, ClientKey, x509.ExtKeyUsageClientAuth}} {
		pair, err := tls.LoadX509KeyPair(d.Path(c.cert), d.Path(c.key))
		if err != nil {
			t.Fatal(err)
		}
		options := x509.VerifyOptions{Roots: roots, DNSName: "localhost", KeyUsages: []x509.ExtKeyUsage{c.usage}}
		if _, err := pair.Leaf.Verify(options); err != nil {
			t.Errorf("%s: %v", c.cert, err)
		}
	}
}
