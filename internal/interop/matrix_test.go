package interop

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/testcerts"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// matrixRow is one line of the matrix: a peer, and what it and we do together, over
// plain sockets and over TLS where the peer has that.
type matrixRow struct {
	role  string // of the peer
	peer  string // a program
	what  string
	plain func(t *testing.T)
	tls   func(t *testing.T) // nil: the peer cannot, or not as installed here
}

// served starts our server for a peer, over TLS with client certificates or
// without.
func served(t *testing.T, certs testcerts.Dir, args ...string) string {
	t.Helper()
	args = append(args, "--listen", "nbd://localhost:0/disk")
	if certs != "" {
		args = append(args, "--tls-cert", certs.Path(testcerts.ServerCert), "--tls-key", certs.Path(testcerts.ServerKey), "--tls-ca", certs.Path(testcerts.CA))
	}
	uri := serve(t, args...).uri
	if certs != "" { // the certificate is for a name, and 127.0.0.1
		uri = strings.Replace(uri, "[::1]", "localhost", 1) + "?tls-certificates=" + string(certs)
	}
	return uri
}

// qemuTLS are qemu's arguments for an export over TLS, in place of a URI.
func qemuTLS(certs testcerts.Dir, uri string) []string {
	address, _, _ := strings.Cut(strings.TrimPrefix(uri, "nbds://"), "/")
	host, port, _ := strings.Cut(address, ":")
	return []string{
		"--object", fmt.Sprintf("tls-creds-x509,id=tls,dir=%s,endpoint=client,verify-peer=on", certs), "--image-opts",
		fmt.Sprintf("driver=nbd,host=%s,port=%s,export=disk,tls-creds=tls", host, port),
	}
}

// clientRows are the peers that are clients of our server.
func clientRows(certs testcerts.Dir) []matrixRow {
	both := func(f func(t *testing.T, uri string)) (plain, tls func(*testing.T)) {
		one := func(c testcerts.Dir) func(*testing.T) {
			return func(t *testing.T) { f(t, served(t, c, "nvme-pm963", "--size", "64MiB")) }
		}
		return one(""), one(certs)
	}
	rows := []matrixRow{
		{role: "client", peer: "nbdinfo", what: "flags, block sizes, map, list"},
		{role: "client", peer: "nbdcopy", what: "in with flush, out with block status"},
		{role: "client", peer: libnbd, what: "FUA on each command"},
		{role: "client", peer: "nbdkit", what: "its nbd plugin, with all commands through it"},
	}
	rows[0].plain, rows[0].tls = both(matrixInfo)
	rows[1].plain, rows[1].tls = both(matrixCopy)
	rows[2].plain, rows[2].tls = both(func(t *testing.T, uri string) { script(t, "fua_on_each_command.py", uri) })
	rows[3].plain, rows[3].tls = both(func(t *testing.T, uri string) {
		args := []string{"nbd", "uri=" + uri}
		if address, secret, ok := strings.Cut(strings.TrimPrefix(uri, "nbds://"), "/disk?"); ok {
			host, port, _ := strings.Cut(address, ":")
			args = []string{"nbd", "hostname=" + host, "port=" + port, "export=disk", "tls=require", secret}
		}
		proxy, _ := nbdkit(t, args...)
		qemuIO(t, proxy, everyCommand...)
	})
	return append(rows,
		matrixRow{
			"client", "qemu-io", "every command it has",
			func(t *testing.T) { qemuIO(t, served(t, "", "nvme-pm963", "--size", "64MiB"), everyCommand...) },
			func(t *testing.T) {
				options := qemuTLS(certs, served(t, certs, "nvme-pm963", "--size", "64MiB"))
				must(t, "", append([]string{"qemu-io", "-c", "write -f -P 7 0 1M", "-c", "flush", "-c", "write -z -u 0 4k", "-c", "read -P 7 4k 4k"}, options...)...)
			},
		},
		matrixRow{
			"client", "qemu-img", "convert, map, compare",
			func(t *testing.T) { matrixImg(t, served(t, "", "nvme-pm963", "--size", "64MiB")) },
			func(t *testing.T) {
				options := qemuTLS(certs, served(t, certs, "nvme-pm963", "--size", "64MiB"))
				must(t, "", append([]string{"qemu-img", "map", "--output=json"}, options...)...)
			},
		},
		matrixRow{"client", "fio", "random writes, verified", func(t *testing.T) { fio(t, served(t, "", "nvme-pm963", "--size", "64MiB")) }, nil},
		matrixRow{"client", "nbd-client", "negotiation: list", func(t *testing.T) {
			uri := served(t, "", "ram")
			_, rest, _ := strings.Cut(uri, "localhost:")
			if rest == "" {
				_, rest, _ = strings.Cut(uri, "]:")
			}
			if rest == "" {
				_, rest, _ = strings.Cut(uri, "127.0.0.1:")
			}
			port, _, _ := strings.Cut(rest, "/")
			if out := must(t, "", "nbd-client", "-l", "localhost", port); !strings.Contains(out, "disk") {
				t.Errorf("listed %q", out)
			}
		}, nil},
	)
}

func matrixInfo(t *testing.T, uri string) {
	for _, c := range []string{"--size", "--can flush", "--can fua", "--can multi-conn", "--can df", "--can cache", "--can zero", "--can fast-zero", "--can trim", "--can structured-reply", "--can connect"} {
		must(t, "", append(append([]string{"nbdinfo"}, strings.Fields(c)...), uri)...)
	}
	if out := must(t, "", "nbdinfo", "--map", uri); !strings.Contains(out, "hole,zero") {
		t.Errorf("the map of an empty disk is %q", out)
	}
	if out := must(t, "", "nbdinfo", "--list", uri); !strings.Contains(out, `export="disk"`) || !strings.Contains(out, "description: nvme-pm963, pass") {
		t.Errorf("listed %q", out)
	}
}

func matrixCopy(t *testing.T, uri string) {
	source, back := randomFile(t, 64*mib), filepath.Join(t.TempDir(), "back")
	must(t, "", nbdcopy.in(source, uri)...)
	must(t, "", nbdcopy.out(back, uri)...)
	if sum(t, source) != sum(t, back) {
		t.Error("what came out is not what went in")
	}
}

func matrixImg(t *testing.T, uri string) {
	source := randomFile(t, 64*mib)
	must(t, "", qemuConvert.in(source, uri)...)
	must(t, "", "qemu-img", "compare", "-f", "raw", "-F", "raw", source, uri)
	if out := must(t, "", "qemu-img", "map", "-f", "raw", "--output=json", uri); !strings.Contains(out, `"zero": true, "data": false`) || !strings.Contains(out, `"zero": false, "data": true`) {
		t.Errorf("expected data and holes in the map, got %s", out)
	}
}

// exercise has our client do every command that a server advertises, in each
// dialect, one connection after the other, and reads back what it wrote.
func exercise(t *testing.T, begin func() (uri string), files socket.TLSFiles) {
	t.Helper()
	exerciseWithout(t, begin, files, 0)
}

// exerciseWithout does so for a server that advertises flags that it does not serve.
func exerciseWithout(t *testing.T, begin func() (uri string), files socket.TLSFiles, broken devices.Flags) {
	t.Helper()
	uri := begin()
	for name, options := range map[string]nbd.ClientOptions{"simple": {}, "structured": {Structured: true, Allocation: true}, "extended": {Extended: true, Structured: true, Allocation: true}} {
		u, err := socket.ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		real, err := sim.NewReal(sim.NewLoop())
		if err != nil {
			t.Fatal(err)
		}
		dialer := socket.Dialer{Options: options}
		if u.TLS {
			if dialer.TLS, err = files.Client(u); err != nil {
				t.Fatal(err)
			}
		}
		c, err := dialer.Dial(t.Context(), u, real)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		commands(t, name, c, real, broken)
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = real.Close()
	}
}

// commands sends every command that was advertised, without flags that are broken.
func commands(t *testing.T, name string, c *socket.ClientConn, real *sim.Real, broken devices.Flags) {
	t.Helper()
	x := c.Export()
	data := bytes.Repeat([]byte("nbdbench"), 8192)
	fua := devices.Flags(0)
	if x.Flags&nbd.SendFUA != 0 {
		fua = devices.FUA
	}
	one := func(r *devices.Request) {
		t.Helper()
		if submit(t, real, c, r); r.Errno != devices.OK {
			t.Errorf("%s: %v ended with %v", name, r, r.Errno)
		}
	}
	one(&devices.Request{Op: devices.OpWrite, Flags: fua, Offset: mib, Length: 64 << 10, Payload: devices.Payload{Bytes: data}})
	if x.Flags&nbd.SendWriteZeroes != 0 {
		one(&devices.Request{Op: devices.OpWriteZeroes, Flags: fua, Offset: mib, Length: 4096})
		clear(data[:4096])
	}
	if x.Flags&nbd.SendTrim != 0 {
		one(&devices.Request{Op: devices.OpTrim, Flags: fua, Offset: 2 * mib, Length: 64 << 10})
	}
	if x.Flags&nbd.SendCache != 0 {
		one(&devices.Request{Op: devices.OpCache, Offset: mib, Length: 4096})
	}
	if x.Flags&nbd.SendFlush != 0 {
		one(&devices.Request{Op: devices.OpFlush})
	}
	flags := []devices.Flags{0}
	if x.Flags&nbd.SendDF != 0 && broken&devices.DF == 0 {
		flags = append(flags, devices.DF)
	}
	for _, f := range flags {
		got := make([]byte, len(data)+64<<10) // with what was never written: a hole, for some
		one(&devices.Request{Op: devices.OpRead, Flags: f, Offset: mib, Length: uint64(len(got)), Payload: devices.Payload{Bytes: got}})
		if !bytes.Equal(got[:len(data)], data) {
			t.Errorf("%s: read something else than was written", name)
		}
	}
	if x.Allocation {
		status := &devices.BlockStatus{}
		status.Reset(devices.MaxStatusExtents)
		one(&devices.Request{Op: devices.OpBlockStatus, Offset: mib, Length: 64 << 10, Payload: devices.Payload{Status: status}})
		if len(status.Extents) == 0 {
			t.Errorf("%s: no status", name)
		}
	}
}

// submit waits for one request.
func submit(t *testing.T, real *sim.Real, d devices.Device, r *devices.Request) {
	t.Helper()
	done := make(chan struct{})
	r.Completer = completer(func() { close(done) })
	real.Do(func() {
		r.Begin(real.Loop().Now())
		d.Submit(r)
	})
	select {
	case <-done:
	case <-time.After(programTimeout):
		t.Fatalf("%v hangs", r)
	}
}

type completer func()

func (c completer) Done(*devices.Request) { c() }

// serverRows are the peers that are servers to our client.
func serverRows(certs testcerts.Dir) []matrixRow {
	files := socket.TLSFiles{CA: certs.Path(testcerts.CA), Cert: certs.Path(testcerts.ClientCert), Key: certs.Path(testcerts.ClientKey)}
	kit := func(args ...string) (plain, tls func(*testing.T)) {
		plain = func(t *testing.T) {
			exercise(t, func() string { uri, _ := nbdkit(t, args...); return uri }, socket.TLSFiles{})
		}
		tls = func(t *testing.T) {
			exercise(t, func() string {
				uri, _ := nbdkit(t, append([]string{"--tls=require", "--tls-certificates=" + string(certs), "--tls-verify-peer"}, args...)...)
				return strings.Replace(uri, "nbd+unix", "nbds+unix", 1)
			}, files)
		}
		return plain, tls
	}
	rows := []matrixRow{
		{role: "server", peer: "nbdkit", what: "memory"},
		{role: "server", peer: "nbdkit", what: "file"},
		{role: "server", peer: "nbdkit", what: "memory under blocksize, fua and nozero"},
	}
	rows[0].plain, rows[0].tls = kit("memory", "64M")
	rows[1].plain = func(t *testing.T) {
		file := rawFile(t)
		exercise(t, func() string { uri, _ := nbdkit(t, "file", file); return uri }, socket.TLSFiles{})
	}
	rows[2].plain, rows[2].tls = kit("--filter=blocksize", "--filter=fua", "--filter=nozero", "memory", "64M", "maxdata=16k", "fuamode=emulate", "zeromode=emulate")
	return append(rows,
		matrixRow{
			"server", "qemu-nbd", "a raw file, its reads with holes",
			func(t *testing.T) {
				exercise(t, func() string { return qemuNBD(t, rawFile(t)).uri }, socket.TLSFiles{})
			},
			func(t *testing.T) { exercise(t, func() string { return qemuNBDWithTLS(t, certs) }, files) },
		},
		// nbd-server 3.26 answers a READ with DF without its data, to libnbd too.
		matrixRow{"server", "nbd-server", "a raw file, without DF", func(t *testing.T) {
			exerciseWithout(t, func() string { return nbdServer(t).uri }, socket.TLSFiles{}, devices.DF)
		}, nil},
	)
}

// qemuNBDWithTLS exports a raw file over TLS on TCP: qemu has none on a Unix
// socket.
func qemuNBDWithTLS(t *testing.T, certs testcerts.Dir) string {
	port := freePort(t)
	start(t, "", "qemu-nbd", "--format=raw", "--persistent", "--shared=4", "--bind=127.0.0.1", "--port="+port,
		"--object", fmt.Sprintf("tls-creds-x509,id=tls,dir=%s,endpoint=server,verify-peer=on", certs), "--tls-creds=tls", rawFile(t))
	awaitSocket(t, "tcp", "127.0.0.1:"+port)
	return "nbds://127.0.0.1:" + port + "/"
}

// TestInteropMatrix is every peer beside our server or our client, plain and
// over TLS. Its table in docs/NBD.md is what it saw.
func TestInteropMatrix(t *testing.T) {
	certs := testcerts.New(t)
	versions := map[string]string{}
	for _, p := range programs {
		versions[p.name], _ = p.describe(t)
	}
	var mu sync.Mutex
	seen := map[string]string{}
	rows := append(clientRows(certs), serverRows(certs)...)
	t.Run("row", func(t *testing.T) {
		for _, r := range rows {
			for how, f := range map[string]func(*testing.T){"plain": r.plain, "TLS": r.tls} {
				id := strings.Join([]string{r.role, r.peer, r.what, how}, ", ")
				if f == nil {
					seen[id] = "-"
					continue
				}
				t.Run(id, func(t *testing.T) {
					need(t, r.peer)
					defer func() { // Fatal skips what comes after it
						mu.Lock()
						defer mu.Unlock()
						if seen[id] = "yes"; t.Failed() {
							seen[id] = "no"
						}
					}()
					f(t)
				})
			}
		}
	})
	var b strings.Builder
	b.WriteString("| the peer is | peer | version | what | plain | TLS |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		id := strings.Join([]string{r.role, r.peer, r.what}, ", ")
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.role, r.peer, versions[r.peer], r.what, seen[id+", plain"], seen[id+", TLS"])
	}
	t.Logf("\n%s", b.String())
	section := "matrix"
	if peersRoot != "" {
		section = "matrix-next"
	}
	if !t.Failed() {
		updateSection(t, "NBD.md", section, b.String())
	}
}
