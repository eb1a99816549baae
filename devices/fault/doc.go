// Package fault injects faults into a device according to a plan, to show that a
// checker finds them and that software survives them.
//
// A Plan is text that prints as it parses: faults separated by commas, each a kind
// and its parameters.
//
//	lying-flush
//	eio-flush:every=3,slow:every=100:time=50ms
//
// Each wrapper is a Device around a Device, so faults compose. The first fault of a
// plan is closest to the device. Random decisions are drawn from the seed.
//
//	kind                   effect                                               parameters
//	lying-flush            FLUSH succeeds and does nothing                      time=20us
//	fua-ignored            FUA is ignored
//	flush-skips-inflight   FLUSH does not wait for destages in flight
//	stale-after-fua        FUA leaves the older cached copy, written back later
//	shorn                  a power cut splits atomic units into sectors
//	collateral-512e        a power cut during a write that is not whole 4 KiB
//	                       blocks corrupts the rest of the physical block
//	lost                   a write is acknowledged and not executed             every=10
//	misdirected            a write goes to the next 4 KiB                       every=10
//	bit-rot                after a cut some sectors are unreadable              p=0.01
//	eio-read, eio-write,   the command fails; every other write that fails      every=10
//	eio-flush              has been executed
//	slow                   a command takes longer                               every=10 time=100ms
//	dead                   from a request on all fail, and nothing is left      after=100
//	no-capacitor           a power cut loses a protected cache; the device has
//	                       not detected it and reports as before
//
// The classes are those of Zheng et al., Understanding the Robustness of SSDs
// under Power Fault (FAST'13): bit corruption, shorn writes, unserializable
// writes, metadata corruption and total failure.
//
// What a client may conclude from EIO: after a failed read, promised data is still
// promised, and the read may be retried. A failed write may have been executed or not,
// until the block is written again and promised. A failed FLUSH promises nothing, even
// if the next one succeeds, unless that one covers the data again. Devices here keep
// the data of a failed FLUSH, so the next FLUSH covers it.
package fault
