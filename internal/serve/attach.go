package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"nbdbench/devices/catalog"
	"nbdbench/nbd/kernel"
	"nbdbench/nbd/socket"
)

// AttachConfig is an export to be given to the kernel: that of a server, or a
// device that we serve ourselves.
type AttachConfig struct {
	URI    socket.URI
	Serve  *Config // in place of URI
	Kernel kernel.Config
}

// Attach gives the export to the kernel and writes the device's path to ready,
// alone on a line. What a server has it leaves to the kernel and returns, unless
// the ioctls need a thread of ours; for what we serve ourselves it stays until
// ctx ends or the kernel lets the device go.
func Attach(ctx context.Context, c AttachConfig, ready, talk io.Writer) error {
	if err := c.Kernel.Validate(); err != nil {
		return err
	}
	if c.Serve != nil && isModel(c.Serve.Device) {
		if _, err := catalog.Load(c.Serve.Device); err != nil {
			return err
		}
	}
	if err := kernel.Load(); err != nil {
		return err
	}
	if c.Serve == nil {
		return c.attach(ctx, c.URI, ready, talk, false)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r, w := io.Pipe()
	served := make(chan error, 1)
	go func() {
		err := Serve(serving, *c.Serve, w, talk)
		_ = w.CloseWithError(io.EOF) // nobody waits for a URI any more
		served <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		return <-served
	}
	u, err := socket.ParseURI(strings.TrimSpace(line))
	if err == nil {
		err = c.attach(ctx, u, ready, talk, true)
	}
	stop()
	return errors.Join(err, <-served)
}

// attach attaches u, and stays where the device must not outlast us.
func (c *AttachConfig) attach(ctx context.Context, u socket.URI, ready, talk io.Writer, stay bool) error {
	a, err := kernel.Attach(ctx, u, c.Kernel)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(ready, a.Path); err != nil {
		return errors.Join(err, a.Detach())
	}
	if a.Netlink && !stay {
		return nil
	}
	if a.Gone(ctx) == nil {
		fmt.Fprintf(talk, "%s was detached\n", a.Path)
		return a.Detach() // of which our side may be left
	}
	if user := a.InUse(); user != "" {
		fmt.Fprintf(talk, "%s is %s: what uses it gets errors from now on\n", a.Path, user)
	}
	return errors.Join(flush(a.Path), a.Detach())
}

// flush writes what the kernel has cached of the device.
func flush(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
