// Package ssd is a flash drive: a controller in front of a write buffer, units that
// make data durable, and the flash behind them, in one of two forms. Without
// Config.Flash a drive consists of latency formulas. With it the drive has dies, and
// latencies depend on the amount and location of dirty data and on the work of the dies.
//
// # Both forms
//
//	ack    = serial stage (Serial + SerialPer4K*ceil(n/4K) + n/Bandwidth), one
//	         after another, then Parallel, which overlaps (two-stage server law;
//	         NVMeVirt's write buffer law is the same without the queue)
//	clean  = FlushClean, a FLUSH with nothing dirty
//	host   = reads cross the bus one after another, n/Bandwidth each and at least
//	         ReadSerial, and take ReadBase besides
//
// Servers units make data durable, first come first served: one FUA write each. FLUSH
// has at most Flush.Servers of them at once, in general one, as drives serve FLUSHes one
// after another that serve many FUA writes side by side. A FLUSH covers the data
// that is dirty when a unit starts it. With Contention c, a unit takes (1+c) times as
// long while others work. FLUSH and FUA have separate parameters, FlushBase and
// FUABase: either may take longer. Sigma is the lognormal spread of both around their
// means.
//
// With FlushWhole each FLUSH that found dirty data costs FlushBase, though another may
// have written it meanwhile. Without it FLUSHes that wait when one begins share that one.
// With FUAPrograms, FUA has units of its own, and its writes share programs:
// one starts when FUABatch writes wait or the oldest has waited for FUAHoldOff, takes
// at most FUABatch, and costs FUABase once.
//
// Flush has what else sets FLUSH apart: a spread of its own, a share of slow ones and of
// those in the tail, which take a time more each, and a reserve. A drive that has been
// flushed Reserve times with hardly a rest between has no room prepared any more: a FLUSH
// then takes Exhausted in place of FlushBase, until Refill without one has given it back.
//
// # Formulas only
//
//	flush   = FlushBase + FlushPerStripe*(ceil(dirty/Stripe)-1)
//	fua     = [FUAHoldOff] + ack + FUABase, of all the writes of a program
//	read    = host + ReadPage on the die that holds the address
//	          (each die that holds a part: ReadPage for each Page of it, behind
//	          the Program that it is busy with)
//	destage = FlushPerStripe for each stripe, on a free unit
//
// A FLUSH that finds nothing dirty still takes FlushBase if data was destaged, or
// written past the cache, since the last one. Of a protected drive the buffer fills
// where more is written than Drain or, out of sequence on a drive that has been written
// over once, DrainRandom.
//
// # With dies
//
// Package ftl maps each mapping unit to its location. A row is what a die programs in
// one shot: OneShot pages on each of Planes planes, or one page in pSLC, which receives
// the host's data while it has an empty superblock. Rows go to the dies in round-robin
// order, adjacent rows on different channels; with Static, to the die of the address. A die does one thing at a time:
//
//	program = its row over the channel (bytes/ChannelBandwidth), then Program, or
//	          SLCProgram in pSLC; with CacheProgram the next row crosses the channel
//	          meanwhile
//	flush   = a row's program for all dirty data, on the dies in parallel, the last
//	          row padded; one program of mapping (Journal); then FlushBase
//	fua     = the same for its own data, then ack and FUABase; an older dirty copy
//	          is dropped, other data stays dirty
//	read    = on the die, Read or SLCRead for each page that holds part of it, the
//	          channel, host; no die for data in the buffer or never written
//	miss    = with MappingCache, a read before read and program: the unit's entry
//	erase   = Erase on each die, after the next row that it programs
//
// Reads have priority over programs. A program or an erase in progress is suspended for
// a read, in SuspendProgram or SuspendErase, at most maxStops times, unless it ends
// sooner. Destage sends rows until Depth rows per die are in flight; when the cache is
// full, writes are accepted at the rate of the dies. On a drive with a protected cache a
// write enters the buffer at once and FLUSH costs FlushClean.
//
// When idle the drive pads its open row and folds pSLC. A full pSLC is folded as the
// host writes (SLCFold) or bypassed. Garbage collection keeps pace with the host: its
// reads, programs and erases use the same dies, which causes the latency tail of reads.
// Drive.Stats counts programmed, moved and padded bytes and erases.
//
// # What is not modelled
//
//   - Of a mapping cache: that several misses of one page share its read, and the
//     order of the least recently used beyond sets of four.
//   - Read disturb, retries, the time of error correction, wear out, bad blocks.
//   - Thermal throttling and power states.
//   - Copy-back: moved data crosses the channel both ways.
//   - That a moved row is programmed after it was read: the programs of garbage
//     collection do not wait for its reads, though the dies execute both.
//   - All of a long TRIM: of a range whose mapping units must be examined one by one,
//     MaxUnmap units are unmapped, and the rest stays until it is overwritten.
//   - Superblocks of fewer than all dies, streams, zones.
//
// Without Flash, garbage collection, wear and pSLC are not modelled either: the measured
// parameters include their average effect, but not their tails.
//
// # Sources
//
// The write buffer's law, channels and pages: NVMeVirt (FAST 2023), ssd.c and
// ssd_config.h. The stages of a die, suspension, the choice of victims: MQSim
// (FAST 2018), ssdconfig.xml. Times of NAND by generation: FEMU's nand.h and
// zns.h. Greedy collection: see package ftl. The figures of a drive: its profile.
package ssd
