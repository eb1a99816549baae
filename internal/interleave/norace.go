//go:build !race

package interleave

const most = Unbounded
