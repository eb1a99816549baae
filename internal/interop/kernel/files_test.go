package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
)

// files is an application that writes files and knows which operations it was
// acknowledged as durable. Operation n, from 1, is one of three:
//
//   - replace: a new file is written, synced and renamed over an old one, and the
//     directory is synced
//   - append: a record is added to a log, which is synced
//   - overwrite: some blocks of a file are written again, which is synced
//
// What it writes tells its operation, so that after a power cut each file can be
// asked how far it got.
type files struct {
	dir   string
	acked atomic.Uint64
	stop  atomic.Bool
}

func (f *files) done() *atomic.Uint64 { return &f.acked }
func (f *files) halt()                { f.stop.Store(true) }

// The shapes of the files.
const (
	replaced    = 5    // names that are replaced
	recordSize  = 1000 // of the log, so that records share blocks
	blocks      = 4    // of the file that is overwritten
	blockSize   = 4096
	noiseEvery  = 4 // operations between two writes that nobody syncs
	headerBytes = 16
)

// content is n bytes that tell which operation wrote them.
func content(op uint64, n int) []byte {
	b := make([]byte, n)
	binary.LittleEndian.PutUint64(b, op)
	for i := headerBytes; i < n; i++ {
		b[i] = byte(uint64(i)*7 + op*13)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[headerBytes:]))
	return b
}

// wrote is the operation that wrote b whole, or 0.
func wrote(b []byte) uint64 {
	if len(b) < headerBytes || crc32.ChecksumIEEE(b[headerBytes:]) != binary.LittleEndian.Uint32(b[8:]) {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// kindOf is what operation op does.
func kindOf(op uint64) string {
	switch op % 3 {
	case 0:
		return "append"
	case 1:
		return "replace"
	}
	return "overwrite"
}

func (f *files) name(op uint64) string {
	return filepath.Join(f.dir, fmt.Sprintf("file%d", op/3%replaced))
}

// sizeOf is how much a replaced file has: from less than a block to several.
func sizeOf(op uint64) int { return 100 + int(op*2654435761%20000) }

func (f *files) prepare(mount string) error {
	f.dir = filepath.Join(mount, "work")
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	first := bytes.Repeat(content(0, blockSize), blocks)
	err := errors.Join(synced(filepath.Join(f.dir, "blocks"), os.O_CREATE|os.O_WRONLY, 0, first),
		synced(filepath.Join(f.dir, "log"), os.O_CREATE|os.O_WRONLY, 0, nil))
	return errors.Join(err, syncDir(f.dir), syncDir(mount))
}

func (f *files) run(mount string) error {
	f.dir = filepath.Join(mount, "work")
	for op := uint64(1); !f.stop.Load(); op++ {
		if op%noiseEvery == 0 {
			noise := filepath.Join(f.dir, fmt.Sprintf("noise%d", op/noiseEvery%8))
			if err := os.WriteFile(noise, content(op, 8192), 0o644); err != nil {
				return err
			}
		}
		if err := f.operate(op); err != nil {
			return fmt.Errorf("operation %d: %w", op, err)
		}
		f.acked.Store(op)
	}
	return nil
}

func (f *files) operate(op uint64) error {
	switch kindOf(op) {
	case "append":
		return synced(filepath.Join(f.dir, "log"), os.O_WRONLY|os.O_APPEND, -1, content(op, recordSize))
	case "overwrite":
		return synced(filepath.Join(f.dir, "blocks"), os.O_WRONLY, 0, bytes.Repeat(content(op, blockSize), blocks))
	}
	fresh := filepath.Join(f.dir, "fresh")
	if err := synced(fresh, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0, content(op, sizeOf(op))); err != nil {
		return err
	}
	return errors.Join(os.Rename(fresh, f.name(op)), syncDir(f.dir))
}

// synced writes data at an offset, or at the end if that is below 0, and syncs.
func synced(name string, flags int, at int64, data []byte) error {
	file, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return err
	}
	if at < 0 {
		_, err = file.Write(data)
	} else {
		_, err = file.WriteAt(data, at)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// An operation later than acked+1 had not begun, so that its traces are wrong
// too.
func (f *files) lost(mount string, acked uint64) (n int, why string) {
	dir := filepath.Join(mount, "work")
	say := func(format string, args ...any) {
		if n++; why == "" {
			why = fmt.Sprintf(format, args...)
		}
	}
	last := map[string]uint64{} // acknowledged, by name
	var records []uint64
	for op := uint64(1); op <= acked; op++ {
		switch kindOf(op) {
		case "replace":
			last[filepath.Base(f.name(op))] = op
		case "append":
			records = append(records, op)
		}
	}
	for i := range replaced {
		name := fmt.Sprintf("file%d", i)
		want := last[name]
		b, err := os.ReadFile(filepath.Join(dir, name))
		got := wrote(b)
		if want == 0 && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil || got < want || got == 0 || got > acked+1 || len(b) != sizeOf(got) {
			say("%s: operation %d was acknowledged, there are %d bytes of operation %d: %v", name, want, len(b), got, err)
		}
	}
	f.lostRecords(dir, records, acked, say)
	f.lostBlocks(dir, acked, say)
	return n, why
}

func (f *files) lostRecords(dir string, want []uint64, acked uint64, say func(string, ...any)) {
	b, err := os.ReadFile(filepath.Join(dir, "log"))
	for i, op := range want {
		if err != nil || len(b) < (i+1)*recordSize || wrote(b[i*recordSize:(i+1)*recordSize]) != op {
			say("log: record %d, of operation %d, is not there; %d bytes are: %v", i, op, len(b), err)
		}
	}
	if extra := len(b) - len(want)*recordSize; extra > recordSize {
		say("log: %d bytes after the %d operations that had begun by %d", extra, len(want), acked)
	}
}

func (f *files) lostBlocks(dir string, acked uint64, say func(string, ...any)) {
	var want uint64
	for op := uint64(1); op <= acked; op++ {
		if kindOf(op) == "overwrite" {
			want = op
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "blocks"))
	if err != nil || len(b) != blocks*blockSize {
		say("blocks: %d bytes: %v", len(b), err)
		return
	}
	for i := range blocks {
		block := b[i*blockSize : (i+1)*blockSize]
		got := wrote(block)
		torn := got == 0 && !bytes.Equal(block, content(0, blockSize))
		if got < want || got > acked+1 || torn {
			say("blocks: block %d is of operation %d (torn: %v), operation %d was acknowledged", i, got, torn, want)
			return // they are one operation
		}
	}
}
