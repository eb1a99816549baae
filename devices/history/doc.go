// Package history records what happened to a device, one event for each submit and
// each completion, and has the two checkers that read the record.
//
//	judge := history.NewJudge(dev.Info())
//	dev = history.NewTap(dev, loop, judge) // at the wire, inside the server
//	...
//	judge.CheckImage(cut.Stamp, func(v history.Violation) { ... })
//
// # The two checkers
//
// A Judge is at the wire and knows what was promised there: a Violation is a promise
// that an image contradicts. A Ledger is at the application and knows which
// transactions it saw acknowledged as durable: a commit is lost if an image lacks one
// of its writes. A client that drops FLUSH and FUA loses commits without a violation.
//
// # The rules
//
// They are those of the NBD protocol, "Ordering of messages and writes".
//
// Writes are ordered by real time only: v is before w if v's reply, successful or not,
// was sent before w was received. Overlapping writes may take effect in either order.
// Events are numbered; their numbers define the order, not the clock.
//
// A write w is promised once its FUA reply was sent without an error, or once a FLUSH
// succeeded that was received after w's successful reply was sent. Where FLUSH covers
// one connection only (no MultiConn), it must be w's connection. A failed write is
// never promised, and remains possible until a later write is durable.
//
// After a power cut version v of a sector is illegal if some promised w to that
// sector has v before w; the initial content is before everything.
// Any other version is legal, for each sector independently.
//
// A WRITE_ZEROES is a write of zeros. A TRIM leaves the old data or zeros, and may do
// so at any later time: it makes zeros legal, as a WRITE_ZEROES does, but promises
// nothing even when it is durable. So it never makes another version illegal, and a
// version that a durable write made illegal stays illegal.
//
// A power cut ends the requests in progress. Such a write is before all requests
// received later, and remains possible until a later write is durable. The same holds
// for writes that were only acknowledged; no later FLUSH promises them.
//
// A Legal lists all versions of each sector that these rules allow; a Judge only
// answers whether one is legal. A property test compares both with the definition.
//
// # Stamps
//
// Images are compared by the version stamps of their sectors. Stamp 0 is the initial
// content, zeros, or data written without a stamp; a sector that shows 0 is legal if
// any of these is. Stamps index a table and must be dense: MaxStamp bounds them. A
// command split into pieces may use one stamp for all of them. The smallest unit is the
// sector of 512 bytes.
//
// # Cost
//
// An event of an aligned 4 KiB write costs about 100 ns. It allocates only when
// tables grow: 64 bytes for each page of 4 KiB ever written and 40 bytes for each
// write. Ledger.Lost reads only the sectors that a cut exposes.
//
// # The log
//
// A Log stores the events and writes them as text, the only trace format here: a line
// with the version, then a line of tab-separated fields for each event.
//
//	nbdbench/history/v1
//	S  seq  time  conn  stream  txn  op  flags  offset  length  stamp
//	D  seq  time  of  errno
//	C  seq  time
//
// S is a submit, D a completion; of is the seq of its submit. C is a power cut:
// requests in progress at that time get no completion. Numbers are decimal, time is in
// nanoseconds since the start of the loop, op and errno are names ("write_zeroes",
// "ENOSPC"). Seq increases from line to line and time never decreases. A file whose
// last line is incomplete was truncated; the lines before it are the history.
package history
