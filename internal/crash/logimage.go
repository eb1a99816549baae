package crash

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/internal/conf"
	"nbdbench/sim"
)

// The images of one cut that a check sees: what is promised alone, all that was written,
// and some in between.
const (
	imageOldest = iota
	imageNewest
	imagesDrawn // the first of those that are drawn
	imagesOfCut = 5
)

// checkImages makes images of at most Cuts moments and has the check judge them: after
// each reply to a FLUSH or FUA, at power cuts, and at the end.
func (j *logJudge) checkImages(run func(image string) (int, string, error)) error {
	data, err := openLogData(j.config.History)
	if err != nil {
		return err
	}
	defer data.close()
	if err := os.MkdirAll(j.config.Images, 0o777); err != nil {
		return conf.At("--images", "%v", err)
	}
	*j = *newLogJudgeAgain(j)
	moments := j.moments()
	for i := range j.log.Events {
		e := &j.log.Events[i]
		if e.Kind == history.PowerCut && moments[e.Seq] { // before it what was in progress is possible
			if err := j.checkCut(data, e, run); err != nil {
				return err
			}
		}
		j.observe(e)
		if e.Kind != history.PowerCut && moments[e.Seq] {
			if err := j.checkCut(data, e, run); err != nil {
				return err
			}
		}
	}
	return nil
}

// newLogJudgeAgain is a judge at the beginning of the history, with the results so far.
func newLogJudgeAgain(j *logJudge) *logJudge {
	again := newLogJudge(j.config, j.log)
	again.result, again.broken = j.result, j.broken
	return again
}

// moments are the events after which images are made.
func (j *logJudge) moments() map[uint64]bool {
	var all []uint64
	for i := range j.log.Events {
		e := &j.log.Events[i]
		promise := e.Kind == history.Done && (e.Op == devices.OpFlush || e.Flags&devices.FUA != 0 && e.Op.Modifies())
		if promise || e.Kind == history.PowerCut || i == len(j.log.Events)-1 {
			all = append(all, e.Seq)
		}
	}
	draw := sim.Seed(j.config.Seed).Stream("log moments")
	for n := uint64(0); len(all) > j.config.Cuts; n++ {
		i := int(draw.Uint64N(uint64(len(all)), n, 0))
		all = slices.Delete(all, i, i+1)
	}
	moments := map[uint64]bool{}
	for _, seq := range all {
		moments[seq] = true
	}
	return moments
}

// checkCut has the check judge the images of one moment. The first image that fails stays
// in the directory.
func (j *logJudge) checkCut(data *logData, e *history.Event, run func(image string) (int, string, error)) error {
	r := &j.result
	r.Cuts++
	r.maxLog2 = max(r.maxLog2, j.legal.Log2())
	for number := range imagesOfCut {
		path := filepath.Join(j.config.Images, fmt.Sprintf("event-%d-image-%d", e.Seq, number))
		if err := j.build(data, path, e.Seq, number); err != nil {
			return err
		}
		r.Images++
		status, said, err := run(path)
		switch {
		case err != nil:
			return err
		case status == 0:
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		case status > 2:
			return conf.At("--check", "expected status 0 (kept), 1 (lost) or 2 (corrupt), got %d for %s: %s", status, path, said)
		}
		r.InvariantBroken++
		if r.FirstBroken == 0 {
			r.FirstBroken = r.Cuts
		}
		if j.broken["check"] {
			return os.Remove(path)
		}
		j.report("check", Violation{
			Class: Invariant, Expected: []devices.Stamp{}, CutNs: int64(e.Time), CutEvent: e.Seq, Images: byContract, Image: uint64(number),
			Text: fmt.Sprintf("--check ended with status %d for an image that the log's FLUSH and FUA permit: %s; it wrote: %s", status, path, said),
		})
		return nil
	}
	return nil
}

// build writes an image to a new file.
func (j *logJudge) build(data *logData, path string, event uint64, number int) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return conf.At("--images", "%v", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(data.size); err != nil {
		return err
	}
	choice := map[uint64]devices.Stamp{}
	draw := j.config.drawOf(event)
	n := uint64(0)
	j.legal.Places(func(p history.Place) {
		n++
		v := p.Versions[len(p.Versions)-1]
		switch {
		case number == imageOldest:
			v = p.Versions[0]
		case number >= imagesDrawn:
			v = p.Versions[draw.Uint64N(uint64(len(p.Versions)), n, uint64(number))]
		}
		for s := p.First; s < p.End; s++ {
			choice[s] = v
		}
	})
	var room [4]devices.Stamp
	return j.legal.Touched(func(sector uint64) error {
		v, ok := choice[sector]
		if !ok {
			versions := j.legal.At(sector, room[:0])
			v = versions[len(versions)-1]
		}
		return data.copySector(f, sector, v)
	})
}

// logData is the data of a log of dm-log-writes.
type logData struct {
	file   *os.File
	writes []history.DMData // by stamp
	size   int64            // of the device: as far as anything is written
}

// openLogData finds the data of a log's writes.
func openLogData(path string) (*logData, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	writes, err := history.ReadDMData(f)
	if err != nil {
		return nil, errors.Join(conf.At("--check", "%s: expected a log of dm-log-writes, which has the data: %v", path, err), f.Close())
	}
	d := &logData{file: f, writes: writes}
	for _, w := range writes {
		d.size = max(d.size, w.Offset+w.Length)
	}
	return d, nil
}

func (d *logData) close() { _ = d.file.Close() }

// copySector writes a version of a sector to an image.
func (d *logData) copySector(image io.WriterAt, sector uint64, v devices.Stamp) error {
	if v == 0 || v >= devices.Stamp(len(d.writes)) || d.writes[v].Data == 0 {
		return nil // zeros
	}
	w := &d.writes[v]
	at := int64(sector*devices.Sector) - w.Offset
	if at < 0 || at >= w.Length {
		return nil
	}
	var b [devices.Sector]byte
	if _, err := d.file.ReadAt(b[:], w.Data+at); err != nil {
		return err
	}
	_, err := image.WriteAt(b[:], int64(sector*devices.Sector))
	return err
}
