package file

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/plugin"
)

func TestFile(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Open(url.Values{"path": {path}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Open(ctx, plugin.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Size(ctx); n != 8192 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	data := bytes.Repeat([]byte{7}, 512)
	if err := errors.Join(c.PWrite(ctx, data, 512, plugin.FUA), c.PWrite(ctx, data, 1024, 0), c.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got[512:1536], append(data, data...)) || len(got) != 8192 {
		t.Errorf("%v, %d bytes", err, len(got))
	}
	if err := os.Truncate(path, 600); err != nil {
		t.Fatal(err)
	}
	if err := c.PRead(ctx, make([]byte, 512), 512); devices.ErrnoOf(err) != devices.EIO {
		t.Errorf("past an end that has moved: %v", err)
	}
}

func TestAReadOnlyConnectionNeedsNoMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 512), 0o400); err != nil {
		t.Fatal(err)
	}
	p, err := Open(url.Values{"path": {path}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Open(context.Background(), plugin.ConnInfo{ReadOnly: true})
	if err != nil || c.PWrite != nil {
		t.Fatalf("%v, writes %v", err, c.PWrite != nil)
	}
	c.Close()
}

func TestWhatIsNoFile(t *testing.T) {
	for path, want := range map[string]string{"": "expected a file, got none", "/nowhere/disk": "no such file", t.TempDir(): "neither a file nor a block device"} {
		if _, err := Open(url.Values{"path": {path}}); err == nil || !strings.HasPrefix(err.Error(), "path: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", path, err)
		}
	}
}
