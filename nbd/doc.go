// Package nbd speaks the Network Block Device protocol, at both ends.
//
// Its engines are handed messages and hand out messages, and never see a
// socket. A [ServerConn] takes requests, refuses those that break a rule of the
// protocol, and submits the rest to a devices.Device; a [Client] is a
// devices.Device whose medium is at the other end. A [ServerHandshake] and a
// [ClientHandshake] negotiate: bytes in, bytes out.
//
// Two things join the engines. A [Wire] is a pair of links on the loop of a
// simulation: what travels is the encoded header, and by reference the data,
// with one event for each message and no allocation. A [Server] and a
// [ClientConn] are sockets in real time, over a sim.Real.
//
// An [Export] is a device under a name. What it advertises is what the device
// says of itself: SEND_FLUSH if it can flush, SEND_FUA if its FUA is emulated or
// native, each for itself. How FUA is made is the business of layers around the
// device; [Resolve] is nbdkit's decision table for comparison.
//
// # Dialects
//
// A [Dialect] is how messages look once the handshake is over: simple replies,
// structured ones, or extended headers with both. It is the plain protocol unless
// a client's [Wishes] say more, as with Linux's client. A handshake that asks for
// TLS stops at an Upgrade, which its shell carries out, and forgets what it knew.
//
// # Time
//
// On a Wire the client's request, the link, the server's request and the device
// share one account: Stages sums exactly to Completed less Intended, because the
// server's end finds the client's request by its cookie. Over sockets there is
// no such table, even within one process: all from sending to the reply is
// charged to devices.Wire, and the other stages say nothing.
//
// # Sockets
//
// The goroutine that reads a request also runs the loop: it parses what one
// system call brought, with the data of writes, enters the loop once with all of
// it, and after leaving writes what has completed meanwhile, on any connection,
// as far as the sockets take it without blocking. The rest is left to a
// goroutine of that connection. Replies to a device's timers are written by the
// pacer of sim.Real in the same way. Nothing is written under the loop's lock.
//
// A client's sockets, unless TLS is spoken, are taken out of Go's poller: one
// thread waits for all of them with poll(2), reads them, and writes what they did
// not take at once. For one request at a time that is a third less processor time.
// A server may have ten thousand connections and leaves them to Go's poller.
//
// The files server.go, dial.go, attend.go, socket.go and outqueue.go (with
// client_chunks.go, the reading of chunks) are a real-time shell:
// they alone here start goroutines and set deadlines.
//
// # Bounds
//
// A connection has at most MaxInFlight requests and MaxInFlightBytes of their
// buffers in progress; replies that the peer does not read count too. All
// connections together hold at most what Server.LimitMemory says, and each of them
// half of what is free. Beyond that the server stops reading from it, and others do
// not notice. A
// handshake takes at most NegotiationTimeout and MaxOptions options and one for
// each export.
//
// # Caveats
//
//   - A READ is answered in one chunk, and base:allocation is the one metadata
//     context. RESIZE and payloads of BLOCK_STATUS are not there.
//   - A client gives up on a server whose chunks leave more than 1,024 gaps in a
//     READ at once, which the protocol would allow.
//   - Over TLS each reply is written by the connection's writer, a hand-off that
//     plain sockets do not have.
//   - A READ or WRITE beyond the advertised maximum payload gets EINVAL. nbdkit
//     gives ENOMEM, which the protocol says SHOULD NOT be sent.
//   - A client cannot see how a server makes FUA: Client.Info calls it native.
//   - The server cannot know whether a socket's peer has read a reply; Lateness
//     ends when the write to the socket begins.
package nbd
