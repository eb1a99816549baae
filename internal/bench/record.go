package bench

import (
	"errors"
	"strings"

	"nbdbench/devices/history"
	"nbdbench/internal/conf"
	"nbdbench/results"
	"nbdbench/workloads"
)

// ErrInterrupted is for work that was stopped before its end and has no result.
var ErrInterrupted = errors.New("interrupted")

// Record runs one run of a stored document's cell again, in virtual time, and
// passes all requests on the wire to sink, inside the client's half of the
// strategy and above the server's. Runs are counted from 0, as in latency.hlog.
//
// The stored run is the proof that it is the same one: commits that take another
// time in all are an error, as they are if the program has changed since, or a
// profile that an earlier document does not have. By then the sink has seen everything.
func Record(doc *results.Run, id string, run int, sink history.Sink, stop func() bool) error {
	at, stored, err := recordable(doc, id, run)
	if err != nil {
		return err
	}
	p, err := planOf(doc, at)
	if err != nil {
		return err
	}
	cells, err := p.Cells()
	if err != nil {
		return err
	}
	cells[0].Warmup, cells[0].Warmups = doc.Cells[at].Warmup, doc.Cells[at].PhaseWarmups
	seed := p.seedOf(run)
	if seed != stored.Seed {
		return conf.At("run", "expected the seed %d of run %d, the document has %d", uint64(seed), run, uint64(stored.Seed))
	}
	w, err := newWorld(p, &cells[0], seed, sink)
	if err != nil {
		return conf.At("cell", "%s: %v", id, err)
	}
	defer w.close()
	if w.run(stop) {
		return ErrInterrupted
	}
	r, err := w.result(seed, false)
	if err != nil {
		return err
	}
	if n, sum := r.Commit.Count(), r.Commit.Sum(); n != stored.Commit.Count || sum != stored.CommitSum {
		return conf.At("run", "expected the stored run's %d commits in %d ns, got %d in %d ns: the program, or a profile that the document does not have, is not the one that run %d of %s was made with",
			stored.Commit.Count, stored.CommitSum, n, sum, run, id)
	}
	return nil
}

// recordable finds a run that can be had again: the place of its cell, and what
// it was.
func recordable(doc *results.Run, id string, run int) (at int, stored *results.PerRun, err error) {
	if id == "" && len(doc.Cells) == 1 {
		id = doc.Cells[0].ID
	}
	ids := make([]string, len(doc.Cells))
	at = -1
	for i, c := range doc.Cells {
		if ids[i] = c.ID; c.ID == id {
			at = i
		}
	}
	if at < 0 {
		return 0, nil, conf.At("cell", "expected one of %s, got %q", strings.Join(ids, ", "), id)
	}
	switch c := doc.Cells[at]; {
	case c.Clock != "virtual":
		return 0, nil, conf.At("clock", "expected a run in virtual time, which can be had again, got %s: serve --log-writes records a session while it happens", c.Clock)
	case len(c.PerRun) == 0:
		return 0, nil, conf.At("cell", "expected a cell that was run, %s is %s: %s", id, c.Status, c.Reason)
	case run < 0 || run >= max(len(c.PerRun), 1):
		return 0, nil, conf.At("run", "expected 0 to %d, of the %d runs of %s, got %d", len(c.PerRun)-1, len(c.PerRun), id, run)
	case c.PerRun[run].Partial || c.PerRun[run].Commit == nil:
		return 0, nil, conf.At("run", "expected a run that was not interrupted, got %d", run)
	default:
		return at, &c.PerRun[run], nil
	}
}

// planOf is the document's plan of cell number at alone, without power cuts, which
// change nothing.
func planOf(doc *results.Run, at int) (*Plan, error) {
	p, located, err := decodePlan(doc)
	if err != nil {
		return nil, err
	}
	points := 1
	for _, a := range p.Sweep {
		points *= len(a.Values)
	}
	if n := len(p.Devices) * len(p.Loads) * points * len(p.Strategies); n != len(doc.Cells) {
		return nil, located.Errorf("", "expected as many cells as devices, workloads, points and strategies make, %d, got %d", n, len(doc.Cells))
	}
	s := at % len(p.Strategies)
	l := at / len(p.Strategies) / points % len(p.Loads)
	d := at / len(p.Strategies) / points / len(p.Loads)
	p.Sweep, p.FindMax, p.Over = nil, "", ""
	for _, c := range doc.Cells[at].At {
		p.Sweep = append(p.Sweep, Axis{Name: c.Axis, Values: []string{c.Value}})
	}
	ref := &p.Workloads[l]
	if doc.Workloads == nil {
		// An earlier document has only the names of its workloads: those of files are not known.
		ref.Name, _, _ = strings.Cut(ref.Name, "@") // with what distinguishes it from the same workload under another load
		if _, err := workloads.Get(ref.Name); err != nil {
			return nil, conf.At("cell", "%s: the file that the workload %q is from is not known; expected one that comes with the program", doc.Cells[at].ID, ref.Name)
		}
	}
	p.Devices, p.Workloads, p.Strategies = p.Devices[d:d+1], p.Workloads[l:l+1], p.Strategies[s:s+1]
	p.QueueDepth, p.Arrival, p.Rate, p.Cuts = 0, "", 0, 0
	if err := p.Validate(); err != nil {
		return nil, located.Locate(err)
	}
	return &p, nil
}
