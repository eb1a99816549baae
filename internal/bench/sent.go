package bench

import (
	"context"
	"errors"
	"time"

	"nbdbench/devices/host"
	"nbdbench/results"
)

// The bounds of the pass that counts what a disk is sent. It is short, and apart from
// the runs, because a trace takes time.
const (
	sentCommits = 100
	sentTime    = 2 * time.Second // for commits to become due
)

// counting is what is counted of such a pass. A nil one counts nothing.
type counting struct {
	watch *host.Watch
	asked host.Asked // before
	sent  host.Sent

	commits uint64 // that were done
}

// begin counts from now on, on the server's side.
func (n *counting) begin(s *cellServer) error {
	if n == nil {
		return nil
	}
	n.asked = s.asked()
	return n.watch.Begin()
}

// end counts no longer. Nothing is in flight.
func (n *counting) end(s *cellServer) (err error) {
	if n == nil {
		return nil
	}
	n.sent, err = n.watch.End(s.asked().Sub(n.asked))
	return err
}

// took notes how many commits were done.
func (n *counting) took(commits uint64) {
	if n != nil {
		n.commits = commits
	}
}

// asked is what the host's storage was asked for so far.
func (s *cellServer) asked() (a host.Asked) {
	s.real.Do(func() { a = s.over.Asked() })
	return a
}

// countSent has the cell's load go on for a little while and counts what the kernel
// sends to its storage's disk, if it has one.
func (p *Plan) countSent(ctx context.Context, c *Cell, cell *results.Cell) {
	x := p.kept.storages[c.Storage]
	if x == nil || x.storage.Disk().Name == "" || cell.Status != results.StatusOK || !c.Workload.HasCommits() || ctx.Err() != nil {
		return
	}
	sent, err := p.sent(ctx, x, c)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		cell.Warn("what the kernel sent to the disk is not known: %v", err)
	default:
		cell.Sent = sent
	}
}

// sent is what the kernel sends for a few commits of the cell.
func (p *Plan) sent(ctx context.Context, x *opened, c *Cell) (out *results.Sent, err error) {
	n := &counting{}
	if n.watch, err = x.storage.Watch(x.extents); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.watch.Close()) }()
	q, short := *p, *c
	q.Commits, q.Duration, q.Raw = sentCommits, sentTime, false
	short.Warmup, short.Warmups = 0, nil
	o := outcome{count: n}
	if o.runReal(ctx, &q, &short); o.err != nil {
		return nil, o.err
	}
	if n.commits == 0 {
		return nil, errors.New("no commit was done in the pass that counts")
	}
	out = &results.Sent{Source: results.SentSummed, Commits: int64(n.commits), Write: int64(n.sent.Write), Flush: int64(n.sent.Flush)}
	if n.sent.Traced {
		out.Source, out.WriteFUA, out.Other = results.SentTraced, new(int64(n.sent.WriteFUA)), new(int64(n.sent.Other))
	}
	return out, nil
}
