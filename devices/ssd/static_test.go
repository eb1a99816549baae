package ssd_test

import (
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/ssd"
)

// static is a drive whose pages of 8 KiB are on the die of their address: 4 of them.
func static() ssd.Config {
	return ssd.Config{
		Servers: 1,
		Flash: &ssd.Flash{
			Channels: 4, DiesPerChannel: 1, ChannelBandwidth: 1e9, Planes: 1, Page: 8 << 10, OneShot: 1, PagesPerBlock: 64, MappingUnit: 8 << 10,
			Read: []time.Duration{50 * us}, Program: 600 * us, Erase: 3500 * us, OverProvisioning: 0.28, Depth: 64,
			Static: true, Sectors: true, ReadsUnwritten: true,
		},
	}
}

// sectors is the time of 4 KiB over a channel of 1 GB/s.
const sectors = 4096 * time.Nanosecond

func TestAnAddressHasItsDie(t *testing.T) {
	for _, c := range []struct{ pages, programs int }{{1, 1}, {2, 2}, {3, 3}} {
		g := newRig(t, static(), over(256<<20, devices.CacheVolatile))
		for i := range c.pages {
			g.do(write(i*4*8192, 4096, 0, 1)) // all of them on die 0
		}
		want := time.Duration(c.programs) * (600*us + sectors)
		if got := g.do(flush(1)); got != want {
			t.Errorf("%d pages of one die take %v, want as many programs one after another, %v", c.pages, got, want)
		}
	}
	g := newRig(t, static(), over(256<<20, devices.CacheVolatile))
	for i := range 4 {
		g.do(write(i*8192, 4096, 0, 1))
	}
	if got, want := g.do(flush(1)), 600*us+sectors; got != want {
		t.Errorf("a page of each die take %v, want one program, %v", got, want)
	}
}

func TestOnlyTheSectorsOfAReadCrossTheChannel(t *testing.T) {
	for _, n := range []int{512, 4096, 8192} {
		g := newRig(t, static(), over(256<<20, devices.CacheVolatile))
		want := 50*us + time.Duration(n)
		if got := g.do(read(0, n)); got != want {
			t.Errorf("%d bytes of a page that was never written take %v, want %v", n, got, want)
		}
	}
}

// A page of the mapping has 910 entries of 9 bytes; an entry takes the time of a read
// and that of a sector on the channel.
func TestAMissOfTheMappingCacheIsAReadMore(t *testing.T) {
	cfg := static()
	cfg.Flash.MappingCache = 4 << 10
	g := newRig(t, cfg, over(256<<20, devices.CacheVolatile))
	hit := 50*us + sectors
	for i, want := range []time.Duration{hit + 50*us + 512, hit, hit} {
		if got := g.do(read(0, 4096)); got != want {
			t.Errorf("read %d takes %v, want %v", i, got, want)
		}
	}
	for i := range 10_000 { // of 455 entries
		g.do(read(i*8192, 4096))
	}
	if got, want := g.do(read(0, 4096)), hit+50*us+512; got != want {
		t.Errorf("what was evicted takes %v, want %v", got, want)
	}
	if s := g.dev.Stats(); s.MediaWrittenBytes != 0 {
		t.Errorf("%d bytes written by reads", s.MediaWrittenBytes)
	}
}

func TestAnEvictedEntryThatChangedIsWrittenBack(t *testing.T) {
	cfg := static()
	cfg.Flash.MappingCache = 4 << 10
	g := newRig(t, cfg, over(256<<20, devices.CacheVolatile))
	for i := range 3000 {
		g.do(write(i*8192, 8192, devices.FUA, 1))
	}
	host := uint64(3000 * 8192)
	// Four pages of the mapping are written in order, each several times as sets fill.
	if s := g.dev.Stats(); s.MediaWrittenBytes <= host || s.MediaWrittenBytes > 2*host {
		t.Errorf("%d bytes on the medium for %d, want those of the mapping besides", s.MediaWrittenBytes, host)
	}
}

func TestNoAllocationPerRequestWithAMappingCache(t *testing.T) {
	cfg := static()
	cfg.Flash.MappingCache = 1 << 20
	g := newRig(t, cfg, over(256<<20, devices.CacheVolatile))
	r, w := read(0, 4096), write(0, 4096, 0, 1)
	turn := func() {
		r.Offset = (r.Offset + 13*8192) % (256 << 20)
		w.Offset = (w.Offset + 29*8192) % (256 << 20)
		g.do(r)
		g.do(w)
	}
	for range 40_000 {
		turn()
	}
	if n := testing.AllocsPerRun(2000, turn); n > 0.05 {
		t.Errorf("%g allocations a turn", n)
	}
}

func TestStaticAllocationWantsRowsOfOneUnit(t *testing.T) {
	cfg := static()
	cfg.Flash.Planes = 2
	if err := cfg.Validate(256 << 20); err == nil {
		t.Error("two planes were accepted")
	}
	cfg = static()
	cfg.Flash.MappingCache = 1
	if err := cfg.Validate(256 << 20); err == nil {
		t.Error("a mapping cache of a byte was accepted")
	}
}
