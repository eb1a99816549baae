package plugin

import (
	"context"
	"errors"
	"io"
)

// FromInterfaces makes a plugin of what most Go backends have: ReadAt, WriteAt and
// perhaps Sync, for size bytes. It is of API 1, as nothing in a call can say how
// durable a write must be: with Sync its FUA is emulated, without there is neither
// FUA nor FLUSH. A nil w is read-only. All connections share r and w; a method is
// called by several goroutines at once.
func FromInterfaces(r io.ReaderAt, w io.WriterAt, size uint64) Plugin {
	conn := Conn{
		API:  1,
		Size: func(context.Context) (uint64, error) { return size, nil },
		PRead: func(_ context.Context, b []byte, offset uint64) error {
			n, err := r.ReadAt(b, int64(offset))
			if n == len(b) && errors.Is(err, io.EOF) {
				return nil // the device's last bytes
			}
			return err
		},
		CanMultiConn: func(context.Context) (bool, error) { return true, nil },
	}
	if w != nil {
		conn.PWrite = func(_ context.Context, b []byte, offset uint64, _ Flags) error {
			_, err := w.WriteAt(b, int64(offset))
			return err
		}
	}
	syncer, ok := w.(interface{ Sync() error })
	if !ok {
		syncer, ok = r.(interface{ Sync() error })
	}
	if ok {
		conn.Flush = func(context.Context) error { return syncer.Sync() }
	}
	return Plugin{Thread: Parallel, Open: func(context.Context, ConnInfo) (*Conn, error) {
		c := conn
		return &c, nil
	}}
}
