package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Op is what a record asks for.
type Op uint8

// The operations.
const (
	Read Op = iota
	Write
	Flush
	Trim
	WriteZeroes
	ops // their number
)

func (o Op) String() string {
	return [...]string{"read", "write", "flush", "trim", "write_zeroes"}[o]
}

// Record is one request.
type Record struct {
	At     time.Duration // since the first one
	Offset uint64        // bytes
	Length uint64        // bytes; 0 of Flush
	Op     Op
	FUA    bool
}

// MaxOffset bounds where a request ends, in bytes.
const MaxOffset = 1 << 62

// magic begins a store, after compression is undone; its last byte is the version.
const magic = "nbdtrace\x01"

const (
	fua = 1 << 4
	end = 0xff
)

// Writer writes a store.
type Writer struct {
	z     *gzip.Writer
	b     *bufio.Writer
	last  Record
	count uint64
	buf   [1 + 3*binary.MaxVarintLen64]byte
}

// NewWriter begins a store.
func NewWriter(w io.Writer) *Writer {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	out := &Writer{z: z, b: bufio.NewWriterSize(z, 1<<16)}
	out.b.WriteString(magic) // a bufio.Writer keeps its error
	return out
}

// Write adds a record, which is not before the last one.
func (w *Writer) Write(r Record) error {
	if r.At < w.last.At {
		panic("trace: a record before the last one")
	}
	w.buf[0] = byte(r.Op)
	if r.FUA {
		w.buf[0] |= fua
	}
	n := 1 + binary.PutUvarint(w.buf[1:], uint64(r.At-w.last.At))
	n += binary.PutVarint(w.buf[n:], int64(r.Offset-w.last.Offset-w.last.Length))
	n += binary.PutUvarint(w.buf[n:], r.Length)
	w.last = r
	w.count++
	_, err := w.b.Write(w.buf[:n])
	return err
}

// Close ends the store; it does not close what is below.
func (w *Writer) Close() error {
	w.b.WriteByte(end)
	w.b.Write(w.buf[:binary.PutUvarint(w.buf[:], w.count)])
	return errors.Join(w.b.Flush(), w.z.Close())
}

// Reader reads a store.
type Reader struct {
	b     *bufio.Reader
	last  Record
	count uint64
}

// NewReader begins to read a store.
func NewReader(r io.Reader) (*Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("expected a trace that nbdbench import has written: %w", err)
	}
	out := &Reader{b: bufio.NewReaderSize(z, 1<<16)}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(out.b, head); err != nil || !bytes.Equal(head, []byte(magic)) {
		return nil, fmt.Errorf("expected a trace that nbdbench import has written, of version 1, got %q", head)
	}
	return out, nil
}

// Next reads the next record; io.EOF is the end.
func (r *Reader) Next() (Record, error) {
	kind, err := r.b.ReadByte()
	if err != nil {
		return Record{}, r.damaged(err)
	}
	if kind == end {
		return Record{}, r.atEnd()
	}
	var out Record
	out.Op, out.FUA = Op(kind&(fua-1)), kind&fua != 0
	after, err := binary.ReadUvarint(r.b)
	move, err2 := binary.ReadVarint(r.b)
	length, err3 := binary.ReadUvarint(r.b)
	if err := errors.Join(err, err2, err3); err != nil {
		return Record{}, r.damaged(err)
	}
	out.At = r.last.At + time.Duration(after)
	out.Offset = r.last.Offset + r.last.Length + uint64(move)
	out.Length = length
	if kind&^(2*fua-1) != 0 || out.Op >= ops || out.At < r.last.At || out.Offset > MaxOffset || length > MaxOffset-out.Offset {
		return Record{}, r.damaged(errors.New("expected a record"))
	}
	r.last = out
	r.count++
	return out, nil
}

func (r *Reader) atEnd() error {
	n, err := binary.ReadUvarint(r.b)
	if err != nil {
		return r.damaged(err)
	}
	if n != r.count {
		return r.damaged(fmt.Errorf("expected %d records", n))
	}
	if _, err := r.b.ReadByte(); err != io.EOF {
		return r.damaged(errors.New("expected the end"))
	}
	return io.EOF
}

func (r *Reader) damaged(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("trace: after record %d: %w", r.count, err)
}
