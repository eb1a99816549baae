package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/internal/stack"
	"nbdbench/internal/units"
)

// What is distinguished, and what is noise.
const (
	// fitCost is what FLUSH of dirty data, or FUA, must take beyond a FLUSH of
	// nothing, or a plain write, by the medians, to be said to cost something: this,
	// and a quarter more, and a part of what a write takes. What a volatile cache has
	// to write takes a program of the flash or a revolution of the disk, and a host that
	// has been idle for the time of a write can take tens of microseconds to wake up.
	fitCost = 60 * time.Microsecond
	fitMore = 1.25
	fitPart = 0.1
	// fitSame is how near FUA must be to a write and a FLUSH to be one.
	fitSame = 0.15
	// fitLinear is how much of perfect scaling counts as having no bound yet.
	fitLinear = 0.95
	// fitTolerance is that of a fitted profile's rows, unless their visits were
	// farther apart.
	fitTolerance = 0.15
	// fitGrown is how much FLUSH must grow with what is dirty for that to be a law.
	fitGrown = 1.1
	// z90 is the 90% quantile of the standard normal distribution.
	z90 = 1.2815515655446004
)

// fitCache is what is assumed of a volatile cache, of which only FLUSH is seen.
var fitCache = catalog.Cache{
	Mode: "volatile", Capacity: 64 * units.MiB, HighWater: 32 * units.MiB, LowWater: 16 * units.MiB, IdleDestage: 5 * time.Millisecond,
}

// solver makes a profile of a measurement.
type solver struct {
	m      *Measurement
	points map[string]*Point
	p      *catalog.Profile
	s      *catalog.SSD
	parts  []string // what was recognised, for the profile's words
}

// Fit makes a profile of kind ssd that gives what was measured. It is a pure
// function of the measurement, though it asks the model in virtual time where a
// parameter has no formula. The profile carries what was measured as published
// figures of its own, and says which parameter each has set. Its text names when
// it was measured, unless that is empty.
func Fit(m *Measurement, name, when string) (*catalog.Profile, error) {
	f := &solver{m: m, points: map[string]*Point{}, s: &catalog.SSD{}}
	for i := range m.Points {
		f.points[m.Points[i].ID] = &m.Points[i]
	}
	for _, id := range []string{"read-1", "write-1"} {
		if f.points[id] == nil {
			return nil, fmt.Errorf("%w: %s was not measured, which the model needs", stack.ErrInvalid, id)
		}
	}
	f.describe(name)
	f.flags()
	f.writes()
	if f.isVolatile() {
		f.volatile()
	} else {
		f.protected()
	}
	if err := errors.Join(f.servers(), f.flushes(), f.reads()); err != nil {
		return nil, err
	}
	f.about()
	f.publish(when)
	return f.p, nil
}

// describe begins the profile.
func (f *solver) describe(name string) {
	i := &f.m.Info
	f.p = &catalog.Profile{
		Name: name, Title: f.m.Kind + " as it was measured", Kind: "ssd", Confidence: "medium", SSD: f.s,
		Size: units.Size(i.Size &^ 4095), LogicalBlock: 512, AtomicUnit: 4096,
		Cache:   catalog.Cache{Mode: "protected"},
		Sources: map[string]string{}, Fitted: map[string]string{},
	}
	f.p.Sources["size"] = "as the target says"
	f.p.Sources["logical_block"] = "estimate: the target does not say"
	if i.LogicalBlock == 512 || i.LogicalBlock == 4096 {
		f.p.LogicalBlock = units.Size(i.LogicalBlock)
		f.p.Sources["logical_block"] = "as the target says, or what it is asked in"
	}
	f.p.Sources["atomic_unit"] = "estimate: 4 KiB"
}

// us is the mean latency of a point in nanoseconds.
func (f *solver) us(id string) (ns float64, ok bool) {
	p := f.points[id]
	if p == nil {
		return 0, false
	}
	return p.Value * 1e3, true
}

// set notes where parameter path is from: a point that set it, or nothing.
func (f *solver) set(path string, by *Point, how string) {
	text := how
	if by != nil {
		text = "measured: " + by.words()
		if how != "" {
			text += ", " + how
		}
		f.p.Fitted[path] = by.ID
	}
	f.p.Sources[path] = text
}

// words describe a point.
func (p *Point) words() string {
	at := "1 job"
	if p.Unit != "us" {
		at = fmt.Sprintf("%d jobs", p.Jobs)
	}
	switch {
	case p.Op == catalog.OpFlushN || p.Op == catalog.OpSyncN:
		at = fmt.Sprintf("%v dirty", p.dirty())
	case p.Size != 0:
		at += fmt.Sprintf(", %v", p.Size)
	}
	return fmt.Sprintf("%s, %s: %g %s (%d times)", p.Op, at, p.Value, p.Unit, p.Count)
}

// flags takes what the target advertises.
func (f *solver) flags() {
	i := &f.m.Info
	f.p.Advertise = catalog.Advertise{Flush: i.CanFlush, FUA: "none", Trim: i.CanTrim, Zero: i.CanZero, Rotational: i.Rotational}
	switch {
	case i.FUA == devices.FUANone:
		f.parts = append(f.parts, "FUA is not offered.")
	case f.emulatesFUA():
		f.parts = append(f.parts, "A FUA write takes as long as a write and a FLUSH, and is taken for that: the server makes it so, and the profile has none of its own. Strategy emulate gives what the target gives under pass.")
	default:
		f.p.Advertise.FUA = "native"
	}
	if !i.CanFlush {
		f.parts = append(f.parts, "FLUSH is not offered.")
	}
}

// slower reports whether a takes longer than b, noise apart.
func (f *solver) slower(a, b *Point) bool {
	if a == nil || b == nil {
		return false
	}
	more := a.P50 - b.P50
	return float64(a.P50) > fitMore*float64(b.P50) && more > fitCost && float64(more) > fitPart*float64(f.points["write-1"].P50)
}

// fuaIsSlow reports whether FUA takes longer than a plain write.
func (f *solver) fuaIsSlow() bool { return f.slower(f.points["sync_4k-1"], f.points["write-1"]) }

// flushed are the points of FLUSH by how much was dirty, as far as they rise, and
// the one beyond: what the cache does not hold, or has destaged meanwhile, costs
// less again, or makes the rise half as steep.
func (f *solver) flushed() (rising []*Point, beyond *Point) {
	steepest := 0.0 // in us for each byte
	for _, dirty := range fitDirty {
		p := f.points[dirtyRow(catalog.OpFlushN, "flush", dirty).ID]
		if p == nil {
			return rising, nil
		}
		if n := len(rising); n > 0 {
			last := rising[n-1]
			slope := (p.Value - last.Value) / float64(p.dirty()-last.dirty())
			if p.Value < 0.8*last.Value || steepest > 0 && slope < steepest/2 {
				return rising, p
			}
			if last.dirty() >= units.MiB && p.Value > fitGrown*last.Value { // less is noise
				steepest = max(steepest, slope)
			}
		}
		rising = append(rising, p)
	}
	return rising, nil
}

// dirty is how much was dirty.
func (p *Point) dirty() units.Size { return units.Size(max(p.Jobs, 1)) * p.Size }

// flushIsExpensive reports whether FLUSH takes longer if there is something dirty.
func (f *solver) flushIsExpensive() bool {
	rising, _ := f.flushed()
	return slices.ContainsFunc(rising, func(p *Point) bool { return f.slower(p, f.points["flush-clean"]) })
}

// isVolatile reports whether there is a cache that something must be written
// from.
func (f *solver) isVolatile() bool { return f.flushIsExpensive() || f.fuaIsSlow() }

// emulatesFUA reports whether FUA is a write and a FLUSH: as expensive as both at each
// depth, and slower if more is dirty, where FLUSH is.
func (f *solver) emulatesFUA() bool {
	if !f.fuaIsSlow() || f.points["write_flush-1"] == nil {
		return false
	}
	for _, d := range fitDepths {
		a, b := f.points[fmt.Sprintf("sync_4k-%d", d)], f.points[fmt.Sprintf("write_flush-%d", d)]
		if a != nil && b != nil && math.Abs(a.Value/b.Value-1) > fitSame {
			return false
		}
	}
	fua, _ := f.us("sync_4k-1")
	few, ok1 := f.us("flush-4KiB")
	much, ok2 := f.us("flush-16MiB")
	beside, ok3 := f.us("sync-16MiB")
	if grown := much / few; ok1 && ok2 && ok3 && grown > 1.5 {
		return beside/fua > 1+(grown-1)/2
	}
	return true
}

// scaling is how an operation gains from jobs: its time at depth 1, the point with the
// highest rate, and how many are served at once there; a highest of nil is
// linear growth to the end.
func (f *solver) scaling(op string) (single float64, first, highest *Point, atOnce float64) {
	first = f.points[op+"-1"]
	if first == nil {
		return 0, nil, nil, 0
	}
	single = first.Value * 1e3
	last := 0
	for _, d := range fitDepths[1:] {
		p := f.points[fmt.Sprintf("%s-%d", op, d)]
		if p == nil {
			continue
		}
		last = d
		if highest == nil || p.Value > highest.Value {
			highest = p
		}
	}
	if highest == nil {
		return single, first, nil, 1
	}
	atOnce = min(highest.Value*single/1e9, float64(highest.Jobs)) // more is noise
	if highest.Jobs == last && atOnce > fitLinear*float64(last) {
		return single, first, nil, atOnce
	}
	return single, first, highest, atOnce
}

// writes sets the two stages of a write that is acknowledged, by the law
// min(n/(serial+parallel), 1/serial), and the bandwidth, which is part of the
// serial stage: of 1 MiB beside 4 KiB, but no less than the highest rates have had.
func (f *solver) writes() {
	single, first, highest, _ := f.scaling(catalog.OpWrite)
	serial := single
	if highest != nil {
		serial = min(1e9/highest.Value, single)
	}
	transfer, by, how := f.perPage(single), f.points["write-1MiB"], "less 4 KiB's"
	if highest != nil && serial < transfer {
		transfer, by, how = serial, highest, "no less than the highest rate comes to"
	}
	if _, _, read, _ := f.scaling(catalog.OpRead); read != nil && 1e9/read.Value < transfer { // reads go the same way
		transfer, by, how = 1e9/read.Value, read, "no less than the highest rate comes to"
	}
	if transfer = min(transfer, single); transfer > 0 {
		f.s.Bandwidth = units.Bandwidth(4096e9 / transfer)
		f.set("ssd.bandwidth", by, how)
	}
	if highest == nil {
		serial = transfer
	} else if f.s.Serial = time.Duration(serial - transfer); f.s.Serial > 0 {
		f.set("ssd.serial", highest, "the highest rate, less the transfer")
	}
	if f.s.Parallel = time.Duration(max(single-serial, 0)); f.s.Parallel > 0 {
		f.set("ssd.parallel", first, "less the serial stage")
	}
}

// perPage is how much of the time of 4 KiB grows with length, from how much
// longer 1 MiB takes, in nanoseconds; 0 where that is noise.
func (f *solver) perPage(single float64) float64 {
	long := f.points["write-1MiB"]
	if long == nil || long.Value*1e3 < 1.05*single {
		return 0
	}
	return 4096 * (long.Value*1e3 - single) / float64(units.MiB-4*units.KiB)
}

// acknowledged is the time of a plain write of the fitted model.
func (f *solver) acknowledged() float64 {
	return float64(f.s.Serial+f.s.Parallel) + f.transfer()
}

// transfer is what 4 KiB take by the bandwidth.
func (f *solver) transfer() float64 {
	if f.s.Bandwidth == 0 {
		return 0
	}
	return 4096e9 / float64(f.s.Bandwidth)
}

// protected has acknowledged writes be durable: FLUSH has nothing to do.
func (f *solver) protected() {
	f.parts = append(f.parts, "Neither FLUSH nor FUA costs more if there is something to write: no volatile cache, or one that nothing is written from. Time cannot tell these apart, and this profile loses nothing when the power goes.")
	if p := f.points["flush-4KiB"]; p != nil { // after a write, as FLUSH is asked for
		f.s.FlushClean = time.Duration(p.Value * 1e3)
		f.set("ssd.flush_clean", p, "")
	}
}

// volatile has FLUSH and FUA write what is dirty.
func (f *solver) volatile() {
	f.p.Cache = fitCache
	points, beyond := f.flushed()
	for _, key := range []string{"capacity", "high_water", "low_water", "idle_destage"} {
		f.p.Sources["cache."+key] = "estimate: not to be seen in what was measured"
	}
	f.parts = append(f.parts, "What was written and not made durable costs FLUSH or FUA time, so there is a cache to write from, taken to be lost when the power goes.")
	if clean := f.points["flush-clean"]; clean != nil {
		f.s.FlushClean = time.Duration(clean.Value * 1e3)
		f.set("ssd.flush_clean", clean, "")
	}
	if len(points) > 0 {
		f.flushLaw(points)
	}
	if beyond != nil {
		c := beyond.dirty()
		f.p.Cache.Capacity, f.p.Cache.HighWater, f.p.Cache.LowWater = c, c/2, c/4
		f.p.Sources["cache.capacity"] = "estimate: FLUSH takes less with more dirty than that"
	}
	if fua := f.points["sync_4k-1"]; fua != nil && f.p.Advertise.FUA == "native" {
		if f.s.FUABase = time.Duration(max(fua.Value*1e3-f.acknowledged(), 0)); f.s.FUABase > 0 {
			f.set("ssd.fua_base", fua, "less the write's own time")
		}
	}
	f.spread()
}

// flushLaw sets flush_base + flush_per_stripe*(ceil(dirty/stripe)-1): the base
// from the least that was dirty, the rest from the most, the stripe so that what
// lies between fits best.
func (f *solver) flushLaw(points []*Point) {
	least, most := points[0], points[len(points)-1]
	f.s.FlushBase = time.Duration(least.Value * 1e3)
	f.set("ssd.flush_base", least, "")
	if most.Value < fitGrown*least.Value {
		return
	}
	best := math.Inf(1)
	for stripe := 4 * units.MiB; stripe >= 4*units.KiB; stripe /= 2 {
		steps := func(p *Point) float64 { return math.Ceil(float64(p.dirty())/float64(stripe)) - 1 }
		if steps(most) == 0 || most == least {
			continue
		}
		per := max((most.Value-least.Value)*1e3/steps(most), 0)
		sum := 0.0
		for _, p := range points {
			e := math.Log((least.Value*1e3 + per*steps(p)) / (p.Value * 1e3))
			sum += e * e
		}
		if sum < best*0.999 { // the larger one of equals
			best, f.s.Stripe, f.s.FlushPerStripe = sum, stripe, time.Duration(per)
		}
	}
	if f.s.FlushPerStripe > 0 {
		f.set("ssd.flush_per_stripe", most, "less the base")
		f.p.Sources["ssd.stripe"] = "chosen so that the amounts between fit best"
	} else {
		f.s.Stripe = 0
	}
}

// spread sets sigma from the quantiles of what is spread: FLUSH, or else the part
// of FUA beyond the write.
func (f *solver) spread() {
	p, part := f.points["flush-4KiB"], 1.0
	if p == nil || !f.flushIsExpensive() {
		if p = f.points["sync_4k-1"]; p == nil || f.s.FUABase == 0 {
			return
		}
		part = float64(f.s.FUABase) / (p.Value * 1e3)
	}
	if p.P10 <= 0 || p.P90 <= p.P10 {
		return
	}
	sigma := math.Log(float64(p.P90)/float64(p.P10)) / (2 * z90) / part
	if sigma = min(math.Round(sigma*100)/100, 3); sigma >= 0.02 {
		f.s.Sigma = sigma
		f.p.Sources["ssd.sigma"] = fmt.Sprintf("measured: %s, p10 %v, p90 %v", p.words(), p.P10, p.P90)
	}
}

// servers sets how many FLUSHes or FUA writes are served at once: by formula
// where FUA is the device's own, or else as the model fits best.
func (f *solver) servers() error {
	if f.s.FUABase == 0 {
		return f.choose(catalog.OpWriteFlush, "ssd.servers", []int{1, 2, 4, 8, 16, 32, 64}, f.atOnce)
	}
	_, first, highest, atOnce := f.scaling(catalog.OpSync4k)
	switch {
	case first == nil:
		return nil
	case highest == nil:
		f.s.Servers = 64
		f.p.Sources["ssd.servers"] = "measured: no bound was met with FUA up to the highest depth"
		return nil
	}
	f.s.Servers = int(min(max(math.Ceil(atOnce-0.15), 1), 64))
	f.set("ssd.servers", highest, "times the time of one")
	if c := float64(f.s.Servers)/atOnce - 1; f.s.Servers > 1 && c > 0.02 {
		f.s.Contention = math.Round(c*1000) / 1000
		f.set("ssd.contention", highest, "what is missing to whole servers")
	}
	return nil
}

// flushes has FLUSHes share one, or as many served at once as FUA writes, where that
// fits better than what servers has found: of a drive with FUA, one after another.
func (f *solver) flushes() error {
	if f.s.FlushBase == 0 {
		return nil
	}
	best := *f.s
	least, err := f.misfit(catalog.OpWriteFlush)
	if err != nil {
		return err
	}
	own := *f.s
	for _, try := range []func(s *catalog.SSD){
		func(s *catalog.SSD) { s.FlushMode, s.Flush = "shared", nil },
		func(s *catalog.SSD) { s.Flush = &catalog.FlushShape{Servers: s.Servers} },
	} {
		*f.s = own
		try(f.s)
		e, err := f.misfit(catalog.OpWriteFlush)
		if err != nil {
			return err
		}
		if e < least*0.98-1e-9 {
			best, least = *f.s, e
		}
	}
	*f.s = best
	return nil
}

// atOnce has n FLUSHes served at once.
func (f *solver) atOnce(n int) {
	f.s.Servers, f.s.Flush = n, nil
	if n > 1 {
		f.s.Flush = &catalog.FlushShape{Servers: n}
	}
}

// choose sets a whole parameter to the value with which the model comes nearest
// to the points of op, the first of equals.
func (f *solver) choose(op, path string, values []int, assign func(n int)) error {
	_, first, highest, _ := f.scaling(op)
	if first == nil {
		return nil
	}
	best, choice := math.Inf(1), values[0]
	for _, n := range values {
		assign(n)
		e, err := f.misfit(op)
		if err != nil {
			return err
		}
		if e < best*0.98-1e-9 {
			best, choice = e, n
		}
	}
	assign(choice)
	if highest == nil {
		f.p.Sources[path] = fmt.Sprintf("chosen so that %s fits best", op)
		return nil
	}
	f.set(path, highest, "and chosen so that all depths fit best")
	return nil
}

// misfit is how far the model is from the points of op: the sum of the squares of
// the ratios' logarithms.
func (f *solver) misfit(op string) (float64, error) {
	sum := 0.0
	for _, d := range fitDepths {
		p := f.points[fmt.Sprintf("%s-%d", op, d)]
		if p == nil {
			continue
		}
		got, err := measureRow(context.Background(), f.p, &p.Row)
		if err != nil {
			return 0, fmt.Errorf("the model under %s: %w", p.ID, err)
		}
		e := math.Log(got / p.Value)
		sum += e * e
	}
	return sum, nil
}

// readSteps is how often the time of a die is halved between bounds.
const readSteps = 10

// reads sets what a read takes on a die and beyond it, and how many dies there
// are: for each number the time that gives the highest rate, and of these the one
// that fits best.
func (f *solver) reads() error {
	single, first, highest, _ := f.scaling(catalog.OpRead)
	single = max(single-f.transfer(), 0)
	if highest == nil {
		f.s.ReadBase = time.Duration(single)
		f.set("ssd.read_base", first, "no bound was met")
		return nil
	}
	best, base, page, dies := math.Inf(1), f.s.ReadBase, f.s.ReadPage, 0
	for n := 1; n <= 256; n *= 2 {
		f.s.Dies = n
		if err := f.pageFor(single, highest); err != nil {
			return err
		}
		e, err := f.misfit(catalog.OpRead)
		if err != nil {
			return err
		}
		if e < best*0.98-1e-9 {
			best, base, page, dies = e, f.s.ReadBase, f.s.ReadPage, n
		}
	}
	f.s.ReadBase, f.s.ReadPage, f.s.Dies = base, page, dies
	if base > 0 {
		f.set("ssd.read_base", first, "less the die's time")
	}
	f.set("ssd.read_page", highest, "of as many dies")
	f.p.Sources["ssd.dies"] = "chosen so that all depths fit best"
	return nil
}

// pageFor sets the time on a die with which the model has the rate of p.
func (f *solver) pageFor(single float64, p *Point) error {
	low, high := 0.0, single
	for range readSteps {
		page := (low + high) / 2
		f.s.ReadPage, f.s.ReadBase = time.Duration(page), time.Duration(single-page)
		rate, err := measureRow(context.Background(), f.p, &p.Row)
		if err != nil {
			return fmt.Errorf("the model under %s: %w", p.ID, err)
		}
		if rate > p.Value {
			low = page
		} else {
			high = page
		}
	}
	return nil
}

// about puts what was recognised into words.
func (f *solver) about() {
	f.p.About = fmt.Sprintf("Fitted by nbdbench devices fit to %s. Times include the way to it and the host's part: compare over --link none.", f.m.Target)
	for _, part := range append(f.parts, f.m.Notes...) {
		f.p.About += " " + part
	}
	for _, id := range f.m.Dropped {
		f.p.About += fmt.Sprintf(" Too slow to be measured: %s.", id)
	}
}

// publish has the profile carry what was measured.
func (f *solver) publish(when string) {
	for i := range f.m.Points {
		p := &f.m.Points[i]
		r := p.Row
		if r.Op == catalog.OpSync4k && r.Jobs > fitFlushers && f.p.Advertise.FUA == "none" {
			continue // which is a write and a FLUSH: see fitFlushers
		}
		r.Tolerance = max(fitTolerance, min(digits((p.High-p.Low)/(2*p.Value), 2), 0.99))
		r.Source = "nbdbench devices fit"
		if when != "" {
			r.Source += ", " + when
		}
		f.p.Published = append(f.p.Published, r)
	}
}

// EncodeFit is the profile as a file, which has been read again.
func EncodeFit(p *catalog.Profile) ([]byte, error) {
	text, err := p.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := catalog.Parse(p.Name+".yaml", text); err != nil {
		return nil, fmt.Errorf("%w: what was measured gives no profile: %v", stack.ErrInvalid, err)
	}
	return text, nil
}
