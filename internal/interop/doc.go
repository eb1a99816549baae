// Package interop tests nbdbench against other NBD programs. It has no code of its own:
// its tests build the command, start it, and connect real peers to it, or connect it to
// them.
//
// What is tested, and against which programs:
//
//	flags        nbdinfo                what each strategy advertises, for each profile and override
//	matrix       all of them            every peer with our server or our client, plain and over TLS
//	negotiation  nbd-client, libnbd     LIST, INFO and GO, EXPORT_NAME, an unknown name, TLS refused,
//	                                    several exports up to the limit, a socket from systemd
//	TLS          nbdinfo, qemu-io,      client certificates of RSA and EC, and why a handshake failed
//	             Python's OpenSSL
//	data         nbdcopy, qemu-img      written data is read back, through several connections
//	commands     qemu-io, libnbd        FUA, FLUSH, TRIM, WRITE_ZEROES, and one errno for each rule
//	load         fio                    verified random writes with flushes, 16 in flight
//	targets      nbdkit, qemu-nbd,      nbdbench run --target: the requests under each strategy, and
//	             nbd-server             that there are none without --destroy
//	started      nbdkit, qemu-nbd       nbdbench run --nbdkit and --target-command: the plugin calls of
//	                                    each strategy, what is unsupported, failures, and leftovers
//	decisions    nbdkit                 fua.Resolve decides as nbdkit and its fua filter do
//	differential nbdkit                 our server behaves as nbdkit does, call by call and errno by errno
//	scripts      nbdkit, qemu-io        scripts under serve sh: and under nbdkit's sh plugin, call by call
//	many         nbdbench itself        ten thousand connections
//	peers        nbdkit, qemu-nbd, fio  how fast, and how accurate a delay is
//	suites       libnbd, nbd, qemu      their own test suites against serve, with package standin
//	draining     libnbd                 SIGTERM while a FLUSH is in flight
//	legacy       libnbd                 a backend without flags, exported with emulated FUA
//	time         nbdbench itself        real time agrees with virtual time
//
// Tests whose peer is not installed are skipped. With CI or NBDBENCH_REQUIRE_PEERS=1 in
// the environment they fail. TestPeerVersions logs a line for each peer, so that a log
// shows which versions it was made with:
//
//	peer         version  from
//	nbdkit       1.32.5   /usr/bin/nbdkit
//	fio          3.33     /usr/bin/fio
//	nbd-client   missing  apt-get install nbd-client
//
// With NBDBENCH_PEERS_ROOT=FOLDER, as root, all peers come from the Debian in that
// folder and run with it as their root, in namespaces of the tests; make interop-next
// creates it with next.sh. TestSuitesOfOthers runs only in this mode.
//
// Only these tests use the clock, because machines are shared; long operations have
// limits of minutes. TestRealTimeAgreesWithVirtualTime runs only with
// NBDBENCH_TIMING=1, TestBenchPeers and TestBenchDelays with NBDBENCH_PEERS=1sx15, on an
// otherwise idle machine. NBDBENCH_PEERS_LOADS='4k read, depth 1,' measures only the
// loads whose names match the regular expression, and does not change the document.
//
// With -short, or under the race detector (with which the tested command is then built
// too), less data is moved. The kernel's client is not tested here: it needs nbd.ko,
// which few test machines have.
package interop
