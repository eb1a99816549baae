package image

import (
	"fmt"

	"nbdbench/devices/drive"
	"nbdbench/internal/ordered"
	"nbdbench/sim"
)

// StartWorker has writes done by a goroutine of their own from now on, and its
// completions entered into real's loop, to which the media belongs. progress is called
// after each. It is for the loop's owner.
func (m *Media) StartWorker(real *sim.Real, progress func()) {
	m.worker = ordered.Start(real, onFile{m})
	m.worker.Failed, m.worker.OnProgress = m.lose, progress
}

// StopWorker waits until all is written, and has Write do it itself again. It is not for
// the loop's owner. Without a worker it does nothing.
func (m *Media) StopWorker() {
	if m.worker != nil {
		m.worker.Close(func() { m.worker = nil })
	}
}

// Worker is who writes, or nil.
func (m *Media) Worker() *ordered.Worker { return m.worker }

// Barrier returns the worker's operation after which what was written so far is in the
// file, and with Sync on the host's disk.
func (m *Media) Barrier() uint64 { return m.worker.Barrier(m.opt.Sync) }

// onFile does a worker's operations.
type onFile struct{ m *Media }

// Do does an operation.
func (f onFile) Do(op *ordered.Op) error {
	switch op.Kind {
	case ordered.Write:
		_, err := f.m.file.WriteAt(op.Data, int64(op.Off))
		return err
	case ordered.Zero:
		return f.m.zero(op.Off, op.N)
	case ordered.Provision:
		return f.m.provision(op.Off, op.N)
	}
	panic(fmt.Sprintf("image: operation %d on a medium", op.Kind))
}

// Sync waits until the file is on the host's disk.
func (f onFile) Sync() error { return f.m.opt.Datasync(f.m.file) }

// pending are the operations that the file may lack.
func (m *Media) pending() []ordered.Op {
	if m.worker == nil {
		return nil
	}
	return m.worker.Pending()
}

// overlay puts what is to be written on what was read at off.
func (m *Media) overlay(off uint64, b []byte) {
	ops := m.pending()
	for i := range ops {
		op := &ops[i]
		from, to := max(off, op.Off), min(off+uint64(len(b)), op.Off+op.N)
		switch {
		case from >= to:
		case op.Kind == ordered.Write:
			copy(b[from-off:to-off], op.Data[from-op.Off:])
		default:
			clear(b[from-off : to-off])
		}
	}
}

// replay writes to c what is to be written.
func (m *Media) replay(c drive.Media) {
	ops := m.pending()
	for i := range ops {
		switch op := &ops[i]; op.Kind {
		case ordered.Write:
			c.Write(op.Off, op.N, drive.Content{Bytes: op.Data})
		case ordered.Zero, ordered.Provision:
			c.Write(op.Off, op.N, drive.Content{Zero: true, Provision: op.Kind == ordered.Provision})
		}
	}
}

// pendingAt reports whether there is something to be written at off, and how many of n
// bytes are alike in that. Until it is in the file nobody knows what is a hole, and what
// may be one counts as data.
func (m *Media) pendingAt(off, n uint64) (run uint64, pending bool) {
	ops, end := m.pending(), off+n
	for i := range ops {
		op := &ops[i]
		from, to := op.Off&^(statusUnit-1), (op.Off+op.N+statusUnit-1)&^(statusUnit-1)
		switch {
		case op.N == 0 || to <= off || from >= end:
		case from > off && !pending:
			end = from
		case from <= off:
			if !pending {
				end, pending = off+n, true
			}
			end = min(end, to)
		}
	}
	return end - off, pending
}
