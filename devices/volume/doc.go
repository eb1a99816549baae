// Package volume has the two volumes that are more than a drive: cloud block
// storage behind a network, and a RAID controller with battery-backed memory.
//
// # Cloud
//
// A Cloud has no volatile cache: acknowledged data is durable. Its formulas:
//
//	start   = the instant at which the I/O is one of at most MaxInFlight and
//	          every token bucket has provided its tokens
//	service = Min + lognormal(mean Mean-Min, sigma Sigma)
//	          + Tail, with TailProbability
//	flush   = Flush
//
// An I/O of n bytes takes ceil(n/IOSize) tokens of IOPS, at least one, and, if it is a
// READ or WRITE, n of Bytes; FLUSH takes none. A limit is a token bucket that fills at
// Rate and holds Burst, in front of one that fills at Peak and holds nothing: at
// most Peak while the credit lasts, Rate after that. A request larger than a bucket
// waits until enough tokens have arrived. Both buckets are full at the start.
//
// With s the standard deviation of the service time, Sigma = SigmaOf(Mean-Min, s),
// which is sqrt(ln(1+(s/(Mean-Min))^2)): the moments of the lognormal solved for
// sigma. The draws are indexed by (Txn, Step); a request outside a transaction draws
// by its order of arrival.
//
// Not modelled: the bandwidth of the host's network port, I/Os merged by the provider,
// the minutes after a snapshot was restored or a volume changed, correlated slow
// periods, the loss of a replica.
//
// # RAID
//
// A RAID is a controller with a protected cache in front of a disk:
//
//	hit   = serial stage (Serial + n/Bandwidth), one request after another, then
//	        Parallel, which overlaps; FLUSH has Flush instead of Parallel
//	write = hit, once there is room for it in the cache
//	read  = hit, then the disk's read unless the cache has all of it
//
// Dirty extents are destaged to the disk, QueueDepth writes at a time, so the disk
// chooses their order, and adjacent extents as one write of up to MaxRun. Destage runs
// above HighWater until LowWater, after IdleDestage without requests, and while writes
// wait for room. A full cache therefore accepts writes at the rate of the disk. A write
// larger than the cache waits until the cache is empty and bypasses it.
//
// With a good battery a write is durable when it is acknowledged, FUA costs nothing,
// and FLUSH has nothing to do. FailBattery switches the controller to write-through:
// writes wait until the cache is drained to the disk, and from then on are acknowledged
// when they are durable there. A FLUSH during the drain waits for data acknowledged
// before it. Until the drain is complete, a power cut loses promised data.
//
// A power cut may leave any of the atomic units of a write in progress.
//
// The controller makes its writes to the disk durable: with FUA, if the disk has a
// volatile cache. It does not read-modify-write: it passes a write smaller than a
// logical block to the disk as it is.
//
// The Media given to NewRAID holds the content. The disk provides service times,
// errors and counters, never content, so that adjacent blocks of different versions
// can be one write. Give the disk Blank.
//
// Not modelled: parity, more than one disk, a read cache and read-ahead, the battery's
// learn cycle, a rebuild. A disk that fails a destage takes the array offline: the
// cache keeps its data, and writes fail with EIO.
package volume
