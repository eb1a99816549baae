package interop

import (
	"fmt"
	"strings"
	"testing"

	"nbdbench/internal/testcerts"
)

// serveTLS serves the export disk to clients with a certificate.
func serveTLS(t *testing.T, certs testcerts.Dir) *server {
	t.Helper()
	return serve(t, "ram", "--size", "1MiB", "--listen", "nbds://127.0.0.1:0/disk", "--tls-cert", certs.Path(testcerts.ServerCert),
		"--tls-key", certs.Path(testcerts.ServerKey), "--tls-ca", certs.Path(testcerts.CA))
}

// TestClientCertificatesOfEachAlgorithm: GnuTLS, of libnbd and QEMU, and OpenSSL,
// of Python, with RSA and EC for the CA and for the certificates.
func TestClientCertificatesOfEachAlgorithm(t *testing.T) {
	need(t, libnbd, "nbdinfo", "qemu-io")
	for _, authorities := range []testcerts.Algorithm{testcerts.EC, testcerts.RSA} {
		for _, leaves := range []testcerts.Algorithm{testcerts.EC, testcerts.RSA} {
			t.Run(string(authorities+" CA and "+leaves+" client"), func(t *testing.T) {
				certs := testcerts.NewOf(t, authorities, leaves)
				s := serveTLS(t, certs)
				uri := fmt.Sprintf("nbds://localhost:%s/disk?tls-certificates=%s", s.port(), certs)
				if got := must(t, "", "nbdinfo", "--size", uri); got != "1048576\n" {
					t.Errorf("nbdinfo says %q", got)
				}
				must(t, "", "qemu-io", "-c", "write -P 3 0 4k", "-c", "read -P 3 0 4k",
					"--object", fmt.Sprintf("tls-creds-x509,id=tls,dir=%s,endpoint=client,verify-peer=on", certs),
					"--image-opts", fmt.Sprintf("driver=nbd,host=localhost,port=%s,export=disk,tls-creds=tls", s.port()))
				for _, version := range []string{"TLSv1_2", "TLSv1_3"} {
					script(t, "openssl_client.py", s.port(), string(certs), version)
				}
				if talk := s.stop(); strings.Contains(talk, "failed") {
					t.Errorf("the server says %q", talk)
				}
			})
		}
	}
}

// TestWhyTLSFailedIsLogged once, however often the client tries.
func TestWhyTLSFailedIsLogged(t *testing.T) {
	need(t, "nbdinfo")
	certs, strangers := testcerts.NewOf(t, testcerts.RSA, testcerts.RSA), testcerts.New(t)
	for name, test := range map[string]struct {
		trusts, has testcerts.Dir
		cause       string
	}{
		"the client's certificate is somebody else's": {certs, strangers, "x509: certificate signed by unknown authority"},
		"the client does not trust the server":        {strangers, certs, ""}, // as GnuTLS puts it
	} {
		t.Run(name, func(t *testing.T) {
			mixed := testcerts.Mix(t, test.trusts, test.has)
			s := serveTLS(t, certs)
			for range 2 {
				r := run(t, "", "nbdinfo", "--size", fmt.Sprintf("nbds://localhost:%s/disk?tls-certificates=%s", s.port(), mixed))
				if r.code == 0 {
					t.Fatalf("expected to be refused: %v", r)
				}
			}
			talk := s.stop()
			if strings.Count(talk, "handshake with 127.0.0.1:") != 1 || !strings.Contains(talk, "failed: TLS: "+test.cause) {
				t.Errorf("the server says %q, expected one line with the client's address and %q", talk, test.cause)
			}
		})
	}
}
