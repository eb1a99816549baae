// Package target starts the NBD server that a run measures: nbdkit with its fua filter,
// or any server by a shell command. A server lives for one run. It listens on a Unix
// socket in a directory of its own, and Stop leaves neither a process of its group nor
// a file.
//
//	n, err := target.ParseNbdkit("file ./disk.img")
//	server, err := target.Start(ctx, n.Server("native"))
//	... connect to server.Socket() ...
//	err = server.Stop()
//
// # The starting thread
//
// nbdkit --exit-with-parent ends when the thread that started it ends, so package fork
// starts programs from a thread that never ends. A shell command gets the same signal
// from the kernel; other processes that it starts are in its process group, which Stop
// kills.
package target
