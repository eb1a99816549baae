package history

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"nbdbench/devices"
	"nbdbench/sim"
)

// The format of the kernel's dm-log-writes (drivers/md/dm-log-writes.c), all
// little-endian and in sectors of the size that the first one says: that one
// has magic, version, number of entries and sector size; each entry is a sector
// with sector, number, flags and length of data, followed by the data, unless
// it is a discard.
const (
	dmMagic   = 0x6a736677736872
	dmVersion = 1
	dmHeader  = 32 // bytes of an entry's fields; a mark's text follows

	dmFlush   = 1
	dmFUA     = 2
	dmDiscard = 4
	dmMark    = 8

	// dmLongest is the longest discard that its reader replays without the help
	// of the device.
	dmLongest = 128 << 20
	// dmZeroes is how many zeros one entry has.
	dmZeroes = 1 << 20
	// dmMaxSector bounds the sector size, dmMaxEntries the entries of a log that
	// is read.
	dmMaxSector  = 64 << 10
	dmMaxEntries = 1 << 24
	// dmPending is how much data waits for a FLUSH at most; what is beyond is
	// written as if one had come.
	dmPending = 256 << 20
)

// DMWriter writes what is done to a device in the kernel's format, in the order
// in which the kernel would: a write is kept when it is done, a FLUSH emits what
// was done before it was sent, and FUA emits itself alone.
type DMWriter struct {
	w       LogFile
	buf     *bufio.Writer
	entries uint64
	pending []dmEntry
	kept    uint64 // bytes of pending
	stolen  map[*devices.Request][]dmEntry
	open    map[*devices.Request]bool // writes in progress
	err     error
}

// LogFile is what a log is written to: entries one after the other, and their
// number at the beginning.
type LogFile interface {
	io.Writer
	io.WriterAt
}

// dmEntry is an entry that waits for a FLUSH.
type dmEntry struct {
	sector, n, flags uint64
	data             []byte // nil is zeros, or none for a discard
}

// NewDMWriter begins a log.
func NewDMWriter(w LogFile) *DMWriter {
	d := &DMWriter{w: w, buf: bufio.NewWriterSize(w, 1<<20), stolen: map[*devices.Request][]dmEntry{}, open: map[*devices.Request]bool{}}
	first := d.super()
	d.write(first[:])
	return d
}

// super is the first sector.
func (d *DMWriter) super() (b [devices.Sector]byte) {
	binary.LittleEndian.PutUint64(b[0:], dmMagic)
	binary.LittleEndian.PutUint64(b[8:], dmVersion)
	binary.LittleEndian.PutUint64(b[16:], d.entries)
	binary.LittleEndian.PutUint32(b[24:], devices.Sector)
	return b
}

func (d *DMWriter) write(b []byte) {
	if d.err == nil {
		_, d.err = d.buf.Write(b)
	}
}

// Begin takes down that r is sent.
func (d *DMWriter) Begin(r *devices.Request) {
	switch {
	case r.Op == devices.OpFlush:
		d.stolen[r] = d.pending
		d.pending, d.kept = nil, 0
	case r.Op.Modifies():
		d.open[r] = true
	}
}

// End takes down that r is done. data is what it wrote, where it has bytes.
func (d *DMWriter) End(r *devices.Request, data []byte) {
	delete(d.open, r)
	if r.Op == devices.OpFlush {
		before := d.stolen[r]
		delete(d.stolen, r)
		if r.Errno != devices.OK { // it has promised nothing
			d.pending = append(before, d.pending...)
			for i := range before {
				d.kept += uint64(len(before[i].data))
			}
			return
		}
		d.emitAll(before)
		d.emit(dmEntry{flags: dmFlush})
		return
	}
	if !r.Op.Modifies() || r.Errno != devices.OK {
		return
	}
	entries := entriesOf(r, data)
	if r.Flags&devices.FUA == 0 {
		d.pending = append(d.pending, entries...)
		if d.kept += uint64(len(data)); d.kept > dmPending {
			d.emitAll(d.pending)
			d.pending, d.kept = nil, 0
		}
		return
	}
	for i := range entries {
		entries[i].flags |= dmFUA
	}
	d.emitAll(entries)
}

// entriesOf are a command's entries: zeros are written as such, since a reader
// may skip a discard.
func entriesOf(r *devices.Request, data []byte) (out []dmEntry) {
	at, end := r.Offset/devices.Sector, (r.End()+devices.Sector-1)/devices.Sector
	piece, flags := uint64(dmZeroes/devices.Sector), uint64(0)
	switch r.Op {
	case devices.OpWrite:
		return []dmEntry{{at, end - at, 0, append([]byte{}, data...)}}
	case devices.OpTrim:
		piece, flags = dmLongest/devices.Sector, dmDiscard
	}
	for ; at < end; at += piece {
		out = append(out, dmEntry{at, min(piece, end-at), flags, nil})
	}
	return out
}

func (d *DMWriter) emitAll(entries []dmEntry) {
	for i := range entries {
		d.emit(entries[i])
	}
}

func (d *DMWriter) emit(e dmEntry) {
	d.entries++
	d.header(e, "")
	switch {
	case e.flags&dmDiscard != 0:
	case e.data != nil:
		d.write(e.data)
		d.write(make([]byte, e.n*devices.Sector-uint64(len(e.data))))
	default:
		d.write(make([]byte, e.n*devices.Sector))
	}
}

func (d *DMWriter) header(e dmEntry, text string) {
	var b [devices.Sector]byte
	for i, v := range []uint64{e.sector, e.n, e.flags, uint64(len(text))} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	copy(b[dmHeader:], text)
	d.write(b[:])
}

// Cut takes down a power cut, after which the medium has what read says. What was
// done and not promised is told as what became of it, and so is what was in
// progress, of which no End is heard. Of a discard nothing is told: what it covers
// is undefined until it is promised.
func (d *DMWriter) Cut(read func(off uint64, b []byte)) {
	left := d.pending
	for _, entries := range d.stolen {
		left = append(left, entries...)
	}
	for r := range d.open {
		left = append(left, entriesOf(r, nil)...)
	}
	clear(d.stolen)
	clear(d.open)
	d.pending, d.kept = nil, 0
	slices.SortFunc(left, func(a, b dmEntry) int {
		return cmp.Or(cmp.Compare(a.sector, b.sector), cmp.Compare(a.n, b.n))
	})
	for _, e := range left {
		if e.flags&dmDiscard != 0 {
			continue
		}
		e.data = make([]byte, e.n*devices.Sector)
		read(e.sector*devices.Sector, e.data)
		d.emit(e)
	}
	d.entries++
	d.header(dmEntry{flags: dmMark}, "power cut")
	d.Commit()
}

// Commit writes what was emitted to the file and then how many entries that is, as
// the kernel does when something is promised: a kill leaves a log of all entries
// up to the last commit.
func (d *DMWriter) Commit() {
	if d.err == nil {
		d.err = d.buf.Flush()
	}
	if first := d.super(); d.err == nil {
		_, d.err = d.w.WriteAt(first[:], 0)
	}
}

// Close writes the rest and how many entries there are.
func (d *DMWriter) Close() error {
	d.emitAll(d.pending)
	d.pending = nil
	d.entries++
	d.header(dmEntry{flags: dmMark}, "dm-log-writes-end")
	d.Commit()
	return d.err
}

// DMError is what is wrong with a log of dm-log-writes, and where.
type DMError struct {
	Entry  uint64 // from 1; 0 is the first sector
	Offset int64  // in the file
	Err    error
}

func (e *DMError) Error() string {
	return fmt.Sprintf("dm-log-writes: entry %d, byte %d: %v", e.Entry, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *DMError) Unwrap() error { return e.Err }

// ReadDM reads a log of dm-log-writes as a history. What it does not tell is made
// up: each request is sent 1 µs after the reply of the one before it, which came
// 1 µs after it was sent. A FLUSH with data becomes a FLUSH and a write. Of a file
// that ends within an entry it is the entries before, see Log.Torn.
func ReadDM(r io.Reader) (*Log, error) {
	d := &dmReader{r: bufio.NewReaderSize(r, 1<<20)}
	err := d.read()
	if err != nil {
		err = &DMError{d.entry, d.offset, err}
	}
	if errors.Is(err, errTorn) && d.entry > 0 {
		d.log.Torn, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	return &d.log, nil
}

type dmReader struct {
	r      *bufio.Reader
	sector uint64
	entry  uint64
	offset int64
	log    Log
	stamp  devices.Stamp
}

func (d *dmReader) read() error {
	var b [dmHeader]byte
	if err := d.full(b[:28]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(b[16:])
	d.sector = uint64(binary.LittleEndian.Uint32(b[24:]))
	switch {
	case binary.LittleEndian.Uint64(b[0:]) != dmMagic:
		return fmt.Errorf("expected the magic number %#x, got %#x", uint64(dmMagic), binary.LittleEndian.Uint64(b[0:]))
	case binary.LittleEndian.Uint64(b[8:]) != dmVersion:
		return fmt.Errorf("expected version %d, got %d", dmVersion, binary.LittleEndian.Uint64(b[8:]))
	case d.sector < devices.Sector || d.sector > dmMaxSector || d.sector&(d.sector-1) != 0:
		return fmt.Errorf("expected sectors of a power of two from 512 to 64 KiB, got %d", d.sector)
	case n > dmMaxEntries:
		return fmt.Errorf("expected at most %d entries, got %d", dmMaxEntries, n)
	}
	if err := d.skip(d.sector - 28); err != nil {
		return err
	}
	for d.entry = 1; d.entry <= n; d.entry++ {
		if err := d.one(); err != nil {
			return err
		}
	}
	return nil
}

func (d *dmReader) full(b []byte) error {
	n, err := io.ReadFull(d.r, b)
	d.offset += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the file is %w", errTorn)
	}
	return err
}

func (d *dmReader) skip(n uint64) error {
	k, err := io.CopyN(io.Discard, d.r, int64(n))
	d.offset += k
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the file is %w", errTorn)
	}
	return err
}

// one reads an entry.
func (d *dmReader) one() error {
	var b [dmHeader]byte
	if err := d.full(b[:]); err != nil {
		return err
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	sector, n, flags, text := word(0), word(1), word(2), word(3)
	const most = 1 << 54 // sectors, of any size: below 2^63 bytes where they are 512
	switch {
	case flags == 0 && n == 0:
		return errors.New("expected flags or sectors, got neither")
	case sector > most/d.sector*devices.Sector || n > most/d.sector*devices.Sector:
		return fmt.Errorf("sectors %d+%d end past 2^63", sector, n)
	case flags&dmMark != 0 && (n != 0 || text > d.sector-dmHeader):
		return fmt.Errorf("expected a mark of at most %d bytes and without sectors, got %d and %d", d.sector-dmHeader, text, n)
	}
	data := n * d.sector
	if flags&dmDiscard != 0 {
		data = 0
	}
	if err := d.skip(d.sector - dmHeader + data); err != nil {
		return err
	}
	d.tell(sector, n, flags)
	return nil
}

// tell adds an entry to the history.
func (d *dmReader) tell(sector, n, flags uint64) {
	if flags&dmMark != 0 {
		return
	}
	if flags&dmFlush != 0 {
		d.add(Event{Op: devices.OpFlush})
	}
	if n == 0 {
		return
	}
	e := Event{Op: devices.OpWrite, Offset: sector * d.sector, Length: n * d.sector}
	if flags&dmDiscard != 0 {
		e.Op = devices.OpTrim
	}
	if flags&dmFUA != 0 {
		e.Flags = devices.FUA
	}
	d.stamp++
	e.Stamp = d.stamp
	d.add(e)
}

// add adds both ends of a request.
func (d *dmReader) add(e Event) {
	seq := uint64(len(d.log.Events))
	e.Kind, e.Seq, e.Time = Submit, seq+1, sim.Time(1000*(seq+1))
	d.log.Events = append(d.log.Events, e)
	e.Kind, e.Of, e.Seq, e.Time = Done, seq+1, seq+2, sim.Time(1000*(seq+2))
	d.log.Events = append(d.log.Events, e)
}
