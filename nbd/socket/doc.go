// Package socket serves and uses NBD exports over sockets in real time.
//
// A [Server] joins the engines of package nbd with sockets, and a [ClientConn] is
// an nbd.Client and its socket: both on a sim.Real, the event loop on the
// wall clock. Only this package has NBD goroutines, deadlines and system calls.
//
//	real, _ := sim.NewReal(sim.NewLoop())
//	server := socket.NewServer(real, &nbd.Export{Name: "disk", Device: device})
//	listener, uri, err := socket.Listen(socket.URI{Network: "unix", Address: "/tmp/disk"})
//	...
//	err = server.Serve(listener)
//
// # Reading and writing
//
// The goroutine that reads requests also runs the event loop. It parses everything that
// one system call returned, including the data of writes, enters the loop once with all
// of it, and after leaving writes the completed replies of all connections, as far as
// the sockets accept them without blocking. The rest is written by a goroutine of that
// connection. The pacer of sim.Real writes replies due to a device's timers in the same
// way. Nothing is written under the loop's lock.
//
// On Linux a client's sockets without TLS are not in Go's poller: one thread waits for
// all of them with poll(2), reads them, and writes data that they did not accept at once.
// With one request in flight that takes a third less processor time. A server may have
// ten thousand connections and uses Go's poller, except for the only active connection
// if UseDedicatedReader was called.
//
// # Bounds
//
// A connection has at most nbd.MaxInFlight requests and nbd.MaxInFlightBytes of
// their buffers in progress; replies that the peer does not read count too. All
// connections together hold at most what Server.LimitMemory says, and each of them
// half of what is free. Beyond that the server stops reading from that connection;
// other connections are not affected. A handshake takes at most NegotiationTimeout.
//
// # Caveats
//
//   - Over TLS each reply is written by the connection's writer, a goroutine switch
//     that plain sockets do not need.
//   - The server cannot know whether a socket's peer has read a reply; Lateness
//     ends when the write to the socket begins.
package socket
