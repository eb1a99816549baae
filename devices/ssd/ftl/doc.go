// Package ftl is a flash translation layer without time: the location of each mapping
// unit, the free superblocks, the next victim of garbage collection, and counters of
// programs and erases. A drive passes it a Sink, which turns each program and each read
// of garbage collection into work for the dies.
//
// # Model
//
// A superblock is one block of every plane of every die. It is written row by
// row, a row being what one die programs in one shot on all its planes; row r is
// on die r mod dies. A superblock is erased when nothing in it is valid any more.
//
// Host data goes to its own open superblock, in pSLC while there is an empty one; data
// moved by garbage collection and folding goes to another. A page that a FLUSH pads is
// unusable until its superblock is collected.
//
// Collection begins when no more than Reserve superblocks are free, and keeps
// pace: for each row that the host fills it moves what frees a row's worth of
// the victim. The victim is the superblock with the fewest valid units (Greedy),
// the one with the fewest of some chosen at random (RandomGreedy, MQSim's RGA),
// or the oldest (FIFO).
//
// # Computed states
//
// A drive may start empty, filled once in order (Sequential), or in the steady
// state of uniform random writes (Random). The last two are computed, not
// written: the position of a unit that was never moved is a function, a
// permutation in the random case, and the units valid in each superblock follow
// from the steady state of greedy collection (Steady). Only units that have moved since
// take memory: 9 to 14 bytes a unit in a table, 4 where most have (package sparse), and 4
// a place in a superblock that is not free and has been written since.
//
// # Formulas
//
// With T physical and U logical units, a = T/U, the write amplification of greedy
// collection under uniform random writes is, for large superblocks,
//
//	A = a / (a + W(-a exp(-a)))
//
// with Lambert's W (Xiang and Kurkoski, "An Improved Analytic Expression for Write
// Amplification in NAND Flash", ICNC 2012, arXiv:1110.4245; Desnoyers, "Analytic
// Modeling of SSD Write Performance", SYSTOR 2012). The tests compare
// the package with it; see Amplification.
package ftl
