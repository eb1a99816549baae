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
// with one event for each message and no allocation. Package nbd/socket has them
// on sockets in real time. This package knows neither sockets nor the clock: it
// does not import net, and starts no goroutine.
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
// a client's [ClientOptions] say more, as with Linux's client. A handshake that asks for
// TLS stops at an Upgrade, which package socket carries out, and forgets what it knew.
//
// # Time
//
// On a Wire the client's request, the link, the server's request and the device
// share one account: Stages sums exactly to Completed less Intended, because the
// server's end finds the client's request by its cookie. Over sockets there is
// no such table, even within one process: all from sending to the reply is
// charged to devices.Wire, and the other stages say nothing.
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
//     context. RESIZE and payloads of BLOCK_STATUS are not there.
//   - A client gives up on a server whose chunks leave more than 1,024 gaps in a
//     READ at once, which the protocol would allow.
//   - A READ or WRITE beyond the advertised maximum payload gets EINVAL. nbdkit
//     gives ENOMEM, which the protocol says SHOULD NOT be sent.
//   - A client cannot see how a server makes FUA: Client.Info calls it native.
package nbd
