// Package kernel tests nbdbench with the Linux kernel: /dev/nbd, the block layer's use
// of FLUSH and FUA, file systems and SQLite under power loss.
//
//	make test-kernel
//
// Its test binary runs twice. On the host it builds itself for a guest, boots a virtual
// machine (package internal/vm) that contains it, and reports the results of the guest's
// tests. In the guest, where its name is /guest/test, it is root of a disposable
// machine: it loads modules, attaches devices, mounts, and cuts the power of simulated
// devices. Tests for the guest have names that start with TestGuest, and are skipped
// elsewhere.
//
// The power cut is exact: a layer in front of the simulated device counts its events
// and takes the image between two of them, together with the number of operations that
// the application has seen acknowledged as durable by then. Then a kernel mounts the
// image on another /dev/nbd, as after a restart.
//
// What databases request for a commit is captured on the host's kernel instead, in real
// time: make capture runs them on ext4 on a loop device and traces its bios. That needs
// root. The summaries are in workloads/testdata/captures, and package workloads holds its
// profiles against them.
//
// The guest prints its measurements for the documents, and the host compares them with
// docs/KERNEL.md and testdata; -update rewrites these.
package kernel
