package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"nbdbench/devices/plugin"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// fileBackend is a backend as people write them: a file that knows no flags.
type fileBackend struct {
	*os.File
	syncs atomic.Int64
}

func (b *fileBackend) Sync() error {
	b.syncs.Add(1)
	return b.File.Sync()
}

func newFileBackend(t *testing.T, size int64) *fileBackend {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return &fileBackend{File: f}
}

// exportPlugin serves a plugin on a Unix socket in this process.
func exportPlugin(t *testing.T, p plugin.Plugin, o plugin.Options) (uri string) {
	t.Helper()
	uri, _ = servePlugin(t, p, o)
	return uri
}

// servePlugin is exportPlugin for a test that looks at the server, too.
func servePlugin(t *testing.T, p plugin.Plugin, o plugin.Options) (uri string, server *socket.Server) {
	t.Helper()
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		t.Fatal(err)
	}
	o.Loop, o.Real = real.Loop(), real
	host := plugin.NewHost(p, o)
	server = socket.NewServer(real, nbd.HostExport("", "", host))
	l, u, err := socket.Listen(socket.URI{Network: "unix", Address: filepath.Join(t.TempDir(), "socket")})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(server.Close(), host.Close(ctx)); err != nil {
			t.Error(err)
		}
		<-served
		if err := real.Close(); err != nil {
			t.Error(err)
		}
	})
	return u.String(), server
}

// TestALegacyBackendIsSyncedForFUA: a backend that has never heard of FUA is
// exported as FUA that is emulated.
func TestALegacyBackendIsSyncedForFUA(t *testing.T) {
	need(t, libnbd, "nbdinfo")
	b := newFileBackend(t, 8*mib)
	uri := exportPlugin(t, plugin.FromInterfaces(b, b, 8*mib), plugin.Options{})
	if x := nbdinfo(t, uri); !x.FUA || !x.Flush || !x.MultiConn || x.Size != 8*mib {
		t.Errorf("nbdinfo says %+v, expected FLUSH, FUA and multi-conn", x)
	}
	checkLegacy(t, uri, b)
}

// checkLegacy has a real client write, and looks at the file.
func checkLegacy(t *testing.T, uri string, b *fileBackend) {
	t.Helper()
	for _, c := range []struct {
		command string
		syncs   int64
	}{
		{"h.pwrite(bytearray([1]) * 4096, 0)", 0},
		{"h.pwrite(bytearray([2]) * 4096, 4096, nbd.CMD_FLAG_FUA)", 1},
		{"h.zero(4096, 8192, nbd.CMD_FLAG_FUA)", 1},
		{"h.flush()", 1},
		{"h.pread(4096, 0)", 0},
	} {
		before := b.syncs.Load()
		must(t, "", libnbd, "-c", "import nbd, sys; h = nbd.NBD(); h.connect_uri(sys.argv[1]); "+c.command+"; h.shutdown()", uri)
		if got := b.syncs.Load() - before; got != c.syncs {
			t.Errorf("%s: Sync was called %d times, expected %d", c.command, got, c.syncs)
		}
	}
	got := make([]byte, 8192)
	want := append(bytes.Repeat([]byte{1}, 4096), bytes.Repeat([]byte{2}, 4096)...)
	if _, err := b.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file does not have what was written (%v)", err)
	}
}

// TestALegacyBackendWithoutSync has nothing to promise.
func TestALegacyBackendWithoutSync(t *testing.T) {
	need(t, libnbd)
	b := newFileBackend(t, 8*mib)
	bare := struct{ io.ReaderAt }{b}
	uri := exportPlugin(t, plugin.FromInterfaces(bare, struct{ io.WriterAt }{b}, 8*mib), plugin.Options{})
	script(t, "what_is_not_advertised.py", uri, "fua", "flush", "trim")
	if n := b.syncs.Load(); n != 0 {
		t.Errorf("Sync was called %d times on a backend that was not to have it", n)
	}
}
