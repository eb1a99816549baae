package kernel

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// MaxModule bounds a module's size once it is unpacked, in bytes. The largest
// of Debian's kernel is below 8 MiB.
const MaxModule = 64 << 20

// InitFile hands a module's file to the kernel: as it is by finit_module, or
// unpacked by init_module where its name ends in .gz, .xz or .zst. Not every
// kernel can unpack modules itself.
func InitFile(path, params string, flags int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if filepath.Ext(path) == ".ko" {
		return unix.FinitModule(int(f.Fd()), params, flags)
	}
	image, err := unpack(path, f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return unix.InitModule(image, params)
}

// unpack reads a compressed module whole.
func unpack(path string, f io.Reader) ([]byte, error) {
	var r io.Reader
	var err error
	switch ext := filepath.Ext(path); ext {
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".xz":
		r, err = xz.NewReader(f)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f, zstd.WithDecoderMaxMemory(MaxModule)); err == nil {
			defer d.Close()
			r = d
		}
	default:
		return nil, fmt.Errorf("expected a module that ends in .ko, .ko.gz, .ko.xz or .ko.zst, got %q", ext)
	}
	if err != nil {
		return nil, err
	}
	image, err := io.ReadAll(io.LimitReader(r, MaxModule+1))
	if err != nil {
		return nil, err
	}
	if len(image) > MaxModule {
		return nil, fmt.Errorf("expected at most %d bytes of module", MaxModule)
	}
	return image, nil
}
