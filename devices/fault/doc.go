// Package fault makes a device misbehave as a plan says, so that a checker can
// be shown to find it and software to survive it.
//
// A Plan is text that prints as it parses: faults separated by commas, each a
// kind and its parameters.
//
//	lying-flush
//	eio-flush:every=3,slow:every=100:time=50ms
//
// Its wrappers compose: each is a Device around a Device. The first fault of a
// plan is next to the device. What a fault does is drawn from the seed.
//
//	kind                   what happens                                         parameters
//	lying-flush            FLUSH is answered and does nothing                   time=20us
//	fua-ignored            FUA is answered as the plain command is
//	flush-skips-inflight   FLUSH does not wait for what is being destaged
//	stale-after-fua        FUA leaves the older cached copy, written back later
//	shorn                  a power cut splits atomic units into sectors
//	collateral-512e        a power cut during a write that is not whole 4 KiB
//	                       blocks ruins the rest of the physical block
//	lost                   a write is acknowledged and not done                 every=10
//	misdirected            a write goes to the next 4 KiB                       every=10
//	bit-rot                after a cut some sectors are unreadable              p=0.01
//	eio-read, eio-write,   the command fails; a write that fails may have been  every=10
//	eio-flush              done, and every other one has
//	slow                   a command takes longer                               every=10 time=100ms
//	dead                   from a request on all fail, and nothing is left      after=100
//	no-capacitor           a protected cache is lost in a power cut, and the
//	                       device has not noticed: it does and says as before
//
// The classes are those of Zheng et al., Understanding the Robustness of SSDs
// under Power Fault (FAST'13): bit corruption, shorn writes, unserializable
// writes, metadata corruption and total failure.
//
// What a client may conclude from EIO: a read that failed has told nothing; what
// was promised stays promised, and the read may be tried again. A write that
// failed may be there or not, until it is written again and promised. A FLUSH
// that failed promises nothing, not even when the next one succeeds, unless that
// one covers the data again. Devices here keep the data of a failed FLUSH, so the
// next FLUSH does.
package fault
