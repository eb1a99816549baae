package serve

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/drive"
	"nbdbench/sim"
)

// superseded has what a medium held before a drive wrote to it with no FLUSH and no FUA
// that called it durable: by destages of its own. A cut with the image worst or random
// takes these versions back. Without them, such a cut would count on when a drive is idle.
type superseded struct {
	media drive.Media
	size  uint64 // of the device, in bytes
	pages map[uint64]int64
	free  []int64 // places in the file that nothing is in
	end   int64   // of the file
	file  *os.File
	full  bool  // a page was not kept
	err   error // of the file
}

// The grain of what is kept, and its bound, in bytes: of the file, which has no name. What
// is beyond counts as durable, and the cut says so.
const (
	keptPage    = 4096
	maxKeptFile = 1 << 30
	// keptZeros is the place of a page of zeros.
	keptZeros = int64(-1)
)

func newSuperseded(media drive.Media, size uint64) (*superseded, error) {
	f, err := os.CreateTemp("", "nbdbench-superseded-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &superseded{media: media, size: size, pages: map[uint64]int64{}, file: f}, nil
}

// before keeps what the medium has of n bytes at off, which c is about to replace.
func (s *superseded) before(off, n uint64, c drive.Content) {
	for end := off + n; off < end; {
		run, f := drive.StatusOf(s.media, off, end-off)
		zero := f&devices.StatusZero != 0
		next := (off/keptPage + 1) * keptPage
		if zero && c.Zero { // nothing changes
			off += run
			continue
		}
		s.keep(off / keptPage)
		off = min(next, end)
	}
}

// keep keeps a page, unless it has an older version of it.
func (s *superseded) keep(page uint64) {
	if _, ok := s.pages[page]; ok || s.err != nil {
		return
	}
	off := page * keptPage
	n := min(keptPage, s.size-off)
	if run, f := drive.StatusOf(s.media, off, n); f&devices.StatusZero != 0 && run == n {
		if len(s.pages) < maxKeptFile/keptPage {
			s.pages[page] = keptZeros
		} else {
			s.full = true
		}
		return
	}
	at, ok := s.place()
	if !ok {
		return
	}
	var b [keptPage]byte
	s.media.Read(off, n, &devices.Payload{Bytes: b[:n]})
	if _, s.err = s.file.WriteAt(b[:], at); s.err == nil {
		s.pages[page] = at
	}
}

// place is a free place in the file, if there is one within the bounds.
func (s *superseded) place() (int64, bool) {
	if k := len(s.free); k > 0 {
		at := s.free[k-1]
		s.free = s.free[:k-1]
		return at, true
	}
	if s.end >= maxKeptFile || len(s.pages) >= maxKeptFile/keptPage {
		s.full = true
		return 0, false
	}
	s.end += keptPage
	return s.end - keptPage, true
}

// flushed says that all that the medium has is durable.
func (s *superseded) flushed() {
	clear(s.pages)
	s.free, s.end, s.full = s.free[:0], 0, false
}

// durable says that the medium's n bytes at off are.
func (s *superseded) durable(off, n uint64) {
	end := off + n
	for page := off / keptPage; page*keptPage < end; page++ {
		at, ok := s.pages[page]
		if !ok {
			continue
		}
		from, to := max(off, page*keptPage), min(end, (page+1)*keptPage, s.size)
		if from == page*keptPage && to == min((page+1)*keptPage, s.size) {
			delete(s.pages, page)
			if at != keptZeros {
				s.free = append(s.free, at)
			}
			continue
		}
		s.patch(page, at, from, to)
	}
}

// patch has a kept page hold what the medium has of a part of it.
func (s *superseded) patch(page uint64, at int64, from, to uint64) {
	var b [keptPage]byte
	if at == keptZeros {
		var ok bool
		if at, ok = s.place(); !ok {
			delete(s.pages, page)
			return
		}
		if _, s.err = s.file.WriteAt(b[:], at); s.err != nil {
			return
		}
		s.pages[page] = at
	}
	s.media.Read(from, to-from, &devices.Payload{Bytes: b[:to-from]})
	_, s.err = s.file.WriteAt(b[:to-from], at+int64(from-page*keptPage))
}

// take has m, a copy of the medium, hold the kept versions of those atomic units that
// which selects.
func (s *superseded) take(m drive.Media, unit uint64, which func(unit uint64) bool) error {
	unit = max(unit, devices.Sector)
	var b [keptPage]byte
	for _, page := range slices.Sorted(maps.Keys(s.pages)) {
		at, start := s.pages[page], page*keptPage
		clear(b[:])
		if at != keptZeros {
			if _, err := s.file.ReadAt(b[:], at); err != nil {
				return fmt.Errorf("a superseded version: %w", err)
			}
		}
		for off := start; off < min(start+keptPage, s.size); {
			end := min((off/unit+1)*unit, start+keptPage, s.size)
			if which(off / unit) {
				c := drive.Content{Zero: at == keptZeros}
				if !c.Zero {
					c.Bytes = slices.Clone(b[off-start : end-start])
				}
				m.Write(off, end-off, c)
			}
			off = end
		}
	}
	return s.err
}

// visit calls visit with the ranges in bytes of which there is an older version.
func (s *superseded) visit(visit func(off, end uint64)) {
	for _, page := range slices.Sorted(maps.Keys(s.pages)) {
		visit(page*keptPage, min((page+1)*keptPage, s.size))
	}
}

// close ends the use of the file.
func (s *superseded) close() error { return s.file.Close() }

// promising is a model of which each FLUSH and each FUA command that it carries out is
// known. It is below the faults: what they swallow was not carried out.
type promising struct {
	catalog.Device
	kept *superseded
	lies catalog.Lies
	free *promise
}

// promise takes the place of the completer of such a command.
type promise struct {
	of        *promising
	completer devices.Completer
	next      *promise
}

// Cache is the model's volatile cache, or nil.
func (p *promising) Cache() *drive.Cache {
	if c, ok := p.Device.(interface{ Cache() *drive.Cache }); ok {
		return c.Cache()
	}
	return nil
}

// Unsaved reports whether a power cut empties the model's protected cache.
func (p *promising) Unsaved() bool {
	u, ok := p.Device.(interface{ Unsaved() bool })
	return ok && u.Unsaved()
}

// Submit forwards r.
func (p *promising) Submit(r *devices.Request) {
	flush := r.Op == devices.OpFlush && !p.lies.Flush
	fua := r.Durable() && !p.lies.FUA
	if !flush && !fua || p.lies.Capacitor {
		p.Device.Submit(r)
		return
	}
	q := p.free
	if q == nil {
		q = &promise{of: p}
	} else {
		p.free = q.next
	}
	q.completer, r.Completer = r.Completer, q
	p.Device.Submit(r)
}

// Done notes what is durable now.
func (q *promise) Done(r *devices.Request) {
	p := q.of
	r.Completer, q.completer = q.completer, nil
	q.next, p.free = p.free, q
	switch {
	case r.Errno != devices.OK:
	case r.Op == devices.OpFlush:
		p.kept.flushed()
	default:
		p.kept.durable(r.Offset, r.Length)
	}
	r.Completer.Done(r)
}

// takeBack has m, a copy of the medium or the medium itself, lose what no FLUSH and no
// FUA has made durable: all of it for the image worst; of a random one, any atomic units
// of it.
func (l *device) takeBack(m drive.Media, seed sim.Seed, image string) error {
	if l.kept == nil || image == imageDevice {
		return nil
	}
	draw := seed.Stream("superseded")
	share := draw.Float64(0, 1)
	return l.kept.take(m, uint64(l.model.Info().AtomicUnit), func(unit uint64) bool {
		return image == imageWorst || draw.Float64(unit, 2) < share
	})
}
