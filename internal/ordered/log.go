package ordered

import (
	"fmt"
	"io"

	"nbdbench/sim"
)

// A Log is a file that is written at its end, and at places that have been written. It
// is an io.Writer and an io.WriterAt. Until Start, and after Stop, it writes itself;
// between them it has a worker, its errors are those reported so far, and who replies
// waits for Barrier.
type Log struct {
	file interface {
		io.Writer
		io.WriterAt
	}
	sync   func() error
	worker *Worker
	err    error
}

// NewLog returns the log of a file, which sync makes durable.
func NewLog(file interface {
	io.Writer
	io.WriterAt
}, sync func() error,
) *Log {
	return &Log{file: file, sync: sync}
}

// Start has a worker write from now on. progress is called in the loop when it has. It is
// for the loop's owner. Without a Log it does nothing.
func (l *Log) Start(real *sim.Real, progress func()) {
	if l == nil {
		return
	}
	l.worker = Start(real, l)
	l.worker.OnProgress = progress
}

// Stop waits until all is written. It is not for the loop's owner. Without a worker, or
// a Log, it does nothing.
func (l *Log) Stop() {
	if l != nil && l.worker != nil {
		l.worker.Close(func() { l.err, l.worker = l.worker.Err(), nil })
	}
}

// Worker is who writes, or nil. l may be nil.
func (l *Log) Worker() *Worker {
	if l == nil {
		return nil
	}
	return l.worker
}

// Err is the first error of the worker that has been reported. l may be nil.
func (l *Log) Err() error {
	switch {
	case l == nil:
		return nil
	case l.worker != nil:
		return l.worker.Err()
	}
	return l.err
}

// Write writes at the end.
func (l *Log) Write(b []byte) (int, error) {
	if err := l.Err(); err != nil {
		return 0, err
	}
	if l.worker == nil {
		return l.file.Write(b)
	}
	l.worker.Append(b)
	return l.written(len(b))
}

// WriteAt writes at off.
func (l *Log) WriteAt(b []byte, off int64) (int, error) {
	if err := l.Err(); err != nil {
		return 0, err
	}
	if l.worker == nil {
		return l.file.WriteAt(b, off)
	}
	l.worker.Write(uint64(off), b)
	return l.written(len(b))
}

// written reports a write of n bytes: of a fast file it has been done, and may have failed.
func (l *Log) written(n int) (int, error) {
	if err := l.worker.Err(); err != nil {
		return 0, err
	}
	return n, nil
}

// Datasync has what was written made durable: before it returns, or by the worker,
// before what is added later.
func (l *Log) Datasync() error {
	if err := l.Err(); err != nil {
		return err
	}
	if l.worker == nil {
		return l.sync()
	}
	l.worker.Barrier(true)
	return nil
}

// Do does an operation of the worker.
func (l *Log) Do(op *Op) (err error) {
	switch op.Kind {
	case Append:
		_, err = l.file.Write(op.Data)
	case Write:
		_, err = l.file.WriteAt(op.Data, int64(op.Off))
	default:
		panic(fmt.Sprintf("ordered: operation %d on a log", op.Kind))
	}
	return err
}

// Sync makes the file durable, for the worker.
func (l *Log) Sync() error { return l.sync() }
