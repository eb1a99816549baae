// Package history has what happened to a device, one event for each submit and
// each completion, and the two judges that read it.
//
//	judge := history.NewJudge(dev.Info())
//	dev = history.NewTap(dev, loop, judge) // at the wire, below the server
//	...
//	judge.CheckImage(cut.Stamp, func(v history.Violation) { ... })
//
// # The two judges
//
// A Judge stands at the wire and knows what was promised there: a Violation is
// a promise that an image breaks. A Ledger stands with the application and
// knows which transactions it was told are durable: a lost commit is one of
// which an image lacks a write. Who drops FLUSH and FUA above the wire loses
// commits without a violation.
//
// # The rules
//
// They are those of the NBD protocol, "Ordering of messages and writes".
//
// Writes are ordered by real time alone: v is before w if v's reply, good or
// bad, was sent before w was received. Those that overlap may land in either
// order. Events are numbered, and the numbers decide, not the clock.
//
// w is promised once its FUA reply was sent without error, or once a FLUSH has
// succeeded that was received after w's good reply was sent. Where FLUSH holds
// for one connection only (no MultiConn), it must be w's. A write that failed
// is never promised and stays possible until something durable is after it.
//
// After a power cut version v of a sector is illegal if some promised w to that
// sector has v before w; what the device held at first is before everything.
// Any other version is legal, for each sector on its own.
//
// A WRITE_ZEROES is a write whose content is zeros. A TRIM leaves the old data
// or zeros and may do so at any time afterwards: it makes zeros legal, as a
// WRITE_ZEROES does, but promises nothing even when it is durable, so it never
// makes another version illegal; what a durable write made illegal stays so.
//
// A power cut ends what is in progress: such a write is before all that is received
// afterwards, and stays possible until something durable is after it. What was only
// acknowledged is as possible, and no later FLUSH promises it.
//
// A Legal lists for each sector all versions that these rules allow, where a
// Judge only answers whether one is; rapid holds both against the definition.
//
// # Stamps
//
// Images are judged by the stamps of their sectors. Stamp 0 is what the device
// held at first, zeros, or data that was written without a stamp; a sector that
// shows 0 is legal if any of these is. Stamps index a table and must be dense:
// MaxStamp bounds them. A command cut in pieces may use its stamp for all of
// them. The smallest unit is the sector of 512 bytes.
//
// # Cost
//
// An event of an aligned 4 KiB write costs about 100 ns and allocates nothing
// but the growth of the tables: 64 bytes a page of 4 KiB ever written and 40
// bytes a write. Ledger.Lost reads only the sectors that a cut exposes.
//
// # The log
//
// A Log keeps the events and writes them as text, the only trace format here:
// a line with the version, then a line of tab-separated fields for each event.
//
//	nbdbench/history/v1
//	S  seq  time  conn  stream  txn  op  flags  offset  length  stamp
//	D  seq  time  of  errno
//	C  seq  time
//
// S is a submit, D a completion; of is the seq of its submit. C is a power cut:
// what is in progress then gets no completion. Numbers are
// decimal, time is in nanoseconds since the loop began, op and errno are names
// ("write_zeroes", "ENOSPC"). Seq rises from line to line and time never falls.
// A file whose last line is not ended was cut short: what is before is the history.
package history
