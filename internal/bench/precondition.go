package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nbdbench/devices"
	"nbdbench/internal/conf"
	"nbdbench/sim"
)

// What is written to the host's storage before it is measured.
const (
	PreconditionNone   = "none"
	PreconditionSeq    = "seq"    // all of it once, in order
	PreconditionRandom = "random" // as much as it has, at random
	PreconditionPTS    = "pts"    // by SNIA's Performance Test Specification
)

// Preconditions are the names of the ways to precondition.
func Preconditions() []string {
	return []string{PreconditionNone, PreconditionSeq, PreconditionRandom, PreconditionPTS}
}

// Preconditioning by SNIA's Solid State Storage Performance Test Specification 2.0.2,
// enterprise: twice the capacity in order in 128 KiB; then rounds of random writes of
// 4 KiB until the last ptsWindow rounds are steady, at most ptsRounds.
const (
	seqBytes    = 128 << 10
	randomBytes = 4 << 10
	fillDepth   = 32
	ptsFills    = 2
	ptsRounds   = 25
	ptsRound    = time.Minute
	ptsWindow   = 5
	ptsRange    = 0.20 // of the average, from the least to the most in the window
	ptsSlope    = 0.10 // of the average, along the window's line of best fit
)

// validatePrecondition checks what is done to storage beside its runs.
func (p *Plan) validatePrecondition(storage bool) error {
	switch {
	case p.Precondition != "" && !slices.Contains(Preconditions(), p.Precondition):
		return conf.At("precondition", "expected one of %s, got %q", strings.Join(Preconditions(), ", "), p.Precondition)
	case p.Precondition != "" && p.Precondition != PreconditionNone && !storage:
		return conf.At("precondition", "expected a block device, a file or a directory among the devices: a profile begins as it says itself")
	case p.Rest < 0 || p.Rest > MaxRest:
		return conf.At("rest", "expected at least 0 and at most %v, got %v", time.Duration(MaxRest), p.Rest)
	case p.Rest > 0 && p.Clock != "real":
		return conf.At("rest", "expected none in virtual time, where a run has a device of its own, got %v", p.Rest)
	}
	return nil
}

// precondition writes to the plan's storage as the plan says.
func (p *Plan) precondition(ctx context.Context, progress Progress) error {
	if p.Precondition == "" || p.Precondition == PreconditionNone {
		return nil
	}
	for i := range p.Devices {
		x := p.kept.storages[p.storageOf(i)]
		if x == nil || ctx.Err() != nil {
			continue
		}
		if progress != nil {
			progress(0, 1, "preconditioning "+p.Devices[i])
		}
		if err := x.precondition(ctx, p.Precondition, sim.Seed(p.Seed), ptsRound); err != nil && ctx.Err() == nil {
			return fmt.Errorf("preconditioning %s: %w", p.Devices[i], err)
		}
	}
	return nil
}

// precondition writes to one storage. Rounds of random writes take so long.
func (x *opened) precondition(ctx context.Context, how string, seed sim.Seed, round time.Duration) (err error) {
	real, err := sim.NewReal(sim.NewLoop())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, real.Close()) }()
	d, err := x.storage.Device(real)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	size := x.storage.Size()
	unit := uint64(max(d.Info().MinIO, 1))
	f := &overwriter{real: real, device: d, size: size, unit: unit, draw: seed.Stream("precondition"), pattern: noise(seqBytes + fillDepth*devices.Sector)}
	switch how {
	case PreconditionSeq:
		return f.inOrder(ctx)
	case PreconditionRandom:
		return f.atRandom(ctx, max(size/randomBytes, 1), 0)
	}
	for range ptsFills {
		if err := f.inOrder(ctx); err != nil {
			return err
		}
	}
	var rounds []float64
	for len(rounds) < ptsRounds {
		if err := f.atRandom(ctx, 0, round); err != nil {
			return err
		}
		if rounds = append(rounds, float64(f.done)); steady(rounds) {
			return nil
		}
	}
	x.warnings = append(x.warnings, fmt.Sprintf("precondition pts: the drive was not in steady state after %d rounds of %v", ptsRounds, round))
	return nil
}

// steady reports whether the last rounds are in steady state by SNIA's rule: the range
// within the window and the rise of its line of best fit are small parts of the average.
func steady(rounds []float64) bool {
	if len(rounds) < ptsWindow {
		return false
	}
	w := rounds[len(rounds)-ptsWindow:]
	var sum, moment float64
	for i, y := range w {
		sum += y
		moment += y * (float64(i) - float64(ptsWindow-1)/2)
	}
	const squares = ptsWindow * (ptsWindow*ptsWindow - 1) / 12.0 // of the places around their middle
	average, rise := sum/ptsWindow, moment/squares*(ptsWindow-1)
	return average > 0 && slices.Max(w)-slices.Min(w) <= ptsRange*average && max(rise, -rise) <= ptsSlope*average
}

// noise is so many bytes that nothing compresses.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(0x9e3779b97f4a7c15)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return b
}

// overwriter keeps fillDepth writes in flight.
type overwriter struct {
	real       *sim.Real
	device     devices.Device
	size, unit uint64
	draw       sim.Stream
	drawn      uint64
	pattern    []byte

	requests [fillDepth]devices.Request
	bytes    uint64 // of a write
	random   bool
	begun    uint64
	most     uint64   // writes; 0 is until the end
	end      sim.Time // when no further write begins; only without most
	inside   int
	done     uint64
	errno    devices.Errno
	stopped  bool
}

// inOrder writes all of the storage once.
func (f *overwriter) inOrder(ctx context.Context) error {
	f.bytes, f.random = seqBytes, false
	return f.run(ctx, (f.size+seqBytes-1)/seqBytes, 0)
}

// atRandom writes so often, or for so long.
func (f *overwriter) atRandom(ctx context.Context, most uint64, length time.Duration) error {
	f.bytes, f.random = max(randomBytes, f.unit), true
	return f.run(ctx, most, length)
}

// run writes, and then flushes.
func (f *overwriter) run(ctx context.Context, most uint64, length time.Duration) error {
	f.real.Do(func() {
		f.begun, f.done, f.most, f.end = 0, 0, most, f.real.Loop().Now().Add(length)
		for i := range f.requests {
			f.next(&f.requests[i])
		}
	})
	err := f.wait(ctx)
	if err != nil {
		return err
	}
	flush := devices.Request{Op: devices.OpFlush, Completer: f}
	f.real.Do(func() {
		f.inside++
		f.device.Submit(&flush)
	})
	return f.wait(ctx)
}

// wait waits for all writes, and lets none begin if ctx ends.
func (f *overwriter) wait(ctx context.Context) error {
	err := f.real.RunWhile(ctx, func() bool { return f.inside > 0 })
	if err != nil {
		f.real.Do(func() { f.stopped = true })
		return err
	}
	if f.errno != devices.OK {
		return fmt.Errorf("a write failed: %w", f.errno)
	}
	return nil
}

// next begins the next write, if there is one.
func (f *overwriter) next(r *devices.Request) {
	now := f.real.Loop().Now()
	if f.stopped || f.errno != devices.OK || f.most > 0 && f.begun == f.most || f.most == 0 && now >= f.end {
		return
	}
	offset := f.begun * f.bytes
	if f.random {
		offset = f.draw.Uint64N(max(f.size/f.bytes, 1), f.drawn, 0) * f.bytes
		f.drawn++
	}
	from := f.begun % fillDepth * devices.Sector // so that two writes differ
	length := min(f.bytes, f.size-offset)
	*r = devices.Request{Op: devices.OpWrite, Offset: offset, Length: length, Payload: devices.Payload{Bytes: f.pattern[from : from+length]}, Completer: f}
	f.begun++
	f.inside++
	f.device.Submit(r)
}

// Done begins the next write.
func (f *overwriter) Done(r *devices.Request) {
	f.inside--
	if r.Errno != devices.OK && f.errno == devices.OK {
		f.errno = r.Errno
	}
	if r.Op == devices.OpFlush {
		return
	}
	f.done++
	f.next(r)
}
