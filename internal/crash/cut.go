package crash

import (
	"fmt"
	"math"
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/results"
	"nbdbench/sim"
)

// The classes of what only the application sees, beyond those of the wire.
const (
	LostCommit history.Class = "lost-commit" // a commit that a durable strategy acknowledged is not there
	Invariant  history.Class = "invariant"   // an image breaks what the application relies on
)

// Judges of images.
const (
	onDevice   = "device"   // an image that this device would leave
	byContract = "contract" // one that its contract allows
)

// finding is one way in which an image is wrong: each is reported once.
type finding struct {
	class  history.Class
	sector uint64
	found  devices.Stamp
}

// sight is a finding in its circumstances.
type sight struct {
	finding
	expected []devices.Stamp
	covered  string // what promised it
	images   string // onDevice or byContract
	image    uint64 // its number
	text     string
	step     uint64 // the cut is after that event
	at       sim.Time
}

// verdict is the judgement on one cut.
type verdict struct {
	results.Cut
	images     uint64  // that were built
	log2       float64 // of how many are legal
	exhaustive bool
	broken     bool // an image breaks the invariant of a strategy that promises nothing
	findings   int64
	sights     []sight // the first finding of each class
}

// trial is one cut of a world.
type trial struct {
	*world
	step uint64
	seed sim.Seed
	verdict
}

// cut says what a power cut at this instant would do.
func (w *world) cut(step uint64) verdict {
	t := trial{world: w, step: step, seed: sim.Seed(w.seed).Sub("cut", step)}
	k := w.model.Cut(t.seed)
	t.device(k)
	t.allowed()
	return t.verdict
}

// device judges what this device would leave.
func (t *trial) device(k *drive.Cut) {
	t.Acked, t.AtRiskBytes = int64(t.app.Acked()), int64(k.ExposedBytes())
	lost := t.app.Lost(t.app.Written, k.Stamp)
	t.Lost = int64(lost.Commits)
	if lost.Commits > 0 {
		t.LostWindow = t.loop.Now().Sub(lost.OldestAck)
		t.lostCommit(lost, k.Stamp, onDevice, 0)
	}
	worst := t.app.Lost(t.app.Written, k.Durable)
	t.AtRisk = int64(worst.Commits)
	if worst.Commits > 0 {
		t.lostCommit(worst, k.Durable, onDevice, 1)
	}
	for number, read := range []image{k.Stamp, k.Durable} {
		t.Violations += int64(t.wire.CheckImage(read, func(v history.Violation) { t.promise(v, onDevice, uint64(number)) }))
		t.invariant(read, onDevice, uint64(number))
	}
	t.images = 2
	k.InFlight(func(off, end uint64, s devices.Stamp) { // any of it may have landed
		t.each(off/devices.Sector, end/devices.Sector, s, onDevice, 2)
	})
}

// each judges one version of some sectors by what was promised at the wire.
func (t *trial) each(first, end uint64, s devices.Stamp, images string, number uint64) {
	for sector := first; sector < end; sector++ {
		if v, bad := t.wire.Check(sector, s); bad {
			t.Violations++
			t.promise(v, images, number)
		}
	}
}

// allowed judges what the device's contract leaves.
func (t *trial) allowed() {
	legal := newSpace(t.onlyVersion)
	t.contract.Places(func(p history.Place) { legal.add(p) })
	t.log2 = legal.log2()
	for i := range legal.places {
		p := &legal.places[i]
		for _, v := range p.Versions {
			t.each(p.First, p.End, v, byContract, 0)
		}
	}
	t.worst(legal)
	t.built(legal)
}

// onlyVersion is the one version that the contract leaves of a sector.
func (t *trial) onlyVersion(sector uint64) devices.Stamp {
	var room [4]devices.Stamp
	v := t.contract.At(sector, room[:0])
	return v[len(v)-1]
}

// worst judges the image of the oldest versions, in which every commit is lost
// that any image loses: each sector's loss grows with the age of its version.
func (t *trial) worst(legal *space) {
	clear(legal.choice)
	exposed := func(visit func(off, end uint64)) {
		for i := range legal.places {
			p := &legal.places[i]
			visit(p.First*devices.Sector, p.End*devices.Sector)
		}
	}
	lost := t.app.Lost(exposed, legal.read)
	t.AtRisk = max(t.AtRisk, int64(lost.Commits))
	if lost.Commits > 0 {
		t.lostCommit(lost, legal.read, byContract, 0)
	}
}

// built builds images for the invariant. Without one there is nothing left that
// is not decided.
func (t *trial) built(legal *space) {
	if t.app.rule == nil { // of a history there is more than promises, which is not known
		t.exhaustive = t.cell.history == nil || math.Exp2(t.log2) <= float64(t.images)
		return
	}
	legal = legal.narrowed(t.app.rule.reads)
	t.app.rule.fixVersions(legal.versions)
	defer t.app.rule.fixVersions(nil)
	var built uint64
	t.exhaustive, built = legal.each(t.seed, func(number uint64) bool { return !t.invariant(legal.read, byContract, number) })
	t.images += built
}

// promise takes down what breaks a promise.
func (t *trial) promise(v history.Violation, images string, number uint64) {
	if s := t.see(finding{v.Class, v.Sector, v.Found}, images, number); s != nil {
		s.text = v.String()
	}
}

// invariant takes down how an image breaks the workload's invariant, if it does.
func (t *trial) invariant(read image, images string, number uint64) bool {
	if t.app.rule == nil {
		return false
	}
	b := t.app.rule.broken(read)
	if b == nil {
		return false
	}
	t.broken = true
	if !t.cell.durable && t.cell.history == nil {
		return true
	}
	if s := t.see(finding{Invariant, b.sector, b.found}, images, number); s != nil {
		s.text, s.expected = b.text, []devices.Stamp{b.want}
	}
	return true
}

// see counts a finding. The first of its class it takes down, and returns it for
// the caller to say more; of a broken promise there may be one in each sector.
func (t *trial) see(f finding, images string, number uint64) *sight {
	t.findings++
	if slices.ContainsFunc(t.sights, func(s sight) bool { return s.class == f.class }) {
		return nil
	}
	s := sight{finding: f, images: images, image: number, step: t.step, at: t.loop.Now()}
	s.expected = t.expected.At(f.sector, nil)
	if event, flush := t.expected.Covered(f.sector); event != 0 {
		s.covered = coveredBy(event, flush)
	}
	t.sights = append(t.sights, s)
	return &t.sights[len(t.sights)-1]
}

// lostCommit takes down that an image has lost a commit, which a durable
// strategy must not.
func (t *trial) lostCommit(lost history.Loss, read image, images string, number uint64) {
	if !t.cell.durable {
		return
	}
	sector := t.app.firstLost(lost.OldestTxn, read)
	last := t.see(finding{LostCommit, sector, read(sector)}, images, number)
	if last == nil {
		return
	}
	last.text = fmt.Sprintf("commit %d, acknowledged at %v, is lost", lost.OldestTxn, lost.OldestAck)
	last.expected = last.expected[:0]
	for i := range t.log.Events { // the commit's own
		if e := &t.log.Events[i]; e.Txn == lost.OldestTxn && e.Kind == history.Submit && e.Op.Modifies() && e.Offset/devices.Sector <= sector && sector*devices.Sector < e.Offset+e.Length {
			last.expected = append(last.expected, e.Stamp)
		}
	}
}

func coveredBy(event uint64, flush bool) string {
	if flush {
		return fmt.Sprintf("flush, event %d", event)
	}
	return fmt.Sprintf("fua, event %d", event)
}
