// Package hdd is a disk: seek, rotation, zones, a command queue served in the
// order of shortest positioning time first (SPTF), and a write-back cache that
// is drained in that order too.
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
// sectors from zone to zone inwards.
//
// What is not modelled: the arm's servo beyond settling, defects and their
// remapping, thermal recalibration, read-ahead.
package hdd
