// Package devices has the words that every layer shares: the block request, the
// Device that serves it, and what a device says of itself.
//
// Device is to this project what http.Handler is to net/http: a simulated SSD
// is one, a strategy or a delay is one around another, and the NBD client is
// one whose media is at the other end of a wire. What a simulated drive is made
// of is in package drive.
//
// # Who holds a request
//
// A request has one owner at a time. Submit hands it on, Done hands it back, and
// these fields belong to the owner alone: Timer, Next, Seq, Held and Arrival. A
// layer that makes a request of its own, a child, keeps the parent for as long as
// the child is out. Conn, Stream, Txn, Ref, Slot and Completer are the submitter's
// and are left alone by all others.
package devices
