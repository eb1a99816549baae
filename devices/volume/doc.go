// Package volume has the two volumes that are more than a drive: cloud block
// storage at the other end of a network, and a RAID controller that keeps
// writes in memory behind a battery.
//
// # Cloud
//
// A Cloud has no volatile cache: what it acknowledges is durable. Its laws:
//
//	start   = the instant at which the I/O has a place among MaxInFlight and
//	          every bucket has given its tokens
//	service = Min + lognormal(mean Mean-Min, sigma Sigma)
//	          + Tail, with TailProbability
//	flush   = Flush
//
// An I/O takes ceil(n/IOSize) tokens of IOPS, at least one, and, if it is a READ
// or WRITE, n of Bytes; FLUSH takes none. A limit is a bucket that fills at
// Rate and holds Burst, in front of one that fills at Peak and holds nothing: at
// most Peak while the credit lasts, Rate after that. A request longer than a
// bucket waits until as much has come in. Both buckets are full at first.
//
// With s the standard deviation of the service, Sigma = SigmaOf(Mean-Min, s),
// which is sqrt(ln(1+(s/(Mean-Min))^2)): the moments of the lognormal solved for
// sigma. The draws belong to (Txn, Step); a request of no transaction draws by
// its order of arrival.
//
// What is not modelled: the bandwidth of the host's own network port, I/Os that
// the provider merges, the minutes after a snapshot was restored or a volume
// changed, correlated slow periods, the loss of a replica.
//
// # RAID
//
// A RAID is a controller with a protected cache in front of a disk:
//
//	hit   = serial stage (Serial + n/Bandwidth), one after another, then
//	        Parallel, which overlaps; FLUSH has Flush in place of Parallel
//	write = hit, once there is room for it in the cache
//	read  = hit, then the disk's read unless the cache has all of it
//
// Dirty extents go to the disk, QueueDepth writes at once, so that the order is
// the disk's, adjacent ones as one write of up to MaxRun: above HighWater until
// LowWater, when nothing was asked for IdleDestage, and while writes wait for
// room. A full cache therefore takes writes at the rate of the disk. A write
// longer than the cache waits until that is empty and goes past it.
//
// With a good battery a write is durable when it is acknowledged, FUA costs
// nothing and FLUSH has nothing to do. FailBattery makes the controller write
// through: writes wait until all that is in the cache is on the disk, and from
// then on are acknowledged when they are durable there. A FLUSH during the drain
// waits for what was acknowledged before it. Until the drain is over, what the
// cache holds has been promised and is at the mercy of a power cut.
//
// A power cut may leave any of the atomic units of a write that the controller is
// working on: until it is acknowledged nobody keeps it.
//
// The controller makes the disk's writes durable: with FUA, if the disk has a
// volatile cache of its own. It does not read-modify-write: it hands a write
// that is smaller than a logical block to the disk as it is.
//
// The truth about the content is the controller's, in the Media given to NewRAID:
// the disk is asked for time, errors and counts, and never for content, so that
// adjacent blocks of different versions can be one write. Give the disk Blank.
//
// What is not modelled: parity, more than one disk, a read cache and read-ahead,
// the battery's learn cycle, a rebuild. A disk that fails a destage takes the
// array offline: the cache keeps what it has, and writes fail with EIO.
package volume
