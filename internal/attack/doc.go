// Package attack is programs that mean harm to nbdbench, and tests that they do
// none.
//
// Hostile clients connect to the real program in a process of its own: they do not
// read replies, stop in the middle of a WRITE, break the protocol, leave at any
// moment, or connect and leave without end. The tests see the program as an
// operator does: its resident memory and descriptors in /proc, the peak of a memory
// cgroup of 512 MiB where one can be made, and what its control socket says of
// goroutines, connections and held bytes. When the clients have left, all of that has
// to be as before.
//
// A slice of each attack is part of every test run. -attack.exchanges says how many
// exchanges of each kind there are, and -attack.connects how many connections come and
// go; `make attack` has 100,000 and 50,000.
//
// Caveats: rates are logged, and never fail a test. A cgroup counts what the kernel
// holds for sockets, too; resident memory does not.
//
// Hostile servers break one rule each, fail, stall or die, and "nbdbench run
// --target" must neither call what it measured a result, nor hang, nor keep the
// cause to itself.
package attack
