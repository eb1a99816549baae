// Package image keeps what is durable in a file, so that it outlives the
// process.
//
// A Media here is a sparse file of the device's size, byte for byte: what is
// durable is in it and nothing else, so qemu-img, losetup and fsck can look at
// it while nobody serves it. A write is in the host's page cache before Write
// returns, and so before the device replies: kill -9 of the process loses
// nothing that was promised. The host's own loss of power does, unless the media
// is opened with Sync, which waits for fdatasync each time.
//
// BLOCK_STATUS is answered from the file's own holes, as the host's file system
// reports them (SEEK_DATA, SEEK_HOLE). TRIM and WRITE_ZEROES make holes, but for
// NO_HOLE zeros are written, because space that is only reserved looks like one.
//
// In real time the writes are an ordered worker's, see StartWorker: then Write returns
// before the file has the data, READs find it nevertheless, and who replies waits for
// Barrier. Sync is one fdatasync for each Barrier then.
//
// One process has a file at a time; a second one is refused.
package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"nbdbench/devices"
	"nbdbench/devices/drive"
	"nbdbench/internal/host"
	"nbdbench/internal/ordered"
)

// MaxClone bounds how much data a copy may have: it is kept in memory.
const MaxClone = 4 << 30

// Options say how a file is opened.
type Options struct {
	Size uint64 // of the device, in bytes; a file that exists must have it
	Sync bool   // wait until each write is on the host's disk
	// Datasync is fdatasync; nil is the host's.
	Datasync func(*os.File) error
}

// Media is a file as a drive.Media of bytes. After an error of the host it may
// lack what was written: see Err, and Lost for what can still be read.
type Media struct {
	file *os.File
	opt  Options
	made bool // the file was not there before
	err  error
	lost []span // which the host failed to write or to read

	worker *ordered.Worker // in real time
}

// span is a range of bytes.
type span struct{ off, end uint64 }

// maxLost bounds the ranges that are known to be lost. What comes then counts with
// the last one, and with all that is between.
const maxLost = 4096

// Open opens an image, or makes an empty one. If that fails there is none.
func Open(path string, o Options) (*Media, error) {
	if o.Datasync == nil {
		o.Datasync = host.Datasync
	}
	m := &Media{opt: o}
	var err error
	m.file, err = os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		m.made = true
		m.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if errors.Is(err, fs.ErrExist) { // a link to a file that does not
		m.made = false
		m.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if err := m.prepare(path); err != nil {
		return nil, errors.Join(err, m.Discard())
	}
	return m, nil
}

// Discard closes the file, and removes one that Open has made. It is for a device
// that does not come to be: nothing has been written.
func (m *Media) Discard() error {
	var err error
	if m.made {
		err = os.Remove(m.file.Name()) // nobody else has it: it is locked
	}
	return errors.Join(err, m.file.Close())
}

// prepare locks the file and gives a new one its size.
func (m *Media) prepare(path string) error {
	if err := host.Lock(m.file); err != nil {
		m.made = false // by now it is somebody else's
		return fmt.Errorf("image: %s is in use: %w", path, err)
	}
	info, err := m.file.Stat()
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("image: %s: expected a regular file, got %v", path, info.Mode().Type())
	case info.Size() == 0:
		if err := m.file.Truncate(int64(m.opt.Size)); err != nil {
			return fmt.Errorf("image: %d bytes: %w", m.opt.Size, err)
		}
	case uint64(info.Size()) != m.opt.Size:
		return fmt.Errorf("image: %s has %d bytes, expected %d, the device's size (see --size)", path, info.Size(), m.opt.Size)
	}
	return nil
}

// Close syncs and closes the file.
func (m *Media) Close() error { return errors.Join(m.err, m.file.Sync(), m.file.Close()) }

// Err is the first error of the host. What was written since may be missing.
func (m *Media) Err() error { return m.err }

// Mode is RealBytes.
func (m *Media) Mode() drive.Mode { return drive.RealBytes }

// Stamp is 0, as in all media of bytes.
func (m *Media) Stamp(uint64) devices.Stamp { return 0 }

// Write puts content into the file, or has the worker do it.
func (m *Media) Write(off, n uint64, c drive.Content) {
	switch {
	case m.worker != nil && c.Zero:
		m.worker.Zero(off, n, c.Provision)
		return
	case m.worker != nil:
		m.worker.Write(off, c.Bytes[:n])
		return
	}
	op := ordered.Op{Kind: ordered.Write, Off: off, N: n}
	switch {
	case c.Zero && c.Provision:
		op.Kind = ordered.Provision
	case c.Zero:
		op.Kind = ordered.Zero
	default:
		op.Data = c.Bytes[:n]
	}
	f := onFile{m}
	err := f.Do(&op)
	if err == nil && m.opt.Sync {
		err = f.Sync()
	}
	if err != nil {
		m.lose(off, n, err)
	}
}

// lose notes that the host has failed at a range.
func (m *Media) lose(off, n uint64, err error) {
	if m.err == nil {
		m.err = fmt.Errorf("image: %w", err)
	}
	if n == 0 { // an fdatasync
		return
	}
	if k := len(m.lost); k == maxLost {
		last := &m.lost[k-1]
		*last = span{min(last.off, off), max(last.end, off+n)}
		return
	}
	m.lost = append(m.lost, span{off, off + n})
}

// Lost reports whether the host has failed to write or to read a part of the n bytes
// from off on, so that a READ of them has no right answer.
func (m *Media) Lost(off, n uint64) bool {
	for _, s := range m.lost {
		if s.off < off+n && off < s.end {
			return true
		}
	}
	return false
}

// zeroPiece is how many zeros are written at a time where a file has no holes.
const zeroPiece = 1 << 20

// zeroPages returns zeros that begin on a page. Linux copies a write into its page
// cache up to the first page of the source that is not resident, and a kill can end
// the write there: with zeros from anywhere in memory, in the middle of a sector.
var zeroPages = sync.OnceValues(func() ([]byte, error) {
	return host.Zeros(zeroPiece)
})

func (m *Media) zero(off, n uint64) error {
	err := host.PunchHole(m.file, int64(off), int64(n))
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return m.provision(off, n)
}

// provision writes zeros: "Request types", WRITE_ZEROES with NO_HOLE. Space that is only reserved for them, as by fallocate,
// could not be distinguished from a hole later.
func (m *Media) provision(off, n uint64) error {
	zeros, err := zeroPages()
	if err != nil {
		return err
	}
	for n > 0 {
		k := min(n, zeroPiece)
		if _, err := m.file.WriteAt(zeros[:k], int64(off)); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// Read reads from the file, and on top what the worker has to write.
func (m *Media) Read(off, n uint64, p *devices.Payload) {
	if _, err := m.file.ReadAt(p.Bytes[:n], int64(off)); err != nil {
		m.lose(off, n, err)
	}
	m.overlay(off, p.Bytes[:n])
}

// statusUnit is what Status rounds to, so that no state begins within a block of
// a device: the host's blocks may be smaller.
const statusUnit = 4096

// Status asks the host's file system where the file has holes; one that cannot
// tell calls all of it data, and so does this.
func (m *Media) Status(off, n uint64) (run uint64, f devices.StatusFlags) {
	run, pending := m.pendingAt(off, n)
	if pending {
		return run, 0
	}
	return m.status(off, run)
}

// status is that of the file.
func (m *Media) status(off, n uint64) (run uint64, f devices.StatusFlags) {
	const hole = devices.StatusZero | devices.StatusHole
	data, end, err := host.Extent(m.file, int64(off))
	if errors.Is(err, io.EOF) { // nothing but a hole to the end
		return n, hole
	}
	if err != nil {
		return n, 0
	}
	if from := uint64(data) &^ (statusUnit - 1); from > off {
		return min(n, from-off), hole
	}
	return min(n, (uint64(end)+statusUnit-1)&^(statusUnit-1)-off), 0
}

// Used is how many bytes of the host's disk the file takes.
func (m *Media) Used() (uint64, error) {
	n, err := host.Used(m.file)
	if err != nil {
		return 0, fmt.Errorf("image: %w", err)
	}
	if m.worker != nil {
		n += m.worker.Bytes()
	}
	return n, nil
}

// clonePiece is how much is copied at a time.
const clonePiece = 1 << 20

// Clone returns a copy in memory, of what is not a hole. Whoever calls it has
// asked Used first; an error shows in Err.
func (m *Media) Clone() drive.Media {
	c := drive.NewMedia(drive.RealBytes)
	m.copyTo(c)
	m.replay(c)
	return c
}

// copyTo copies what the file has.
func (m *Media) copyTo(c drive.Media) {
	buffer := make([]byte, clonePiece)
	for at := int64(0); ; {
		from, to, err := host.Extent(m.file, at)
		if errors.Is(err, io.EOF) { // nothing but a hole to the end
			return
		}
		if err != nil {
			m.fail(err)
			return
		}
		for at = from; at < to; {
			k, err := m.file.ReadAt(buffer[:min(clonePiece, to-at)], at)
			if err != nil && !errors.Is(err, io.EOF) || k == 0 {
				m.fail(err)
				return
			}
			c.Write(uint64(at), uint64(k), drive.Content{Bytes: buffer[:k]})
			at += int64(k)
		}
	}
}

func (m *Media) fail(err error) {
	if m.err == nil {
		m.err = fmt.Errorf("image: copying: %w", err)
	}
}
