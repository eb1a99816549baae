package catalog

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// unsaved is a protected drive of which the capacitors do not save 64 KiB.
const unsaved = `
extends: nvme-pm963
name: unsaved
cache: {capacity: 64KiB, idle_destage: 5ms}
lies: {capacitor: true}
`

// host submits one request after the other.
type host struct {
	loop   *sim.Loop
	device Device
	done   bool
	writes byte
}

func (h *host) Done(*devices.Request) { h.done = true }

func (h *host) submit(r *devices.Request) *devices.Request {
	h.done, r.Completer = false, h
	r.Begin(h.loop.Now())
	h.device.Submit(r)
	h.loop.RunWhile(func() bool { return !h.done })
	return r
}

// write is a durable write of a block; its number fills it.
func (h *host) write(block uint64) {
	h.writes++
	r := &devices.Request{Op: devices.OpWrite, Flags: devices.FUA, Offset: block * 4096, Length: 4096}
	r.Bytes = bytes.Repeat([]byte{h.writes}, 4096)
	h.submit(r)
}

func (h *host) read(block uint64) byte {
	r := &devices.Request{Op: devices.OpRead, Offset: block * 4096, Length: 4096}
	r.Bytes = make([]byte, 4096)
	return h.submit(r).Bytes[4095]
}

// left is what a power cut leaves of a block.
func (h *host) left(block uint64) byte {
	p := devices.Payload{Bytes: make([]byte, 4096)}
	h.device.Cut(1).Media().Read(block*4096, 4096, &p)
	return p.Bytes[4095]
}

func TestFailedCapacitorsLoseTheNewestThatWasPromisedAndNothingElse(t *testing.T) {
	p, err := Parse(filepath.Join(t.TempDir(), "unsaved.yaml"), []byte(unsaved))
	if err != nil {
		t.Fatal(err)
	}
	h := &host{loop: sim.NewLoop()}
	if h.device, err = p.Open(h.loop, Options{Mode: drive.RealBytes, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	if got := h.device.Info().Cache; got != devices.CacheProtected {
		t.Errorf("it reports a cache that is %v", got)
	}
	for block := range uint64(32) { // twice what the cache holds
		h.write(block)
	}
	h.write(0)
	h.submit(&devices.Request{Op: devices.OpFlush})
	for block := range uint64(32) {
		newest, after := byte(block+1), byte(block+1)
		switch {
		case block == 0:
			newest = 33 // and before it was pushed out, 1
		case block >= 17:
			after = 0
		}
		if got := h.read(block); got != newest {
			t.Errorf("block %d: read %d, want %d", block, got, newest)
		}
		if got := h.left(block); got != after {
			t.Errorf("block %d: a power cut leaves %d, want %d", block, got, after)
		}
	}
	h.loop.Run(h.loop.Now().Add(5 * time.Millisecond))
	if got := h.left(0); got != 33 {
		t.Errorf("after 5 ms without work a power cut leaves %d, want 33", got)
	}
	if got := h.device.Cut(1).ExposedBytes(); got != 0 {
		t.Errorf("%d bytes are exposed after 5 ms without work", got)
	}
}
