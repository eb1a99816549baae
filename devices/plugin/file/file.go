// Package file is a plugin over a file or a block device of the host: FUA is a write
// with RWF_DSYNC, FLUSH is fdatasync. Not on Linux both sync all of the file.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"syscall"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/internal/host"
)

// Register registers the plugin as go:file.
func Register() { plugin.Register("file", Open) }

// Open makes a plugin of the key path, a file that exists. It is opened for each
// connection, for writing if that writes; its size is what it is then.
func Open(args url.Values) (plugin.Plugin, error) {
	if err := plugin.CheckKeys(args, "path"); err != nil {
		return plugin.Plugin{}, err
	}
	path := args.Get("path")
	if path == "" {
		return plugin.Plugin{}, errors.New("path: expected a file, got none: go:file?path=FILE")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return plugin.Plugin{}, fmt.Errorf("path: %w", err)
	case !info.Mode().IsRegular() && info.Mode()&os.ModeDevice == 0:
		return plugin.Plugin{}, fmt.Errorf("path: %s is neither a file nor a block device", path)
	}
	return plugin.Plugin{Name: "file", Thread: plugin.Parallel, External: true, Open: func(_ context.Context, c plugin.ConnInfo) (*plugin.Conn, error) {
		return open(path, c.ReadOnly)
	}}, nil
}

// disk is the file of one connection.
type disk struct{ f *os.File }

func open(path string, readOnly bool) (*plugin.Conn, error) {
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	d := disk{f}
	c := &plugin.Conn{
		Size: d.size, PRead: d.read, PWrite: d.write, Flush: d.flush,
		CanFUA:       func(context.Context) (fua.Answer, error) { return fua.Native, nil },
		CanMultiConn: func(context.Context) (bool, error) { return true, nil }, // one page cache for all
		Close:        func() { _ = f.Close() },
	}
	if readOnly {
		c.PWrite = nil
	}
	return c, nil
}

func (d disk) size(context.Context) (uint64, error) {
	n, err := d.f.Seek(0, io.SeekEnd) // of a block device, too
	return uint64(n), err
}

func (d disk) read(_ context.Context, b []byte, off uint64) error {
	_, err := d.f.ReadAt(b, int64(off))
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the file has become shorter", devices.EIO)
	}
	return err
}

// write makes b durable by the write itself if f says so: the kernel then writes this
// range to the disk, and syncs no more of the file.
func (d disk) write(_ context.Context, b []byte, off uint64, f plugin.Flags) error {
	if f&plugin.FUA == 0 {
		_, err := d.f.WriteAt(b, int64(off))
		return err
	}
	for len(b) > 0 {
		n, err := host.WriteDurable(d.f, b, int64(off))
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return err
		case n == 0:
			return devices.EIO
		}
		if n > 0 {
			b, off = b[n:], off+uint64(n)
		}
	}
	return nil
}

func (d disk) flush(context.Context) error { return host.Datasync(d.f) }
