// Package hdd is a disk: seek, rotation, zones, a command queue served by shortest
// positioning time first (SPTF), a read cache in segments that the head fills by
// reading ahead, and a write-back cache that is destaged in the same order.
//
// The formulas are those of Ruemmler and Wilkes ("An introduction to disk drive
// modeling", 1994) in their simplest form. With x the seek distance as a
// fraction of all cylinders:
//
//	seek(0) = 0
//	seek(x) = A + B*sqrt(x)                            for x <= Knee
//	seek(x) = seek(Knee) + B/(2*sqrt(Knee))*(x-Knee)   beyond, with the same slope
//	+ Settle                                           for a write after a seek
//	wait    = (angle(sector) - angle(now+seek)) mod T, T = 60 s / RPM
//	angle   includes the skew of each head switch and each cylinder switch
//	move    = sectors/track * T, plus the skews of the switches in between
//
// The positioning time that SPTF minimises is seek plus wait. Tracks hold fewer
// sectors from zone to zone inwards. A host request that 64 others have been
// served before is next, in any order of service.
//
// # Reads
//
// Controller and bus answer a read if one segment has all of it, whatever the arm is
// doing. Otherwise the arm reads it into a segment: the one that has its beginning,
// else the least recently used one. Then the head reads ahead, from track to track, up
// to ReadAhead past the requested sectors; this is Ruemmler and Wilkes' aggressive
// read-ahead, which does not stop at the end of a track. A read of sectors being read
// ahead waits until the head has passed them. Any other work for the arm ends the
// read-ahead. It resumes when the reader has used half of the data read ahead and
// nothing else waits.
//
//	sequential rate = 512*sectors*heads / (heads*T + (heads-1)*HeadSwitch + CylinderSwitch)
//
// in bytes per second, as disk makers define their sustained rate (Hitachi,
// Deskstar 7K500 specification, 4.4.4), if the controller and the bus keep up.
// Segments affect time only; content is in the Drive. A write drops stale data from
// them, and written data is not read from them.
//
// # Queued writes
//
// While the arm is busy, the data of the writes that wait for it crosses the bus, up to
// MaxLoaded bytes. So one that begins where the last ended is next and misses no
// revolution: with the write cache off, and for FUA writes, two in flight have the
// sequential rate, where one at a time has one write a revolution. It needs no settling
// at the end of a track: the skew includes the switch.
//
// # Media cache
//
// Disks of today keep areas all over the medium for small writes, wherever they belong.
// With a MediaCache a write that goes to the medium, as all do with the write cache off,
// takes MediaCacheWrite there and not a seek and half a revolution. What it holds is
// durable, and where reads find it is not modelled. What the write cache destages goes
// to its place.
//
// # Part of a physical block
//
// A write on the medium that covers part of a PhysicalBlock takes one more revolution:
// the block passes once to be read and once to be written. If both ends of a write do,
// it is one revolution if they are on one track, else two. There is none if adjacent
// extents that are destaged together cover the block, or if the rest of the block is
// dirty in the write cache or in a segment. A block just written is not kept: sectors
// written one by one with FUA take the extra revolution each time.
//
// # Orders of service
//
// For a FLUSH of n random extents SPTF is the fastest. C-LOOK is faster than FIFO from
// three extents on; with two both take the same time on average, exactly and for any
// seek curve. The arm is at the last extent of the previous FLUSH: with the two new
// ones, three independent points of one distribution. C-LOOK visits them in cyclic
// order, FIFO in that order or in reverse, each half of the time; over the three
// positions that the arm may have, either order travels each of the three distances
// twice. With n extents, gap and span the gaps and the range of n+1 independent points:
//
//	FIFO   = n * E seek(|x-y|)
//	C-LOOK = n/(n+1) * (n * E seek(gap) + E seek(span))
//
// which is 1 against 0.9 of the stroke for n = 3 if seeks were linear.
//
// Not modelled: the arm's servo beyond settling, defects and their remapping, thermal
// recalibration, reads of data that the write cache has destaged, read-ahead before the
// requested sector, and the wait of other requests for the bus while all but the last
// 64 KiB of a long read cross it.
package hdd
