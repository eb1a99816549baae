// Package capture reads and writes the summary of what a program's commits requested
// of a block device.
//
//	c := capture.Capture{Program: "SQLite 3.40.1"}
//	c.Add(events) // of one commit
//	err := c.Write(w)
//
// A capture counts flushes, writes with FUA, writes and bytes, and the sizes of writes.
// It keeps the order of each commit's requests: writes without FUA between two other
// requests are one entry with the sum of their bytes, since the kernel submits them
// together. Places and times are not in it.
//
// Caveats: a summary is of one client at a time, on one file system; what several
// clients share is not in it.
package capture
