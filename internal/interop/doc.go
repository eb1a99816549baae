// Package interop tries nbdbench against the NBD programs of others. It has no
// code of its own: its tests build the command, start it, and let real peers
// talk to it, or let it talk to them.
//
// What is tested, and against whom:
//
//	flags        nbdinfo                what each strategy advertises, for each profile and override
//	matrix       all of them            every peer beside our server or our client, plain and over TLS
//	negotiation  nbd-client, libnbd     LIST, INFO and GO, EXPORT_NAME, a name that is not there, TLS refused,
//	                                    several exports, as many as there may be, a socket from systemd
//	TLS          nbdinfo, qemu-io,      client certificates of RSA and EC, and why a handshake failed
//	             Python's OpenSSL
//	data         nbdcopy, qemu-img      what went in comes out, through several connections
//	commands     qemu-io, libnbd        FUA, FLUSH, TRIM, WRITE_ZEROES, and one errno for each rule
//	load         fio                    verified random writes with flushes, 16 in flight
//	targets      nbdkit, qemu-nbd,      nbdbench run --target: what crosses the wire under each strategy,
//	             nbd-server             and that nothing does without --destroy
//	started      nbdkit, qemu-nbd       nbdbench run --nbdkit and --target-command: what each strategy asks of
//	                                    the plugin, what is unsupported, how a server fails, and what is left
//	decisions    nbdkit                 fua.Resolve decides as nbdkit and its fua filter do
//	differential nbdkit                 our server does as nbdkit does, call by call and errno by errno
//	scripts      nbdkit, qemu-io        scripts under serve sh: and under nbdkit's sh plugin, call by call
//	many         nbdbench itself        ten thousand connections
//	peers        nbdkit, qemu-nbd, fio  how fast, and how accurate a delay is
//	suites       libnbd, nbd, qemu      their own test suites against serve, by way of package standin
//	draining     libnbd                 SIGTERM while a FLUSH is in flight
//	legacy       libnbd                 a backend without flags, exported as FUA that is emulated
//	time         nbdbench itself        real time agrees with virtual time
//
// A peer that is not installed skips its tests. Where the environment has CI or
// NBDBENCH_REQUIRE_PEERS=1 it fails them. TestPeerVersions logs a table with a
// line for each peer, so that a log says against what it was made:
//
//	peer         version  from
//	nbdkit       1.32.5   /usr/bin/nbdkit
//	fio          3.33     /usr/bin/fio
//	nbd-client   missing  apt-get install nbd-client
//
// With NBDBENCH_PEERS_ROOT=FOLDER, as root, all peers come from the Debian in that
// folder and run with it as their root, in namespaces of the tests' own; make
// interop-next makes it with next.sh. TestSuitesOfOthers runs only so.
//
// No test but these looks at the clock, because machines are shared: what takes
// long has minutes. TestRealTimeAgreesWithVirtualTime runs only with
// NBDBENCH_TIMING=1, TestBenchPeers and TestBenchDelays with NBDBENCH_PEERS=1sx15,
// on a machine that has nothing else to do. NBDBENCH_PEERS_LOADS='4k read, depth 1,'
// measures only the loads whose names the regular expression finds, and leaves the
// document alone.
//
// With -short, or under the race detector (which the tested command then has
// too), less data is moved. The kernel's client is not tried here: it needs
// nbd.ko, which few machines that run tests have.
package interop
