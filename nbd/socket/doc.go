// Package socket serves and uses NBD exports over sockets in real time.
//
// A [Server] joins the engines of package nbd with sockets, and a [ClientConn] is
// an nbd.Client and its socket: both over a sim.Real, the loop that follows the
// wall clock. Goroutines, deadlines and system calls of NBD are here alone.
//
//	real, _ := sim.NewReal(sim.NewLoop())
//	server := socket.NewServer(real, &nbd.Export{Name: "disk", Device: device})
//	listener, uri, err := socket.Listen(socket.URI{Network: "unix", Address: "/tmp/disk"})
//	...
//	err = server.Serve(listener)
//
// # Reading and writing
//
// The goroutine that reads a request also runs the loop: it parses what one
// system call brought, with the data of writes, enters the loop once with all of
// it, and after leaving writes what has completed meanwhile, on any connection,
// as far as the sockets take it without blocking. The rest is left to a
// goroutine of that connection. Replies to a device's timers are written by the
// pacer of sim.Real in the same way. Nothing is written under the loop's lock.
//
// On Linux a client's sockets, unless TLS is spoken, are taken out of Go's poller:
// one thread waits for all of them with poll(2), reads them, and writes what they
// did not take at once. For one request at a time that is a third less processor
// time. A server may have ten thousand connections and leaves them to Go's poller,
// but for the only active one if UseDedicatedReader was called.
//
// # Bounds
//
// A connection has at most nbd.MaxInFlight requests and nbd.MaxInFlightBytes of
// their buffers in progress; replies that the peer does not read count too. All
// connections together hold at most what Server.LimitMemory says, and each of them
// half of what is free. Beyond that the server stops reading from it, and others do
// not notice. A handshake takes at most NegotiationTimeout.
//
// # Caveats
//
//   - Over TLS each reply is written by the connection's writer, a hand-off that
//     plain sockets do not have.
//   - The server cannot know whether a socket's peer has read a reply; Lateness
//     ends when the write to the socket begins.
package socket
