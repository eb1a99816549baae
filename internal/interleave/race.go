//go:build race

package interleave

// most is the greatest bound of Explore under the race detector, which makes an order ten
// times as slow and has nothing to find: one thread runs at a time.
const most = 1
