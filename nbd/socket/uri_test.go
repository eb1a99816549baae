package socket

import (
	"testing"
)

func TestURIs(t *testing.T) {
	for _, test := range []struct {
		in   string
		want URI
		out  string // if it is not in
	}{
		{"nbd://localhost:10810/disk", URI{Network: "tcp", Address: "localhost:10810", Export: "disk"}, ""},
		{"nbd://localhost", URI{Network: "tcp", Address: "localhost:10809"}, "nbd://localhost:10809/"},
		{"nbd://[::1]/a/b", URI{Network: "tcp", Address: "[::1]:10809", Export: "a/b"}, "nbd://[::1]:10809/a/b"},
		{"nbds://host/x", URI{Network: "tcp", Address: "host:10809", Export: "x", TLS: true}, "nbds://host:10809/x"},
		{"nbd+unix:///disk?socket=/run/s.sock", URI{Network: "unix", Address: "/run/s.sock", Export: "disk"}, ""},
		{"nbd+unix:///?socket=/run/s.sock", URI{Network: "unix", Address: "/run/s.sock"}, ""},
		{"nbd+unix://?socket=/run/s.sock", URI{Network: "unix", Address: "/run/s.sock"}, "nbd+unix:///?socket=/run/s.sock"},
		{"nbds+unix:///e%20f?socket=a%26b", URI{Network: "unix", Address: "a&b", Export: "e f", TLS: true}, ""},
		{"nbd+vsock://3:1234/disk", URI{Network: "vsock", Address: "3:1234", Export: "disk"}, ""},
		{"nbd+vsock:///", URI{Network: "vsock", Address: ":10809"}, "nbd+vsock://:10809/"},
		{"nbds+vsock://4294967294:4294967295/", URI{Network: "vsock", Address: "4294967294:4294967295", TLS: true}, ""},
	} {
		u, err := ParseURI(test.in)
		if err != nil || u != test.want {
			t.Errorf("%s: %+v, %v", test.in, u, err)
			continue
		}
		out := test.out
		if out == "" {
			out = test.in
		}
		if u.String() != out {
			t.Errorf("%s prints as %s", test.in, u)
		}
		if back, err := ParseURI(u.String()); err != nil || back != u {
			t.Errorf("%s came back as %+v, %v", u, back, err)
		}
	}
}

func TestURIsThatAreNone(t *testing.T) {
	for _, s := range []string{"", "disk", "http://x/", "nbd:///x", "nbd+unix:///x", "nbd+unix://host/x?socket=s", "nbd://h:port/", "nbd://::", "nbd://a:b:10809/", "nbd+vsock://host/", "nbd+vsock://4294967296/", "nbd+vsock://2:4294967296/"} {
		if u, err := ParseURI(s); err == nil {
			t.Errorf("%q was taken for %+v", s, u)
		}
	}
}

// FuzzURI: what parses prints to what parses the same.
func FuzzURI(f *testing.F) {
	f.Add("nbd://host/x")
	f.Add("nbd+unix:///e%20f?socket=/a%26b")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		if back, err := ParseURI(u.String()); err != nil || back != u {
			t.Errorf("%q: %+v prints as %q, which is %+v, %v", s, u, u, back, err)
		}
	})
}
