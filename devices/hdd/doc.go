// Package hdd is a disk: seek, rotation, zones, a command queue served in the
// order of shortest positioning time first (SPTF), a read cache in segments that
// the head fills beyond what was asked for, and a write-back cache that is
// drained in the order of the queue too.
//
// The formulas are those of Ruemmler and Wilkes ("An introduction to disk drive
// modeling", 1994) in their smallest form. With x the seek distance as a
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
// A read is answered by the controller and the bus if one segment has all of it,
// whatever the arm is doing. Otherwise the arm reads it into a segment: the one
// that has its beginning, else the longest unused. Then the head reads on, from
// track to track, as far as ReadAhead behind what was asked for; this is Ruemmler
// and Wilkes' aggressive read-ahead, which does not stop at the end of a track.
// A read that runs into it waits until the head has passed. Any other work for
// the arm ends it, and it begins again when the reader has used half of what was
// read ahead and nothing else waits.
//
//	sequential rate = 512*sectors*heads / (heads*T + (heads-1)*HeadSwitch + CylinderSwitch)
//
// in bytes per second, as disk makers define their sustained rate (Hitachi,
// Deskstar 7K500 specification, 4.4.4), if the controller and the bus keep up.
// Segments concern time alone: content is the Drive's. A write drops from them
// what it makes stale, and what was written is not read from them.
//
// # Part of a physical block
//
// A write on the medium that covers part of a PhysicalBlock takes a turn more:
// the block passes once to be read and once to be written. If both ends of a
// write do, it is one turn if they are on one track, else two. Adjacent extents
// that are destaged together and cover the block do not pay, nor does a write of
// which the rest is dirty in the write cache or in a segment. A block that was
// just written is not kept: sectors written one by one with FUA pay each time.
//
// # Orders of service
//
// A FLUSH of n extents at random has, in SPTF, the shortest ways to choose among.
// C-LOOK beats FIFO from three extents on; of two they take the same on average,
// exactly and for any seek curve. The arm stands where the last extent of the
// FLUSH before was: with the two that come, three independent points of one
// distribution. C-LOOK visits them in their cyclic order, FIFO in that order or in
// the reverse, each half of the time; over the three places that the arm may have,
// either order travels each of the three distances twice. With n extents, gap and
// span the gaps and the range of n+1 independent points:
//
//	FIFO   = n * E seek(|x-y|)
//	C-LOOK = n/(n+1) * (n * E seek(gap) + E seek(span))
//
// which is 1 against 0.9 of the stroke for n = 3 if seeks were linear.
//
// What is not modelled: the arm's servo beyond settling, defects and their
// remapping, thermal recalibration, reads from what the write cache has written,
// reading on before the sector that was asked for, and others' wait for the bus
// while all but the last 64 KiB of a long read cross it.
package hdd
