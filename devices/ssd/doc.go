// Package ssd is a flash drive as its host sees it: a controller in front of a
// write buffer, a FLUSH that costs a base plus a part for what is dirty, a FUA
// with a cost of its own, and dies that serve reads.
//
// The laws, each parameter of which a profile gives with its source:
//
//	ack    = serial stage (Serial + SerialPer4K*ceil(n/4K) + n/Bandwidth), one
//	         after another, then Parallel, which overlaps (two-stage server law;
//	         NVMeVirt's write buffer law is the same without the queue)
//	flush  = FlushClean if nothing is dirty, else
//	         FlushBase + FlushPerStripe*(ceil(dirty/Stripe)-1)
//	fua    = ack + FUABase
//	read   = ReadBase + ReadPage + n/Bandwidth on the die that holds the page
//
// FLUSH, FUA and background destage are served by Servers units, first come
// first served; the coverage of a FLUSH is what is dirty when a unit starts it.
// With Contention c, a unit that starts while others work takes (1+c) times as
// long.
//
// What is not modelled: the mapping, garbage collection, wear, pSLC folding.
// Their average effect is in the measured parameters, their tails are not.
package ssd
