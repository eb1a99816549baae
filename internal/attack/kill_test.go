package attack

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/devices/layer"
	"nbdbench/nbd"
)

var kills = flag.Int("attack.kills", 18, "of a server on an image")

const (
	killConns   = 3
	killDepth   = 8
	killBlock   = 4096
	killBlocks  = 24 // few, so that the requests overlap
	killReplies = 600
	killTime    = 300 * time.Millisecond // of a drive that is slow
)

// witness is what clients know of a server: when they sent what, and which replies
// they have. What has a promise by their order of events has one by the server's.
type witness struct {
	mu      sync.Mutex
	seq     uint64
	stamp   devices.Stamp
	legal   *history.Legal
	promise bool
	replies int
	enough  int
	ready   chan struct{} // closed at enough replies
}

func newWitness(enough int) *witness {
	return &witness{
		legal:  history.NewLegal(devices.Info{Cache: devices.CacheVolatile, MultiConn: true, AtomicUnit: devices.Sector}),
		enough: enough, ready: make(chan struct{}),
	}
}

// sends notes a request that is about to be sent, and gives a write its version.
func (w *witness) sends(e *history.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	e.Kind, e.Seq = history.Submit, w.seq
	if e.Op == devices.OpWrite {
		w.stamp++
		e.Stamp = w.stamp
	}
	w.legal.Observe(e)
}

// received notes the reply to a request.
func (w *witness) received(e history.Event, errno devices.Errno) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	e.Kind, e.Of, e.Seq, e.Errno = history.Done, e.Seq, w.seq, errno
	w.legal.Observe(&e)
	w.promise = w.promise || e.Op == devices.OpFlush || e.Flags&devices.FUA != 0
	if w.replies++; w.replies == w.enough {
		close(w.ready)
	}
}

// held is a connection with requests in flight, by cookie.
type held struct {
	*Client
	w      *witness
	conn   uint32
	mu     sync.Mutex
	flight map[uint64]history.Event
	room   chan struct{}
}

// killOp draws a request of whole sectors: overlapping writes, zeros and TRIM, some
// with FUA where that is advertised, and FLUSH.
func killOp(r *rand.Rand, f nbd.TransmissionFlags) history.Event {
	var e history.Event
	switch n := r.IntN(20); {
	case n < 3 && f&nbd.SendFlush != 0:
		return history.Event{Op: devices.OpFlush}
	case n < 6 && f&nbd.SendWriteZeroes != 0:
		e.Op, e.Flags = devices.OpWriteZeroes, devices.NoHole*devices.Flags(r.IntN(2))
	case n < 7 && f&nbd.SendTrim != 0:
		e.Op = devices.OpTrim
	default:
		e.Op = devices.OpWrite
	}
	const sectors = killBlocks * killBlock / devices.Sector
	first := r.Uint64N(sectors)
	e.Offset, e.Length = first*devices.Sector, min(sectors-first, 1+r.Uint64N(16))*devices.Sector
	if f&nbd.SendFUA != 0 && r.IntN(3) == 0 {
		e.Flags |= devices.FUA
	}
	return e
}

// send keeps killDepth requests in flight until the server is gone.
func (h *held) send(r *rand.Rand) {
	data := make([]byte, 16*devices.Sector)
	for cookie := uint64(1); ; cookie++ {
		if _, ok := <-h.room; !ok {
			return
		}
		e := killOp(r, h.Info.Flags)
		e.Conn = h.conn
		h.w.sends(&e)
		var payload []byte
		if e.Op == devices.OpWrite {
			payload = data[:e.Length]
			for i := 0; i < len(payload); i += 8 {
				binary.BigEndian.PutUint64(payload[i:], uint64(e.Stamp))
			}
		}
		h.mu.Lock()
		h.flight[cookie] = e
		h.mu.Unlock()
		if err := h.Request(nbd.Header{Op: e.Op, Flags: e.Flags, Cookie: cookie, Offset: e.Offset, Length: e.Length}, payload); err != nil {
			return
		}
		if err := h.Flush(); err != nil {
			return
		}
	}
}

// receive takes replies until the server is gone. An errno would be a finding: a
// server that is killed has none to send.
func (h *held) receive() (failed error) {
	defer close(h.room)
	var b [nbd.RequestSize]byte
	for {
		n := 0
		for n < nbd.ReplySize {
			k, err := h.Read(b[n:nbd.ReplySize])
			if n += k; err != nil {
				return failed
			}
		}
		e, cookie, err := nbd.DecodeReply(&b)
		if err != nil {
			return err
		}
		h.mu.Lock()
		sent, ok := h.flight[cookie]
		delete(h.flight, cookie)
		h.mu.Unlock()
		if !ok || e != devices.OK {
			failed = fmt.Errorf("a reply to cookie %d, %v: %v", cookie, &sent, e)
		}
		h.w.received(sent, e)
		h.room <- struct{}{}
	}
}

// killed is what a killed server left.
type killed struct {
	violation error
	promise   bool // there was any
	open      int  // sectors of which more than one version was legal
}

// kill serves a device on an image, has clients write, kills the server, and holds
// the image against what they know.
func kill(t *testing.T, device, strategy string, seed uint64) killed {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	return killOver(t, image, strategy, seed, device, "--size", "64MiB", "--strategy", strategy, "--image", image)
}

// killOver does so with what args serve, which is in the file image then.
func killOver(t *testing.T, image, name string, seed uint64, args ...string) killed {
	t.Helper()
	p, err := Serve(built, t.TempDir(), 0, args...)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWitness(1 + r.IntN(killReplies))
	var wg sync.WaitGroup
	for i := range uint32(killConns) {
		c, err := Dial(p.URI, nbd.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		h := &held{Client: c, w: w, conn: i, flight: map[uint64]history.Event{}, room: make(chan struct{}, killDepth)}
		for range killDepth {
			h.room <- struct{}{}
		}
		wg.Go(func() { h.send(rand.New(rand.NewPCG(seed, uint64(i)+1))) })
		wg.Go(func() {
			if err := h.receive(); err != nil {
				t.Errorf("%s, seed %d: %v", name, seed, err)
			}
		})
	}
	select {
	case <-w.ready:
	case <-time.After(killTime):
	}
	p.Kill()
	wg.Wait()
	out := killed{promise: w.promise}
	out.violation = w.compare(image, &out.open)
	return out
}

// compare holds each sector of an image against the legal versions.
func (w *witness) compare(image string, open *int) error {
	b, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	for s := range uint64(killBlocks * killBlock / devices.Sector) {
		at := b[s*devices.Sector : (s+1)*devices.Sector]
		versions := w.legal.At(s, nil)
		if len(versions) > 1 {
			*open++
		}
		found := devices.Stamp(binary.BigEndian.Uint64(at))
		if !bytes.Equal(at, bytes.Repeat(at[:8], devices.Sector/8)) {
			return fmt.Errorf("sector %d is of more than one version: %x", s, at)
		}
		if !slices.Contains(versions, found) {
			return fmt.Errorf("sector %d has version %d, legal are %v", s, found, versions)
		}
	}
	return nil
}

var fileKills = flag.Int("attack.filekills", 12, "of a server of a file")

// TestKillOfAServedFileLosesNothingPromised does so with a file of the host, through
// the page cache and past it.
func TestKillOfAServedFileLosesNothingPromised(t *testing.T) {
	promised, open := 0, 0
	for i := range *fileKills {
		image := filepath.Join(t.TempDir(), "file.img")
		if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{image, "--strategy", []string{"native", "emulate", "none"}[i/2%3]}
		if i%2 == 1 {
			args = append(args, "--direct")
		}
		k := killOver(t, image, strings.Join(args, " "), uint64(i), args...)
		if k.violation != nil {
			t.Errorf("%v, seed %d: %v", args, i, k.violation)
		}
		if open += k.open; k.promise {
			promised++
		}
	}
	t.Logf("%d kills, in %d of them something had been promised; %d sectors had more than one legal version", *fileKills, promised, open)
	if promised < *fileKills/2 || open == 0 {
		t.Error("the kills show nothing")
	}
}

// TestKillLosesNothingPromised kills servers in the middle of overlapping writes,
// zeros, FUA and FLUSH on three connections, under every strategy. The one that
// keeps no promise, discard, shows that a loss is found.
func TestKillLosesNothingPromised(t *testing.T) {
	devs := []string{"nvme-990pro", "hdd-7200", "nvme-pm963"}
	strategies := layer.Strategies()
	lied, promised, open := 0, 0, 0
	for i := range *kills {
		s := strategies[i%len(strategies)].Name
		device := devs[i/len(strategies)%len(devs)]
		k := kill(t, device, s, uint64(i))
		open += k.open
		if k.promise {
			promised++
		}
		switch {
		case k.violation != nil && s == "discard":
			lied++
		case k.violation != nil:
			t.Errorf("%s, %s, seed %d: %v", device, s, i, k.violation)
		}
	}
	t.Logf("%d kills, in %d of them something had been promised; %d sectors had more than one legal version; discard broke its promises %d times", *kills, promised, open, lied)
	if *kills >= 2*len(strategies) && (lied == 0 || promised < *kills/2 || open == 0) {
		t.Error("the kills show nothing")
	}
}
