// Package trace reads what other programs have recorded of requests, and stores
// it: fio's iolog, blkparse's text, the log of nbdkit's log filter, and the CSV of
// published traces.
//
//	w := trace.NewWriter(file)
//	sum, err := trace.Import(w, input, trace.Options{Format: "blkparse", File: "t.txt"})
//	err = w.Close()
//
// Import reads line after line and keeps at most Window records, for lines that are
// not in the order of time, so memory does not grow with the trace. An error in a
// line is a *conf.Error with its place.
//
// # The store
//
// A store is a gzip stream (RFC 1952) of the eight bytes "nbdtrace", the byte 1, and
// records. A record is a byte, which has the operation in its lower four bits and
// FUA in bit 4, then three varints (of encoding/binary): the time since the record
// before it in nanoseconds, the offset minus where the record before it ended
// (zigzag), and the length in bytes. A byte 0xff ends them, and after it a varint has
// their number, so that a store that was cut short is known. Times begin at 0 and do
// not go back.
//
// What a format cannot carry is in Lacks. Whether writes were durable is such a
// thing: Options.Durable is the answer.
package trace
