package bench

import "nbdbench/internal/stack"

// Link is the wire between client and server, in each direction alike.
type Link = stack.Link

// links are those that have a name.
var links = stack.Links()

// ParseLink reads a link's name or LATENCY,BANDWIDTH, where bandwidth 0 is
// unlimited.
func ParseLink(s string) (Link, error) { return stack.ParseLink(s) }
