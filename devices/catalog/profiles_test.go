package catalog

import (
	"bytes"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

func TestEveryProfileLoadsAndOpensInBothModes(t *testing.T) {
	names := List()
	if len(names) < 4 {
		t.Fatalf("only %v", names)
	}
	for _, name := range names {
		p, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Name != name || p.Title == "" || p.About == "" || p.Confidence == "" {
			t.Errorf("%s: name %q, title %q, about %q, confidence %q", name, p.Name, p.Title, p.About, p.Confidence)
		}
		for _, mode := range []drive.Mode{drive.Versions, drive.RealBytes} {
			d, err := Open(name, sim.NewLoop(), Options{Mode: mode, Seed: 1})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if d.Info() != p.Info() || d.Cut(1).Media().Mode() != mode {
				t.Errorf("%s: opened as %+v, want %+v", name, d.Info(), p.Info())
			}
		}
	}
}

func TestEveryParameterHasASourceAndEverySourceAParameter(t *testing.T) {
	for _, name := range List() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		values := p.values()
		for path, value := range values {
			if p.Sources[path] == "" {
				t.Errorf("%s: %s is %s and has no source", name, path, value)
			}
		}
		for path := range p.Sources {
			if values[path] == "" {
				t.Errorf("%s: the source of %s is of nothing that is set", name, path)
			}
		}
	}
}

func TestASizeOfTheOpenersOwn(t *testing.T) {
	p, err := Load("hdd-7200")
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Open(sim.NewLoop(), Options{Size: 64 << 20})
	if err != nil || d.Info().Size != 64<<20 || p.Size == 64<<20 {
		t.Errorf("size %d, profile's %v: %v", d.Info().Size, p.Size, err)
	}
	if _, err := p.Open(sim.NewLoop(), Options{Size: 1000}); err == nil {
		t.Error("a device of 1000 bytes: no error")
	}
}

// TestASizeOfAnyNumberOfBlocks: the blocks at the end, which no whole page, stripe
// or track holds, are as good as others.
func TestASizeOfAnyNumberOfBlocks(t *testing.T) {
	for _, name := range List() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		block := uint64(p.LogicalBlock)
		for _, size := range []uint64{uint64(p.minSize()), uint64(p.minSize()) + block, 4<<20 + 3*block} {
			q, err := p.Resized(size)
			if err != nil {
				t.Errorf("%s of %d bytes: %v", name, size, err)
				continue
			}
			usesTheEnd(t, q, block)
		}
		if _, err := p.Resized(uint64(p.minSize()) + block/2); err == nil {
			t.Errorf("%s takes a size of half a block", name)
		}
		if _, err := p.Resized(uint64(p.minSize()) / 2); err == nil {
			t.Errorf("%s takes a size below %v", name, p.minSize())
		}
	}
}

// usesTheEnd writes the last block and all there is, and cuts the power.
func usesTheEnd(t *testing.T, p *Profile, block uint64) {
	t.Helper()
	loop := sim.NewLoop()
	d, err := p.Open(loop, Options{Mode: drive.RealBytes, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	h, size := &host{loop: loop, device: d}, d.Info().Size
	all := bytes.Repeat([]byte{1}, int(size))
	last := bytes.Repeat([]byte{2}, int(block))
	at := size - block
	for _, r := range []*devices.Request{
		{Op: devices.OpWrite, Length: size, Payload: devices.Payload{Bytes: all}},
		{Op: devices.OpWriteZeroes, Offset: at, Length: block},
		{Op: devices.OpWrite, Offset: at, Length: block, Payload: devices.Payload{Bytes: last}},
		{Op: devices.OpFlush},
		{Op: devices.OpRead, Length: size, Payload: devices.Payload{Bytes: make([]byte, size)}},
	} {
		if r.Op == devices.OpWriteZeroes && !d.Info().CanZero {
			continue
		}
		if h.submit(r); r.Errno != devices.OK {
			t.Errorf("%s of %d bytes: %v: %v", p.Name, size, r.Op, r.Errno)
		}
		if r.Op == devices.OpRead && (!bytes.Equal(r.Bytes[:at], all[:at]) || !bytes.Equal(r.Bytes[at:], last)) {
			t.Errorf("%s of %d bytes reads other than was written", p.Name, size)
		}
	}
	left := make([]byte, block)
	d.Cut(1).Media().Read(at, block, &devices.Payload{Bytes: left})
	if !bytes.Equal(left, last) && p.Lies == (Lies{}) {
		t.Errorf("%s of %d bytes: a cut after FLUSH leaves %.2x... at the end", p.Name, size, left)
	}
}
