//go:build !linux

package serve

// scheduleServer leaves threads to the system's scheduler, which has no short slices
// on request.
func scheduleServer(_ bool, _ func(func(contended bool))) {}
