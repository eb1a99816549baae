package crash

import (
	"math"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// space is a set of images: what is decided, and the places that are not.
type space struct {
	places []history.Place
	index  map[uint64]int // sector to its place
	base   image          // the sectors of no place
	choice []int          // of each place: the version of the image at hand
}

func newSpace(base image) *space { return &space{index: map[uint64]int{}, base: base} }

func (s *space) add(p history.Place) {
	for sector := p.First; sector < p.End; sector++ {
		s.index[sector] = len(s.places)
	}
	s.places = append(s.places, p)
	s.choice = append(s.choice, 0)
}

// read is the image at hand.
func (s *space) read(sector uint64) devices.Stamp {
	i, ok := s.index[sector]
	if !ok {
		return s.base(sector)
	}
	return s.places[i].Versions[s.choice[i]]
}

// versions are those that a sector may have.
func (s *space) versions(sector uint64) []devices.Stamp {
	if i, ok := s.index[sector]; ok {
		return s.places[i].Versions
	}
	return []devices.Stamp{s.base(sector)}
}

// log2 is the binary logarithm of the number of images.
func (s *space) log2() (bits float64) {
	for i := range s.places {
		bits += math.Log2(float64(len(s.places[i].Versions)))
	}
	return bits
}

// narrowed is the space of the places that a rule reads; the others hold their
// newest version.
func (s *space) narrowed(reads func(sector uint64) bool) *space {
	n := newSpace(func(sector uint64) devices.Stamp {
		if i, ok := s.index[sector]; ok {
			v := s.places[i].Versions
			return v[len(v)-1]
		}
		return s.base(sector)
	})
	for _, p := range s.places {
		if reads(p.First) {
			n.add(p)
		}
	}
	return n
}

// The images of a space that is too large to build them all.
const (
	randomImages = 96   // for each of the probabilities
	maxCorners   = 2048 // beyond those, every so many-th
)

// each visits images until visit reports false: all of them if there are at
// most MaxImages, else corners and random ones. The number of an image is its
// place in that order. It reports whether all were visited.
func (s *space) each(seed sim.Seed, visit func(number uint64) bool) (exhaustive bool, built uint64) {
	if s.log2() <= math.Log2(MaxImages) {
		return true, s.every(visit)
	}
	return false, s.some(seed, visit)
}

// every goes through all images, the first place fastest, from all oldest on.
func (s *space) every(visit func(number uint64) bool) (n uint64) {
	clear(s.choice)
	for {
		n++
		if !visit(n - 1) {
			return n
		}
		i := 0
		for ; i < len(s.choice); i++ {
			if s.choice[i]++; s.choice[i] < len(s.places[i].Versions) {
				break
			}
			s.choice[i] = 0
		}
		if i == len(s.choice) {
			return n
		}
	}
}

// some goes through corner images and random ones. The corners are: none of
// what is not durable, all of it, only one place, all but one, and everything up
// to a place or from it on, in the order of addresses; as units within one
// request are neighbours, these tear each single request at each of its units.
func (s *space) some(seed sim.Seed, visit func(number uint64) bool) (n uint64) {
	try := func(pick func(i int) int) bool {
		for i := range s.choice {
			s.choice[i] = pick(i)
		}
		n++
		return visit(n - 1)
	}
	newest := func(i int) int { return len(s.places[i].Versions) - 1 }
	oldest := func(int) int { return 0 }
	if !try(oldest) || !try(newest) {
		return n
	}
	step := max(1, 4*len(s.places)/maxCorners)
	for at := 0; at < len(s.places); at += step {
		for _, here := range []func(i int) bool{
			func(i int) bool { return i == at }, func(i int) bool { return i != at },
			func(i int) bool { return i <= at }, func(i int) bool { return i >= at },
		} {
			if !try(func(i int) int {
				if here(i) {
					return newest(i)
				}
				return 0
			}) {
				return n
			}
		}
	}
	s.random(seed, try, &n)
	return n
}

// random tries images in which each place is not its oldest version with a
// probability, and then any of the others.
func (s *space) random(seed sim.Seed, try func(pick func(i int) int) bool, n *uint64) {
	draw := seed.Stream("images")
	for _, p := range []float64{0.1, 0.5, 0.9} {
		for range randomImages {
			if !try(func(i int) int {
				if draw.Float64(*n, 2*uint64(i)) >= p {
					return 0
				}
				return 1 + int(draw.Uint64N(uint64(len(s.places[i].Versions)-1), *n, 2*uint64(i)+1))
			}) {
				return
			}
		}
	}
}
