package interop

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// memoryFile is a file in tmpfs, written over.
func memoryFile(t *testing.T, name string, size int64) string {
	t.Helper()
	file := filepath.Join("/dev/shm", fmt.Sprintf("nbdbench-%s-%d", name, os.Getpid()))
	t.Cleanup(func() { _ = os.Remove(file) })
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, mib); size > 0; size -= int64(len(chunk)) {
		if _, err := f.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// memoryLoop is a loop device over such a file.
func memoryLoop(t *testing.T, name string, size int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: no loop devices")
	}
	out, err := exec.Command("losetup", "-f", "--show", memoryFile(t, name, size)).CombinedOutput()
	if err != nil {
		t.Skipf("losetup: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { // the test's context is over
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	return device
}

// TestBenchDriveAgainstFio drives one loop device over tmpfs by our device over the host's
// storage, without a server, and by fio's libaio, in alternation.
func TestBenchDriveAgainstFio(t *testing.T) {
	d, repeat := peersPlan(t)
	need(t, "fio", "losetup")
	device := memoryLoop(t, "drive", benchSpan)
	idle := newProcessors(t)
	idle.stayAwake()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %v, %d pairs of %v on a loop device over tmpfs: ours / fio's libaio, median of the ratios with its 95%% interval\n", machine(), idle, repeat, d)
	order := rand.New(rand.NewPCG(1, 1))
	for _, write := range []bool{false, true} {
		for _, depth := range []int{1, 8, 32} {
			l := load{Path: device, Write: write, Size: 4096, Depth: depth, Connections: 1, Time: d}
			var both [2][]rate
			for pair := range repeat {
				l.Seed = uint64(pair)
				for _, i := range order.Perm(2) {
					both[i] = append(both[i], clients[i].run(t, l))
				}
			}
			fmt.Fprintf(&b, "%-24v IOPS %v, p50 %v, processor time of an I/O %v; fio %.0f IOPS, p50 %.1f us, %.1f us\n", l,
				compare(both[1], both[0], rate.iops), compare(both[1], both[0], rate.p50), compare(both[1], both[0], rate.perClient),
				median(both[0], rate.iops), median(both[0], rate.p50), median(both[0], rate.perClient))
		}
	}
	t.Logf("\n%s", b.String())
}

// fileContestants serve files in tmpfs: ours first, through the page cache; or past it, of
// loop devices.
func fileContestants(t *testing.T, direct bool) []contestant {
	t.Helper()
	need(t, "nbdkit", "qemu-nbd", "fio")
	socket := filepath.Join(t.TempDir(), "s")
	if !direct {
		ours := serve(t, memoryFile(t, "ours", benchSpan))
		file, p := nbdkit(t, "file", memoryFile(t, "nbdkit", benchSpan))
		q := start(t, "", "qemu-nbd", "--format=raw", "--persistent", "--shared=8", "--cache=writeback", "--socket="+socket, memoryFile(t, "qemu", benchSpan))
		awaitSocket(t, "unix", socket)
		return []contestant{
			{"nbdbench serve FILE", ours.uri, ours.cmd.Process.Pid},
			{"nbdkit file", file, p.cmd.Process.Pid},
			{"qemu-nbd", socketURI(socket), q.cmd.Process.Pid},
		}
	}
	ours := serve(t, memoryLoop(t, "ours", benchSpan), "--direct")
	q := start(t, "", "qemu-nbd", "--format=raw", "--persistent", "--shared=8", "--cache=none", "--aio=io_uring", "--socket="+socket, memoryLoop(t, "qemu", benchSpan))
	awaitSocket(t, "unix", socket)
	return []contestant{
		{"nbdbench serve --direct", ours.uri, ours.cmd.Process.Pid},
		{"qemu-nbd --cache=none --aio=io_uring", socketURI(socket), q.cmd.Process.Pid},
	}
}

// TestBenchServedFiles measures servers of a file beside each other by fio's nbd engine.
func TestBenchServedFiles(t *testing.T) {
	d, repeat := peersPlan(t)
	for name, direct := range map[string]bool{"buffered": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			servers := fileContestants(t, direct)
			idle := newProcessors(t)
			idle.stayAwake()
			var b strings.Builder
			fmt.Fprintf(&b, "%s, %v, %d rounds of %v, %s: IOPS of ours / the other's, median of the ratios with its 95%% interval\n", machine(), idle, repeat, d, name)
			order := rand.New(rand.NewPCG(1, 1))
			for _, l := range chosen(t, peerLoads(d)) {
				all := make([][]rate, len(servers))
				for round := range repeat {
					l.Seed = uint64(round)
					for _, i := range order.Perm(len(servers)) {
						all[i] = append(all[i], servers[i].measure(t, clients[0], l))
					}
				}
				fmt.Fprintf(&b, "%-30v %.0f IOPS", l, median(all[0], rate.iops))
				for i, s := range servers[1:] {
					fmt.Fprintf(&b, "; %s %.0f, ratio %v", s.name, median(all[i+1], rate.iops), compare(all[0], all[i+1], rate.iops))
				}
				b.WriteString("\n")
			}
			t.Logf("\n%s", b.String())
		})
	}
}
