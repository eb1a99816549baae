// A program that serves a plugin of its own: a disk in memory of which FUA is native.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

func main() {
	var mu sync.Mutex
	data := make([]byte, 16<<20)
	mine := plugin.Plugin{Name: "mine", Thread: plugin.Parallel, Open: func(context.Context, plugin.ConnInfo) (*plugin.Conn, error) {
		return &plugin.Conn{
			Size: func(context.Context) (uint64, error) { return uint64(len(data)), nil },
			PRead: func(_ context.Context, b []byte, off uint64) error {
				mu.Lock()
				defer mu.Unlock()
				copy(b, data[off:])
				return nil
			},
			PWrite: func(_ context.Context, b []byte, off uint64, f plugin.Flags) error {
				mu.Lock()
				defer mu.Unlock()
				copy(data[off:], b) // with plugin.FUA in f: not before it is durable
				return nil
			},
			CanFUA: func(context.Context) (fua.Answer, error) { return fua.Native, nil },
		}, nil
	}}

	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		panic(err)
	}
	host := plugin.NewHost(mine, plugin.Options{Loop: real.Loop(), Real: real, Timeout: 30e9, Report: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	server := socket.NewServer(real, nbd.HostExport("", "", host))
	listener, uri, err := socket.Listen(socket.URI{Network: "unix", Address: os.Args[1]})
	if err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go server.Serve(listener)
	fmt.Println(uri)
	<-ctx.Done()
	if err := errors.Join(server.Close(), host.Close(context.Background())); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
