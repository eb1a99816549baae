// Package devices has the block request, the Device that serves it, and what a
// simulated one is made of: the volatile write cache, the media that holds what
// is durable, and the power cut.
//
// Device is to this project what http.Handler is to net/http: a simulated SSD
// is one, a strategy or a delay is one around another, and the NBD client is
// one whose media is at the other end of a wire.
//
// Truth stands apart from fault: Media holds what is durable, Cache is an
// overlay of what is only acknowledged, and a power cut returns a new Media. What
// is in flight when the power goes, to the medium or into a protected cache, may be
// there in part: any of its atomic units. Of a write that was on its way into a
// volatile cache there is nothing.
package devices
