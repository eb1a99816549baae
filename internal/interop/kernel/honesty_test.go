package kernel

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"nbdbench/internal/honesty"
	"nbdbench/internal/vm"
)

var honestyCuts = flag.Int("honesty.cuts", 10, "power cuts of TestHonesty for each of QEMU's caches")

const honestyToken = "a secret of the test"

// honestDisk is a disk of the guest: a simulated drive as a file of nbdfuse, behind one of
// QEMU's caches. (To an NBD server QEMU sends FLUSH with any cache.)
type honestDisk struct {
	cache  string // QEMU's
	broken bool   // promises are: QEMU drops FLUSH and FUA

	server   *exec.Cmd // of the drive
	socket   string
	file     string
	listener string // its address
	record   string
}

// pairs is how many drives of each kind a guest has at most: all lose their power at once,
// so a guest is as many cuts.
const pairs = 5

// TestHonesty cuts the power under a guest that writes to disks, which QEMU serves from
// simulated drives. QEMU is killed and the drives lose their power. The disks of which
// QEMU drops FLUSH and FUA (cache=unsafe) must be found to break promises, and the others
// (cache=none) not. The drives write nothing back on their own: the emulated guest is so
// slow that an ordinary one would have written back all that it was promised.
func TestHonesty(t *testing.T) {
	if *inGuest || testing.Short() {
		t.Skip("the virtual machine takes minutes")
	}
	image, program, err := honestyImage(t)
	switch required := os.Getenv("CI") != "" || os.Getenv("NBDBENCH_REQUIRE_PEERS") == "1"; {
	case errors.Is(err, fs.ErrNotExist) && !required:
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	for cuts := 0; cuts < *honestyCuts; cuts += pairs {
		var disks []*honestDisk
		for range min(pairs, *honestyCuts-cuts) {
			disks = append(disks, &honestDisk{cache: "none"}, &honestDisk{cache: "unsafe", broken: true})
		}
		t.Run(fmt.Sprintf("cuts %d to %d", cuts+1, cuts+len(disks)/2), func(t *testing.T) {
			for _, d := range disks {
				d.start(t, program)
			}
			image.Add("/init", 0o755, []byte(honestyInit(disks, cuts)))
			cutGuest(t, image, disks)
			for _, d := range disks {
				d.judge(t, program)
			}
		})
	}
}

// honestyImage is what the guest boots, and the program for this machine.
func honestyImage(t *testing.T) (*vm.Image, string, error) {
	k, err := vm.FindKernel(filepath.Join(repository, "bin", "vm"))
	if err != nil {
		return nil, "", err
	}
	i, dir := vm.NewImage(k), t.TempDir()
	return i, filepath.Join(dir, "nbdbench"), errors.Join(
		i.Busybox(), i.Modules(nil, "virtio_pci", "virtio_blk", "virtio_net"), goBuild(i, dir, "/guest/nbdbench", "build", "nbdbench/cmd/nbdbench"))
}

// honestyInit has the guest write to its disks until its power is cut. The listeners are
// this machine's loopback, which QEMU's network has at 10.0.2.2.
func honestyInit(disks []*honestDisk, cut int) string {
	var b strings.Builder
	b.WriteString(`#!/bin/sh
export PATH=/guest:/sbin:/bin HOME=/root
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs dev /dev && mount -t tmpfs tmp /tmp
exec >/dev/ttyS1 2>&1
modprobe virtio_pci && modprobe virtio_blk && modprobe virtio_net
ip link set lo up && ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up
`)
	for i, d := range disks {
		_, port, _ := strings.Cut(d.listener, ":")
		fmt.Fprintf(&b, "nbdbench honesty write --server 10.0.2.2:%s --token '%s' --size 2MiB --depth 8 --seed %d /dev/vd%c --destroy &\n", port, honestyToken, cut+1, 'a'+i)
	}
	b.WriteString("wait\necho \"@ended\"\npoweroff -f\n")
	return b.String()
}

// start starts the drive and the listener.
func (d *honestDisk) start(t *testing.T, program string) {
	t.Helper()
	dir := t.TempDir()
	d.record = filepath.Join(dir, "record")
	d.socket = filepath.Join(dir, "s")
	d.server, _ = d.background(t, program, "serve", "adversary", "--listen", "nbd+unix:///?socket="+d.socket)
	d.mount(t, filepath.Join(dir, "mount"))
	_, d.listener = d.background(t, program, "honesty", "listen", "--record", d.record, "--token", honestyToken, "--listen", "127.0.0.1:0")
}

// mount makes the drive a file in a directory.
func (d *honestDisk) mount(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.file = filepath.Join(dir, "disk")
	c := exec.Command("nbdfuse", d.file, "--unix", d.socket)
	var said strings.Builder
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sh(t, "umount", "-l", dir)
		_ = c.Process.Kill() // 1.14 aborts if its server ends a connection, as at the cut
		_ = c.Wait()
	})
	for {
		if _, err := os.Stat(d.file); err == nil {
			return
		}
		if err := syscall.Kill(c.Process.Pid, 0); err != nil || t.Context().Err() != nil {
			t.Fatalf("nbdfuse: %v: %s", err, said.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// background starts the program and returns the first line that it prints.
func (d *honestDisk) background(t *testing.T, program string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	c := exec.Command(program, args...)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %v: %s", args, err, said.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v printed no line: %v", args, err)
	}
	return c, strings.TrimSuffix(line, "\n")
}

// cutGuest boots the guest, lets it write for a moment, and cuts the power.
func cutGuest(t *testing.T, image *vm.Image, disks []*honestDisk) {
	t.Helper()
	m := vm.Machine{Image: image, Dir: t.TempDir(), Memory: 768, CPUs: 2, Args: []string{"-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"}}
	for i, d := range disks {
		m.Args = append(m.Args, "-drive", fmt.Sprintf("file=%s,format=raw,if=none,id=d%d,cache=%s", d.file, i, d.cache),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=d%d", i))
	}
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(m.Run(ctx, writer), writer.Close()) }()
	go func() { // what the guest says
		for s := bufio.NewScanner(reader); s.Scan(); {
			t.Log("guest: " + s.Text())
		}
	}()
	const enough = 40000 // bytes of the record: some hundred promises
	for i := range disks {
		for disks[i].recorded() < enough {
			select {
			case err := <-ended:
				t.Fatalf("the guest ended by itself: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	for _, d := range disks {
		if err := d.server.Process.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	cut() // kills QEMU
	<-ended
}

// recorded is how long the record is, in bytes.
func (d *honestDisk) recorded() int64 {
	info, err := os.Stat(d.record)
	if err != nil {
		return 0
	}
	return info.Size()
}

// judge verifies what the drive has now.
func (d *honestDisk) judge(t *testing.T, program string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	sh(t, "qemu-img", "convert", "-O", "raw", "--image-opts", fmt.Sprintf("driver=raw,size=2M,file.driver=nbd,file.server.type=unix,file.server.path=%s", d.socket), file) // what was written alone
	out, err := exec.Command(program, "honesty", "verify", "--record", d.record, "--format", "json", file).Output()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 4) {
		t.Fatalf("verify: %v: %s", err, exit.Stderr)
	}
	var v honesty.Verdict
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	promises := v.Methods[honesty.FUA].Promises + v.Methods[honesty.Flush].Promises
	t.Logf("cache=%s: %d promises, %d units broken", d.cache, promises, v.Broken)
	if v.Failed() != d.broken || v.Failed() != (exit != nil) || promises == 0 || v.Stopped {
		t.Errorf("cache=%s: %v with %s", d.cache, err, out)
	}
}
