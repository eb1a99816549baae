package catalog_test

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/ssd/ftl"
	"nbdbench/internal/units"
	"nbdbench/sim"
)

// TestASmallerDriveHasTheSameWriteAmplification holds drives that were made smaller
// against the formula for large superblocks.
func TestASmallerDriveHasTheSameWriteAmplification(t *testing.T) {
	p, err := catalog.Load("nvme-970pro")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []units.Size{1 * units.GiB, 8_000_000_000, 32 * units.GiB} {
		q := *p
		s, f := *p.SSD, *p.SSD.Flash
		f.Precondition = "random"
		s.Flash, q.SSD = &f, &s
		small, err := q.Resized(uint64(size))
		if err != nil {
			t.Fatal(err)
		}
		b := benchOf(t, small)
		blocks := uint64(size) / 4096
		draw, rs := sim.Seed(1).Stream("shrunk"), make([]devices.Request, 64)
		for i := uint64(0); i < 600_000; i += uint64(len(rs)) {
			done := b.done
			for k := range rs {
				b.submit(&rs[k], devices.OpWrite, 0, draw.Uint64N(blocks, i, uint64(k))*4096, 4096)
			}
			b.loop.RunWhile(func() bool { return b.done-done < len(rs) })
		}
		st := b.dev.Stats()
		got, want := float64(st.MediaWrittenBytes)/float64(st.HostWrittenBytes), ftl.Amplification(1+f.OverProvisioning)
		if got < want*0.75 || got > want*1.25 {
			t.Errorf("of %v: a write amplification of %.2f, the formula says %.2f", size, got, want)
		}
	}
}

// TestEveryDriveCanBeSmaller: with pSLC and spare space in proportion.
func TestEveryDriveCanBeSmaller(t *testing.T) {
	for _, name := range catalog.List() {
		p, err := catalog.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []units.Size{16 * units.MiB, 1 * units.GiB, p.Size / 8 / 4096 * 4096} {
			if size >= p.Size {
				continue
			}
			q, err := p.Resized(uint64(size))
			if err != nil {
				t.Errorf("%s of %v: %v", name, size, err)
				continue
			}
			if q.SSD == nil || q.SSD.Flash == nil || size < units.GiB {
				continue
			}
			was, is := float64(p.SSD.Flash.SLC)/float64(p.Size), float64(q.SSD.Flash.SLC)/float64(q.Size)
			if is < was*0.99 || is > was*1.5+0.001 {
				t.Errorf("%s of %v has %.3g of its size as pSLC, the whole drive %.3g", name, size, is, was)
			}
			if p.SSD.Flash.PagesPerBlock == q.SSD.Flash.PagesPerBlock {
				continue
			}
			if was, is := float64(p.SSD.Flash.Erase)/float64(p.SSD.Flash.PagesPerBlock), float64(q.SSD.Flash.Erase)/float64(q.SSD.Flash.PagesPerBlock); is < was*0.999 || is > was*1.001 {
				t.Errorf("%s of %v: erasing a page takes %.3g ns, of the whole drive %.3g", name, size, is, was)
			}
		}
	}
}
