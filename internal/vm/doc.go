// Package vm boots a Linux kernel in qemu, with a small file system in memory, and
// runs a program there.
//
//	k, err := vm.FindKernel("bin/vm")
//	i := vm.NewImage(k)
//	i.Add("/guest/test", 0o755, binary)
//	err = i.Programs("mke2fs", "e2fsck")
//	err = i.Modules(vm.Packed{"nbd": ".xz"}, "nbd", "xfs")
//	err = vm.Machine{...}.Run(ctx, out)
//
// The kernel is Debian's, extracted from its package and not installed. The caller
// chooses the content of the file system: busybox, the host's programs with their
// libraries, modules. The machine is emulated (TCG), so it runs wherever qemu does,
// without KVM or root; its timing means nothing.
//
// What the guest's /init writes to /dev/ttyS1 is the machine's output; the
// kernel's messages go to /dev/ttyS0, which is kept apart.
//
// Caveats: x86-64 only. The guest has the disks and the network that [Machine].Args name.
package vm
