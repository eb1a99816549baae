package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Machine is a guest to run. Memory 0 is 1024 MiB and CPUs 0 is 1.
type Machine struct {
	Image  *Image
	Memory int // MiB
	CPUs   int
	Append string   // to the kernel's command line
	Args   []string // further arguments of qemu: disks, a network
	// Dir is where the image and the kernel's messages, console.log, are written.
	Dir string
}

// Run boots the guest and returns when it has powered itself off. What it writes
// to /dev/ttyS1 goes to out as it comes. When ctx ends the machine is killed.
func (m *Machine) Run(ctx context.Context, out io.Writer) error {
	qemu, err := find("qemu-system-x86_64")
	if err != nil {
		return err
	}
	initrd := filepath.Join(m.Dir, "initramfs")
	if err := m.Image.Write(initrd); err != nil {
		return err
	}
	console := filepath.Join(m.Dir, "console.log")
	args := []string{
		"-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-m", strconv.Itoa(orDefault(m.Memory, 1024)), "-smp", strconv.Itoa(orDefault(m.CPUs, 1)),
		"-kernel", m.Image.Kernel.Path, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 oops=panic rdinit=/init tsc=reliable mitigations=off no_timer_check " + m.Append,
		"-serial", "file:" + console, "-serial", "stdio",
	}
	c := exec.CommandContext(ctx, qemu, append(args, m.Args...)...)
	c.Stdout, c.WaitDelay = out, 5*time.Second
	said, err := os.Create(filepath.Join(m.Dir, "qemu.log"))
	if err != nil {
		return err
	}
	defer said.Close()
	c.Stderr = said
	if err := c.Run(); err != nil {
		return fmt.Errorf("qemu: %w: see %s", errors.Join(err, ctx.Err()), said.Name())
	}
	return nil
}

func orDefault(n, d int) int {
	if n == 0 {
		return d
	}
	return n
}
