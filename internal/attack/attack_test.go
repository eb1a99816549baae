package attack

import (
	"errors"
	"flag"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nbdbench/nbd"
)

var (
	exchanges = flag.Int("attack.exchanges", 3_000, "of each kind")
	connects  = flag.Int("attack.connects", 2_000, "that come and go")
	reads     = flag.Int("attack.reads", 300_000, "of 1 byte, by one client that never reads")
)

// testTimeout is how long a test waits for what must happen.
const testTimeout = 60 * time.Second

// built is the program that is attacked.
var built string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		panic(err)
	}
	built = filepath.Join(dir, "nbdbench")
	if out, err := exec.Command("go", "build", "-pgo=off", "-o", built, "nbdbench/cmd/nbdbench").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func start(t *testing.T, memory int64, args ...string) *Program {
	t.Helper()
	p, err := Serve(built, t.TempDir(), memory, append([]string{"ram", "--size", "64MiB"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if memory > 0 && p.group == nil {
		t.Log("no memory cgroup can be made here: resident memory alone is watched")
	}
	return p
}

func (p *Program) usage(t *testing.T) Usage {
	t.Helper()
	u, err := p.Usage()
	if err != nil {
		t.Fatalf("%v; the program: %s", err, p.Stderr())
	}
	return u
}

// groupSize is the cgroup of an attack.
const groupSize = 512 << 20

// TestHostileClients: each kind of harm, against a program in a small cgroup. It goes
// on to serve a client that behaves, and when the others have left it holds no more
// than before.
func TestHostileClients(t *testing.T) {
	p := start(t, groupSize)
	good := behave(t, p)
	for i, kind := range Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			before, served := p.usage(t), good.pairs.Load()
			conns := attack(t, p, kind, uint64(i))
			during := p.usage(t)
			if during.Held > during.Limit {
				t.Errorf("it holds more than it may: %v", during)
			}
			good.proceeds(t, served)
			for _, c := range conns {
				_ = c.Close()
			}
			after := p.settles(t, before)
			t.Logf("%d exchanges on %d connections: during %v; after %v", *exchanges, kind.Clients, during, after)
		})
	}
	good.stop(t)
	p.ends(t)
}

// attack has a kind's clients do what they do.
func attack(t *testing.T, p *Program, kind Kind, seed uint64) (conns []*Client) {
	t.Helper()
	for range kind.Clients {
		c, err := Dial(p.URI, kind.Options)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			if err := kind.Do(c, max(*exchanges/kind.Clients, 1), r); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	return conns
}

// settles waits until the program has as many connections, goroutines and
// descriptors as before, and holds as little.
func (p *Program) settles(t *testing.T, before Usage) (u Usage) {
	t.Helper()
	const spare = 8 // goroutines and descriptors of the control socket and Go itself
	for end := time.Now().Add(testTimeout); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		u = p.usage(t)
		if u.Connections <= before.Connections && u.Held <= before.Held+(1<<20) &&
			u.Goroutines <= before.Goroutines+spare && u.Descriptors <= before.Descriptors+spare {
			return u
		}
	}
	t.Fatalf("before %v; afterwards %v", before, u)
	return u
}

// ends stops the program, which has to have survived.
func (p *Program) ends(t *testing.T) {
	t.Helper()
	_, peak, err := p.resident()
	if err != nil {
		t.Fatalf("%v: %s", err, p.Stderr())
	}
	most := int64(0)
	if p.group != nil {
		most = p.group.most()
	}
	t.Logf("peak: %d MiB resident, %d MiB in the cgroup, of which %d MiB are allowed", peak>>20, most>>20, groupSize>>20)
	if peak > groupSize {
		t.Errorf("%d MiB were resident", peak>>20)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("it ended with %v: %s", err, p.Stderr())
	}
}

// behaved is a client that writes and reads again, one block after another.
type behaved struct {
	c     *Client
	pairs atomic.Int64
	over  atomic.Bool
	done  chan error
}

func behave(t *testing.T, p *Program) *behaved {
	t.Helper()
	c, err := Dial(p.URI, nbd.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &behaved{c: c, done: make(chan error, 1)}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		for !b.over.Load() {
			n := uint64(b.pairs.Load())
			if err := c.Pair(32<<20+n%1024*4096, n); err != nil {
				b.done <- err
				return
			}
			b.pairs.Add(1)
		}
		b.done <- nil
	}()
	return b
}

// proceeds waits until it was served more than before.
func (b *behaved) proceeds(t *testing.T, before int64) {
	t.Helper()
	for end := time.Now().Add(testTimeout); b.pairs.Load() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the client that behaves is not served")
		}
	}
}

func (b *behaved) stop(t *testing.T) {
	t.Helper()
	b.over.Store(true)
	if err := <-b.done; err != nil {
		t.Errorf("the client that behaves: %v", err)
	}
}

// rate is how many blocks a second are written and read for so long.
func (b *behaved) rate(d time.Duration) float64 {
	n, begin := b.pairs.Load(), time.Now()
	time.Sleep(d)
	return float64(b.pairs.Load()-n) / time.Since(begin).Seconds()
}

// TestAClientThatNeverReads sends millions of READs of 1 byte. The program takes as
// many as its bounds allow, and a client beside it is served as if it were alone.
func TestAClientThatNeverReads(t *testing.T) {
	p := start(t, 0)
	good := behave(t, p)
	const look = 500 * time.Millisecond
	_ = good.rate(look) // the first are slower
	undisturbed := good.rate(look)
	before := p.usage(t)
	kind := Kinds[0]
	c, err := Dial(p.URI, kind.Options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := kind.Do(c, *reads, nil); err != nil {
		t.Fatal(err)
	}
	beside := good.rate(look)
	u := p.usage(t)
	t.Logf("%d READs: %v; the client beside it at %.0f pairs/s, %.0f alone (%.2f)", *reads, u, beside, undisturbed, beside/undisturbed)
	if u.Peak > 300<<20 {
		t.Errorf("%d MiB were resident, expected at most 300", u.Peak>>20)
	}
	_ = c.Close()
	p.settles(t, before)
	good.stop(t)
}

// TestMemoryIsReturned: what hostile clients had the program hold is the system's
// again some seconds after they have left.
func TestMemoryIsReturned(t *testing.T) {
	p := start(t, 0, "--memory", "1GiB")
	before := p.usage(t)
	kind := Kind{Name: "WRITEs short of one byte", Clients: 16, Do: short(testTimeout)}
	conns := attack(t, p, kind, 1)
	during := p.usage(t)
	for end := time.Now().Add(testTimeout); during.RSS < 400<<20 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		during = p.usage(t)
	}
	if during.Held < 400<<20 || during.Held > during.Limit || during.RSS < 400<<20 {
		t.Errorf("16 stalled WRITEs of 32 MiB: %v", during)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	p.settles(t, before)
	left := time.Now()
	for end := left.Add(testTimeout); ; time.Sleep(50 * time.Millisecond) {
		now, _, err := p.resident()
		if err != nil {
			t.Fatal(err)
		}
		if now < before.RSS+(64<<20) {
			t.Logf("%v; %d MiB resident %v after they have left", during, now>>20, time.Since(left).Round(time.Millisecond))
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d MiB are resident %v after they have left, %d before they came", now>>20, testTimeout, before.RSS>>20)
		}
	}
}

// TestStalledWritersEndNoProgram that has little address space.
func TestStalledWritersEndNoProgram(t *testing.T) {
	shell := filepath.Join(t.TempDir(), "limited")
	if err := os.WriteFile(shell, []byte("#!/bin/sh\nulimit -v 2500000\nexec \""+built+"\" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := Serve(shell, t.TempDir(), 0, "ram", "--size", "64MiB")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for _, c := range attack(t, p, Kind{Clients: 64, Do: short(stall)}, 1) {
		defer c.Close()
	}
	u := p.usage(t)
	t.Log(u)
	if u.Limit > 2500000<<10/4 {
		t.Errorf("the limit is %d MiB, expected a quarter of ulimit -v", u.Limit>>20)
	}
	good := behave(t, p)
	good.proceeds(t, 0)
	good.stop(t)
}

// TestConnectionsThatComeAndGo, each of which breaks something.
func TestConnectionsThatComeAndGo(t *testing.T) {
	p := start(t, groupSize)
	before := p.usage(t)
	const at = 16 // a time
	var wg sync.WaitGroup
	for g := range at {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(g)))
			for range *connects / at {
				if err := Break(p.URI, r); err != nil && !errors.As(err, new(*net.OpError)) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	after := p.settles(t, before)
	t.Logf("%d connections: before %v; after %v", *connects, before, after)
	p.ends(t)
}

// TestIdleControlConnectionsBlockNobody, however many there are.
func TestIdleControlConnectionsBlockNobody(t *testing.T) {
	p := start(t, 0)
	for range 40 {
		c, err := net.Dial("unix", p.control)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if u := p.usage(t); u.Goroutines > 60 {
		t.Errorf("%v", u)
	}
}
