// Package nbd speaks the Network Block Device protocol, at both ends.
//
// Its protocol engines receive and return messages, and never use a socket. A
// [ServerConn] receives requests, refuses those that violate the protocol, and submits
// the others to a devices.Device; a [Client] is a devices.Device whose medium is at the
// other end of a connection. A [ServerHandshake] and a
// [ClientHandshake] negotiate: bytes in, bytes out.
//
// A [Wire] connects the engines by a pair of simulated links: it transfers the encoded
// header, and the data by reference, with one event for each message and without
// allocation. Package nbd/socket connects them by sockets in real time. This package
// uses neither sockets nor the clock: it does not import net, and starts no goroutine.
//
// An [Export] is a device with a name. It advertises the properties of the device:
// SEND_FLUSH if it can flush, SEND_FUA if its FUA is emulated or native, independently
// of each other. Layers around the device implement FUA; [Resolve] is nbdkit's decision table for comparison.
//
// # Dialects
//
// A [Dialect] is the format of messages after the handshake: simple replies, structured
// replies, or extended headers with structured replies. The default is simple replies,
// as in Linux's client; [ClientOptions] request others. A handshake that negotiates TLS
// stops at an Upgrade, which package socket executes, and discards its earlier state.
//
// # Time
//
// On a Wire the client's request, the link, the server's request and the device charge
// their time to one request: Stages sums exactly to Completed minus Intended, because
// the server's end finds the client's request by its cookie. Over sockets there is no
// such table, even within one process: all time from sending to the reply is charged to
// devices.Wire, and the other stages are not measured.
//
// # Bounds
//
// A connection has at most MaxInFlight requests and MaxInFlightBytes of their data
// in progress. A handshake takes at most MaxOptions options, and as many again for
// each export that was listed.
//
// # Caveats
//
//   - A READ is answered in one chunk, and base:allocation is the one metadata
//     context. RESIZE and payloads of BLOCK_STATUS are not supported.
//   - A client disconnects from a server whose chunks leave more than 1,024 gaps in a
//     READ at once, which the protocol would allow.
//   - A READ or WRITE beyond the advertised maximum payload gets EINVAL. nbdkit
//     gives ENOMEM, which the protocol says SHOULD NOT be sent.
//   - A client cannot see how a server implements FUA: Client.Info calls it native.
package nbd
