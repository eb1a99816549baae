package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

const (
	// readyTimeout is how long the kernel may take until a connected device shows,
	// and poll how often we look.
	readyTimeout = 10 * time.Second
	poll         = 20 * time.Millisecond
)

// Attachment is an export that the kernel has.
type Attachment struct {
	Path    string // /dev/nbdN
	Netlink bool   // it was attached so, and outlives this process
	Export  nbd.ExportInfo

	index   int
	session *session // by ioctls
}

// Attach connects to the export that u names and gives it to the kernel. The
// module has to be there: see Load.
func Attach(ctx context.Context, u socket.URI, c Config) (*Attachment, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	sockets, export, err := c.dial(ctx, u)
	if err != nil {
		return nil, err
	}
	defer func() { // the kernel has its own reference
		for _, s := range sockets {
			_ = s.Close()
		}
	}()
	k, err := c.connection(export, sockets)
	if err != nil {
		return nil, err
	}
	a := &Attachment{Export: export}
	if err := a.connect(k, c.Ioctl); err != nil {
		return nil, fmt.Errorf("attach %v: %w", u, err)
	}
	a.Path = devicePath(a.index)
	if err := a.waitReady(ctx, k.size); err != nil {
		return nil, errors.Join(fmt.Errorf("attach %v as %s: %w", u, a.Path, err), a.Detach())
	}
	return a, nil
}

// dial connects and negotiates as often as the kernel is to have sockets.
func (c *Config) dial(ctx context.Context, u socket.URI) (sockets []*os.File, export nbd.ExportInfo, err error) {
	defer func() {
		if err != nil {
			for _, s := range sockets {
				_ = s.Close()
			}
		}
	}()
	for i := range max(c.Connections, 1) {
		conn, info, err := socket.Handover(ctx, u)
		if err != nil {
			return sockets, info, err
		}
		f, err := file(conn)
		if err != nil {
			return sockets, info, err
		}
		sockets = append(sockets, f)
		if i > 0 && (info.Size != export.Size || info.Flags != export.Flags) {
			return sockets, info, fmt.Errorf("%v: the server described the export differently on two connections", u)
		}
		export = info
		if c.Connections > 1 && info.Flags&nbd.CanMultiConn == 0 {
			return sockets, info, fmt.Errorf("%v does not advertise multi-conn: a FLUSH on one of %d connections would not cover the others; attach with one", u, c.Connections)
		}
	}
	return sockets, export, nil
}

// file is the socket of a connection, which is closed.
func file(c net.Conn) (*os.File, error) {
	defer c.Close()
	f, ok := c.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("the kernel takes sockets, not a %T", c)
	}
	return f.File()
}

// connection is what the kernel receives.
func (c *Config) connection(x nbd.ExportInfo, sockets []*os.File) (*connection, error) {
	k := &connection{
		index: -1, size: x.Size, blockSize: c.BlockSize, flags: uint16(x.Flags),
		timeout: c.Timeout, deadTimeout: c.DeadTimeout,
	}
	if k.blockSize == 0 {
		k.blockSize = max(x.MinBlock, 512)
	}
	if k.timeout == 0 {
		k.timeout = DefaultTimeout
	}
	if x.MinBlock > maxBlockSize || k.blockSize < x.MinBlock {
		return nil, fmt.Errorf("the export takes requests of whole %d bytes: the kernel would send blocks of %d", x.MinBlock, min(k.blockSize, maxBlockSize))
	}
	if k.size -= k.size % uint64(k.blockSize); k.size == 0 {
		return nil, fmt.Errorf("the export has %d bytes: expected at least one block of %d", x.Size, k.blockSize)
	}
	if c.Device != "" {
		k.index, _ = ParseDevice(c.Device) // Validate has read it
	}
	for _, s := range sockets {
		k.sockets = append(k.sockets, int(s.Fd()))
	}
	return k, nil
}

// connect hands the sockets over, by netlink where there is any.
func (a *Attachment) connect(k *connection, ioctl bool) error {
	if !ioctl {
		f, err := dialFamily()
		if err == nil {
			defer f.Close()
			a.Netlink = true
			a.index, err = f.connect(k)
			return busy(k, err)
		}
		if !errors.Is(err, errNoFamily) {
			return err
		}
	}
	var err error
	if k.index < 0 {
		if k.index, err = firstFree(); err != nil {
			return err
		}
	}
	a.index = k.index
	a.session, err = connectIoctl(k)
	return busy(k, err)
}

// busy explains EBUSY.
func busy(k *connection, err error) error {
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is attached already; nbdbench detach %s: %w", devicePath(k.index), devicePath(k.index), err)
	}
	return err
}

// waitReady waits until the device shows its size and can be opened.
func (a *Attachment) waitReady(ctx context.Context, size uint64) error {
	deadline := time.Now().Add(readyTimeout)
	for {
		err := a.shows(size)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

func (a *Attachment) shows(size uint64) error {
	f, err := os.Open(a.Path)
	if err != nil {
		return openError(a.Path, err)
	}
	defer f.Close()
	got, err := deviceSize(f)
	if err == nil && got != size {
		err = fmt.Errorf("the kernel says that it has %d bytes, expected %d", got, size)
	}
	return err
}

// Detach has the kernel let the device go. Requests in flight fail. One that
// the kernel has let go already is no error.
func (a *Attachment) Detach() error {
	if a.session != nil {
		return a.session.disconnect()
	}
	if !attached(a.index) {
		return nil
	}
	return disconnect(a.index)
}

// Gone returns when the kernel has let the device go, or when ctx ends, with
// its error.
func (a *Attachment) Gone(ctx context.Context) error {
	if a.session != nil { // its pid shows for as long as we have it open
		select {
		case <-a.session.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for attached(a.index) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * poll):
		}
	}
	return nil
}

// InUse says what uses the device: "mounted at /mnt". Empty is nothing.
func (a *Attachment) InUse() string { return inUse(a.index) }

// Detach has the kernel let /dev/nbdN go, whoever attached it. A device that is
// mounted or otherwise in use is let go only by force: what uses it then gets
// errors.
func Detach(path string, force bool) error {
	index, err := ParseDevice(path)
	if err != nil {
		return err
	}
	if !attached(index) {
		return fmt.Errorf("%s: %w", path, ErrNotAttached)
	}
	user := inUse(index)
	if user != "" && !force {
		return fmt.Errorf("%s: %w: %s", path, ErrInUse, user)
	}
	if err := disconnect(index); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if user != "" {
		return nil // it has no connection any more, and goes when its user does
	}
	return (&Attachment{index: index}).gone()
}

// gone waits a bounded time for the device to go.
func (a *Attachment) gone() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if err := a.Gone(ctx); err != nil {
		return fmt.Errorf("%s: the kernel has not let it go after %v", devicePath(a.index), readyTimeout)
	}
	return nil
}

// disconnect tries netlink first: it works whoever attached the device.
func disconnect(index int) error {
	f, err := dialFamily()
	if errors.Is(err, errNoFamily) {
		return disconnectIoctl(index)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.disconnect(index)
}
