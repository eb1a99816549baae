// Package host has what differs between operating systems: locks, durable writes and
// holes of files, and process groups. Linux has all of it. Elsewhere the portable
// form does the same at a higher cost, or the error is errors.ErrUnsupported.
package host
