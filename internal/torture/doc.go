// Package torture says whether a program loses what it acknowledged when the drive
// under its file system loses power.
//
// The program runs on a real file system on a simulated drive, and acknowledges on a
// pipe what it considers durable. While it runs, the power is cut: what the cut leaves
// is copied, mounted elsewhere, which recovers it, and handed to the user's check
// together with exactly the acknowledgements that had arrived before the cut was
// ordered. The drive itself goes on.
//
// # Processes
//
// The command starts itself three times, with the same arguments, see [Config.Again]:
//
//   - The init process, the first one of a PID namespace and a mount namespace of its
//     own. It reaps orphans and ends with the run.
//   - The run, in these namespaces. It mounts, runs programs and judges.
//   - The device process, in these namespaces. It has the simulated drive and serves it
//     by FUSE (internal/fusefile). It touches no mount and has PR_SET_IO_FLUSHER, so that
//     the kernel does not wait for it to write what only it can write.
//
// The kernel kills all of a PID namespace with its first process, and that one ends with
// the command (PR_SET_PDEATHSIG). The mounts end with the mount namespace, and loop
// devices with their last use (LO_FLAGS_AUTOCLEAR). So nothing has to be cleaned up, even
// after kill -9: one empty directory, [Dir], stays.
//
// # What does not repeat
//
// The moments of the cuts come from the seed, but the kernel and the program run in real
// time: a run with the same seed cuts other states. An image that failed is kept instead.
package torture
