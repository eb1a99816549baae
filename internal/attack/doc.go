// Package attack has hostile clients and servers, and tests that they do nbdbench no
// harm.
//
// Hostile clients connect to the real program in a process of its own: they do not
// read replies, stop in the middle of a WRITE, violate the protocol, disconnect at any
// moment, or connect and disconnect without end. The tests observe the program as an
// operator does: its resident memory and descriptors in /proc, the peak of a memory
// cgroup of 512 MiB where one can be made, and the numbers of goroutines, connections
// and held bytes from its control socket. After the clients have disconnected, all of
// them must be as before.
//
// A part of each attack is in every test run. -attack.exchanges sets the number of
// exchanges of each kind, and -attack.connects the number of connections that come and
// go; `make attack` uses 100,000 and 50,000.
//
// Caveats: rates are logged, and never fail a test. A cgroup includes the kernel's
// memory for sockets; resident memory does not.
//
// Hostile servers break one rule each, fail, stall or die. "nbdbench run --target" must
// report no result of such a server, must not hang, and must report the cause.
package attack
