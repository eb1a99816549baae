// Package ssd is a flash drive as its host sees it: a controller in front of a
// write buffer, units that make data durable, and what is behind them, in one of
// two forms. Without Config.Flash a drive is its laws alone; with it there are
// dies, and what is dirty, where it lies and what the dies are doing decide.
//
// # Both forms
//
//	ack    = serial stage (Serial + SerialPer4K*ceil(n/4K) + n/Bandwidth), one
//	         after another, then Parallel, which overlaps (two-stage server law;
//	         NVMeVirt's write buffer law is the same without the queue)
//	clean  = FlushClean, a FLUSH when nothing is dirty
//	host   = reads cross the bus one after another, n/Bandwidth each, and take
//	         ReadBase besides
//
// FLUSH and FUA are served by Servers units, first come first served; the
// coverage of a FLUSH is what is dirty when a unit starts it. With Contention c,
// a unit's own part takes (1+c) times as long while others work. FLUSH and FUA
// have parameters of their own, FlushBase and FUABase: either may take longer.
// Sigma is the lognormal spread of both around their means.
//
// # The laws alone
//
//	flush   = FlushBase + FlushPerStripe*(ceil(dirty/Stripe)-1)
//	fua     = ack + FUABase
//	read    = host + ReadPage on the die that holds the address
//	destage = FlushPerStripe for each stripe, on a unit that is free
//
// # With dies
//
// Package ftl knows where each mapping unit lies. A row is what a die programs in
// one shot: OneShot pages on each of Planes planes, or one page in pSLC, which
// takes the host's data while it has an empty superblock. Rows go round the dies,
// neighbours on different channels. A die does one thing at a time:
//
//	program = its row over the channel (bytes/ChannelBandwidth), then Program, or
//	          SLCProgram in pSLC
//	flush   = a row's program for all that is dirty, dies at work side by side, the
//	          last row padded; one program of mapping (Journal); then FlushBase
//	fua     = the same of its own data, then ack and FUABase; an older dirty copy
//	          is dropped, other data stays dirty
//	read    = on the die, Read or SLCRead for each page that holds part of it, the
//	          channel, host; no die for what is in the buffer or was never written
//	erase   = Erase on each die, behind the next row that it programs
//
// Reads go before programs. A program or an erase in progress is suspended for a
// read, in SuspendProgram or SuspendErase, at most maxStops times, unless it ends
// sooner. Destage sends rows as long as Depth for each die are on their way; when
// the cache is full, writes are taken at the rate of the dies. On a drive whose
// cache is protected a write enters the buffer at once and FLUSH costs FlushClean.
//
// At rest the drive pads its open row and folds pSLC. A full pSLC is folded as the
// host writes (SLCFold) or passed by. Garbage collection keeps pace with the host:
// its reads, programs and erases are on the same dies, which is where the tails of
// reads come from. Drive.Stats counts what was programmed, moved, padded, erased.
//
// # What is not modelled
//
//   - Misses of a mapping cache: the whole mapping is at hand, on drives without
//     DRAM as well.
//   - Read disturb, retries, error correction's time, wear out, bad blocks.
//   - Thermal throttling and power states.
//   - Copy-back: what is moved crosses the channel both ways.
//   - That a moved row is programmed after it was read: collection's programs do
//     not wait for its reads, though the dies do both.
//   - All of a long TRIM: of a range of which each mapping unit has to be looked
//     at, MaxUnmap units are unmapped, the rest stays until it is overwritten.
//   - Superblocks of fewer than all dies, streams, zones.
//
// Without Flash, garbage collection, wear and pSLC are not modelled either: their
// average effect is in the measured parameters, their tails are not.
//
// # Sources
//
// The write buffer's law, channels and pages: NVMeVirt (FAST 2023), ssd.c and
// ssd_config.h. The stages of a die, suspension, the choice of victims: MQSim
// (FAST 2018), ssdconfig.xml. Times of NAND by generation: FEMU's nand.h and
// zns.h. Greedy collection: see package ftl. The figures of a drive: its profile.
package ssd
