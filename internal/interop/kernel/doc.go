// Package kernel tries nbdbench against the Linux kernel: /dev/nbd, the block
// layer's use of FLUSH and FUA, file systems and SQLite under power loss.
//
//	make test-kernel
//
// Its test binary runs twice. On the host it builds itself for a guest, boots a
// virtual machine (package internal/vm) with itself in it, and reports what the
// guest's tests said. In the guest, where its name is /guest/test, it is root of
// a machine that nobody will miss: it loads modules, attaches devices, mounts,
// and cuts the power of simulated devices. The tests for the guest begin with
// TestGuest and are skipped elsewhere.
//
// The power cut is exact: a layer in front of the simulated device counts its
// events and takes the image between two of them, together with the number of
// operations that the application had been told are durable by then. What
// follows is a kernel that mounts the image on another /dev/nbd, as after a
// restart.
//
// What the guest measures for the documents it prints, and the host compares
// with docs/KERNEL.md and testdata; -update rewrites them.
package kernel
