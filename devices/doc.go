// Package devices has the types that all layers share: the block request, the
// Device that serves it, and the properties of a device.
//
// A Device is to this project what http.Handler is to net/http: a simulated SSD is
// a Device, a strategy or a delay is a Device around another one, and the NBD client
// is a Device whose medium is at the other end of a connection. The parts of a
// simulated drive are in package drive.
//
// # Ownership of a request
//
// A request has one owner at a time. Submit passes it on, Done returns it. The fields
// Timer, Next, Seq, Held and Arrival belong to the current owner. A layer that creates
// a child request keeps the parent until the child has completed. Conn, Stream, Txn,
// Ref, Slot and Completer belong to the submitter, and no other layer changes them.
package devices
