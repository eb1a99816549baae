package simtest

import (
	"fmt"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/devices/history"
	"nbdbench/sim"
)

// image is one thing that a power cut may leave.
type image struct {
	name  string
	stamp func(sector uint64) devices.Stamp
}

// cut cuts the power and judges what that leaves.
func (w *world) cut() { w.cutBy(w.seed.Sub("cut", uint64(w.report.Cuts+1))) }

func (w *world) cutBy(seed sim.Seed) {
	w.report.Cuts++
	k := w.model.Cut(seed)
	w.cover()
	for _, im := range w.images(k) {
		w.promises(im)
		w.commits(im, k)
	}
	w.random(seed)
}

// random judges one more of the legal images: more of what is only acknowledged has
// reached the medium.
func (w *world) random(seed sim.Seed) {
	k := w.model.Cut(seed)
	k.Random(seed)
	m := k.Media()
	if w.mode == drive.RealBytes {
		w.promises(image{"random medium in bytes", func(sector uint64) devices.Stamp { return w.inBytes(m, sector) }})
		return
	}
	w.agree(k, m)
	w.promises(image{"random", k.Stamp})
}

// cover notes what the cut has met.
func (w *world) cover() {
	if w.drive == nil {
		return
	}
	if w.drive.Stalled() > 0 {
		w.report.Stalls++
	}
	if w.drive.Cache().Flying() > 0 {
		w.report.Flights++
	}
}

// images are the views of a cut. In byte mode there is only the medium.
func (w *world) images(k *drive.Cut) []image {
	m := k.Media()
	w.report.Image = m
	if w.mode == drive.RealBytes {
		return []image{{"medium in bytes", func(sector uint64) devices.Stamp { return w.inBytes(m, sector) }}}
	}
	w.agree(k, m)
	return []image{{"stamps", k.Stamp}, {"worst case", k.Durable}}
}

// inBytes reads the version of a sector from a medium that holds bytes.
func (w *world) inBytes(m drive.Media, sector uint64) devices.Stamp {
	var b [devices.Sector]byte
	p := devices.Payload{Bytes: b[:]}
	m.Read(sector*devices.Sector, devices.Sector, &p)
	return w.stampOf(b[:])
}

// agree checks that the cut and the medium after it say the same.
func (w *world) agree(k *drive.Cut, m drive.Media) {
	w.ledger.Written(func(off, end uint64) {
		for s := off / devices.Sector; s < end/devices.Sector; s++ {
			if a, b := k.Stamp(s), m.Stamp(s); a != b {
				w.fail("cut %d: sector %d holds version %d, and on the medium after the cut %d", w.report.Cuts, s, a, b)
			}
		}
	})
}

// promises judges an image by what was promised at the wire.
func (w *world) promises(im image) {
	lies := w.strategy.Name == "discard"
	w.judge.CheckImage(im.stamp, func(v history.Violation) {
		if v.Class == history.Shorn && !w.units {
			w.report.Shorn++
			return
		}
		w.report.Violations++
		if !lies {
			w.fail("cut %d, %s: %v", w.report.Cuts, im.name, v)
		}
	})
}

// commits judges an image by what the application saw acknowledged as durable. Of what
// a cut does not show as exposed, nothing may be missing.
func (w *world) commits(im image, k *drive.Cut) {
	lost := w.ledger.Lost(w.ledger.Written, im.stamp)
	w.report.Lost = max(w.report.Lost, lost.Commits)
	if w.strategy.Durable && lost.Commits > 0 {
		w.fail("cut %d, %s: %d of %d commits are lost, the oldest is %d of %v", w.report.Cuts, im.name, lost.Commits, w.report.Commits, lost.OldestTxn, lost.OldestAck)
	}
	shown := w.ledger.Lost(func(visit func(off, end uint64)) { k.Exposed(0, deviceSize, visit) }, im.stamp)
	if shown.Commits != lost.Commits {
		w.fail("cut %d, %s: %d commits are lost, but only %d in the ranges that the cut exposes", w.report.Cuts, im.name, lost.Commits, shown.Commits)
	}
}

// finish reads everything back, flushes twice, and cuts once more.
func (w *world) finish() {
	w.last(devices.Request{Op: devices.OpRead, Offset: w.base * devices.Sector, Length: w.span * devices.Sector})
	w.flushTwice()
	if w.failed == nil {
		w.cutBy(w.seed.Sub("last cut", 0)) // however many there were before
	}
	stats := w.model.Stats()
	w.report.Destaged = stats.MediaWrittenBytes - min(stats.FlushedBytes, stats.MediaWrittenBytes)
}

// last runs one more request to its end, alone, and returns the slot it used.
func (w *world) last(r devices.Request) *slot {
	s := &slot{w: w, r: r, end: 1}
	if w.failed != nil {
		return s
	}
	w.open++
	s.submit()
	for s.busy && w.failed == nil && w.loop.Step() {
	}
	if s.busy && w.failed == nil {
		w.fail("%v was never completed", &s.r)
	}
	return s
}

// flushTwice checks that a FLUSH leaves nothing to lose, and the next one
// nothing to do.
func (w *world) flushTwice() {
	if !w.info.CanFlush {
		return
	}
	w.last(devices.Request{Op: devices.OpFlush})
	if w.failed != nil || !w.strategy.Durable || w.perConn {
		return
	}
	if n := w.model.Cut(0).ExposedBytes(); n > 0 {
		w.fail("after a FLUSH with nothing in progress %d bytes are exposed", n)
	}
	before := w.model.Stats()
	s := w.last(devices.Request{Op: devices.OpFlush})
	if took, most := w.loop.Now().Sub(s.began), w.cheap(); w.failed == nil && took > most {
		w.fail("a second FLUSH took %v, expected at most %v", took, most)
	}
	if d := w.model.Stats().Sub(before); d.FlushedBytes > 0 || d.MediaWrittenBytes > 0 && w.profile.RAID == nil { // whose disk is written meanwhile
		w.fail("a second FLUSH wrote: %s", fmt.Sprintf("%+v", d))
	}
}

// cheap is the most that a FLUSH of a clean cache takes: the way there and back,
// and the controller's time, with room for its spread.
func (w *world) cheap() (most time.Duration) {
	const spread = 60 // a lognormal of sigma 1 is above e^4 times its median once in 30000
	most = 2*w.link.latency + microsecond
	if p := w.profile.SSD; p != nil {
		most += spread * p.FlushClean
	}
	if p := w.profile.HDD; p != nil {
		most += p.Ack
	}
	if p := w.profile.RAID; p != nil {
		most += p.Serial + p.Flush
	}
	if p := w.profile.Cloud; p != nil {
		most += p.Flush
	}
	if w.profile.Empirical != nil {
		most += slowest
	}
	return most
}
