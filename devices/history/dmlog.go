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
	"nbdbench/devices/drive"
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
	// dmPending is how much waits for a FLUSH at most, in bytes of the log; what is
	// beyond is written as if one had come.
	dmPending = 256 << 20
	// dmUnknown bounds the ranges of failed writes that wait for the end of the
	// log, or a power cut, to determine their result.
	dmUnknown = 1 << 20
)

// The marks that a log of ours has. What is between a power cut's two marks is
// what it left.
const (
	dmCutMark  = "power lost"
	dmLeftMark = "power cut"
	dmEndMark  = "dm-log-writes-end"
)

// DMWriter writes what is done to a device in the kernel's format: a write is
// kept when it is done, a FLUSH emits what was done before it was sent, and FUA
// emits itself. Where the kernel lets FUA overtake an older write of the same
// sectors, which a replay then brings back, here what is older goes first.
//
// The format knows only whole sectors. Of one that a command covers in part, the
// entry has the rest as the device would answer a READ.
type DMWriter struct {
	w       LogFile
	buf     *bufio.Writer
	newest  func(off uint64, b []byte)
	sync    func() error
	entries uint64
	queue   dmQueue
	flushes map[*devices.Request]uint64 // in progress, with what was done before
	open    map[*devices.Request]bool   // writes in progress
	unknown map[dmRange]bool            // of which writes failed
	err     error
}

// LogFile is what a log is written to: entries one after the other, and their
// number at the beginning.
type LogFile interface {
	io.Writer
	io.WriterAt
}

// dmRange is a range of sectors.
type dmRange struct{ first, end uint64 }

// NewDMWriter begins a log. newest reads what a READ would answer at the moment;
// it is nil where there is no data and only whole sectors are written.
func NewDMWriter(w LogFile, newest func(off uint64, b []byte)) *DMWriter {
	if newest == nil {
		newest = func(_ uint64, b []byte) { clear(b) }
	}
	d := &DMWriter{
		w: w, buf: bufio.NewWriterSize(w, 1<<20), newest: newest, queue: newDMQueue(),
		flushes: map[*devices.Request]uint64{}, open: map[*devices.Request]bool{}, unknown: map[dmRange]bool{},
	}
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

// SyncWith has each promise wait for sync, which makes durable what the file was
// given.
func (d *DMWriter) SyncWith(sync func() error) { d.sync = sync }

// Err is the first error of the file. Nothing was written since.
func (d *DMWriter) Err() error { return d.err }

// Begin notes that r is sent.
func (d *DMWriter) Begin(r *devices.Request) {
	switch {
	case r.Op == devices.OpFlush:
		d.flushes[r] = d.queue.last
	case r.Op.Modifies():
		d.open[r] = true
	}
}

// End notes that r is done. data is what it wrote, where it has bytes.
func (d *DMWriter) End(r *devices.Request, data []byte) {
	delete(d.open, r)
	switch {
	case r.Op == devices.OpFlush:
		before := d.flushes[r]
		delete(d.flushes, r)
		if r.Errno == devices.OK { // else it has promised nothing
			d.emitUntil(before)
			d.emit(&dmEntry{flags: dmFlush})
		}
	case !r.Op.Modifies():
	case r.Errno != devices.OK:
		d.failed(r)
	case r.Flags&devices.FUA != 0:
		d.durable(d.entriesOf(r, data))
	default:
		d.keep(d.entriesOf(r, data))
	}
}

// failed notes a write of which some may have reached the device.
func (d *DMWriter) failed(r *devices.Request) {
	first, end := sectors(r.Offset, r.Length)
	if d.unknown[dmRange{first, end}] = true; len(d.unknown) > dmUnknown && d.err == nil {
		d.err = fmt.Errorf("dm-log-writes: more than %d failed writes, of which nobody knows what they left", dmUnknown)
	}
}

// durable emits a FUA command, after what is older of the same sectors.
func (d *DMWriter) durable(entries []dmEntry) {
	for i := range entries {
		d.emitUntil(d.queue.latest(entries[i].sector, entries[i].sector+entries[i].n))
	}
	for i := range entries {
		entries[i].flags |= dmFUA
		d.emit(&entries[i])
	}
}

// keep has a command wait for a FLUSH.
func (d *DMWriter) keep(entries []dmEntry) {
	for i := range entries {
		if d.queue.push(entries[i]); d.queue.full() {
			d.emitUntil(d.queue.last)
		}
	}
}

// emitUntil emits what waits, up to entry number last of all that ever waited.
func (d *DMWriter) emitUntil(last uint64) {
	for e := d.queue.pop(last); e != nil; e = d.queue.pop(last) {
		d.emit(e)
		e.data = nil
	}
}

// entriesOf are a command's entries: zeros are written as such, since a reader
// may skip a discard.
func (d *DMWriter) entriesOf(r *devices.Request, data []byte) (out []dmEntry) {
	first, end := sectors(r.Offset, r.Length)
	if r.Op == devices.OpWrite {
		return []dmEntry{{first, end - first, 0, d.whole(r, first, end, data)}}
	}
	piece, flags := uint64(dmZeroes/devices.Sector), uint64(0)
	if r.Op == devices.OpTrim {
		piece, flags = dmLongest/devices.Sector, dmDiscard
	}
	if r.Offset%devices.Sector != 0 {
		out = append(out, dmEntry{first, 1, 0, d.whole(r, first, first+1, nil)})
		first++
	}
	tail := r.End()%devices.Sector != 0 && first < end
	if tail {
		end--
	}
	for at := first; at < end; at += piece {
		out = append(out, dmEntry{at, min(piece, end-at), flags, nil})
	}
	if tail {
		out = append(out, dmEntry{end, 1, 0, d.whole(r, end, end+1, nil)})
	}
	return out
}

// whole is what sectors hold after r: its data, or zeros, and around them what a
// READ would answer.
func (d *DMWriter) whole(r *devices.Request, first, end uint64, data []byte) []byte {
	b := make([]byte, (end-first)*devices.Sector)
	from, to := first*devices.Sector, end*devices.Sector
	if from < r.Offset {
		d.newest(from, b[:devices.Sector])
	}
	if to > r.End() {
		d.newest(to-devices.Sector, b[len(b)-devices.Sector:])
	}
	a, z := max(from, r.Offset), min(to, r.End())
	if data == nil {
		clear(b[a-from : z-from])
	} else {
		copy(b[a-from:z-from], data[a-r.Offset:])
	}
	return b
}

func (d *DMWriter) emit(e *dmEntry) {
	d.entries++
	d.header(e, "")
	switch {
	case e.flags&dmDiscard != 0:
	case e.data != nil:
		d.write(e.data)
	default:
		for n := e.n * devices.Sector; n > 0; {
			k := min(n, uint64(len(dmNothing)))
			d.write(dmNothing[:k])
			n -= k
		}
	}
}

// dmNothing is what zeros are written with, piece by piece.
var dmNothing [64 << 10]byte

func (d *DMWriter) mark(text string) {
	d.entries++
	d.header(&dmEntry{flags: dmMark}, text)
}

func (d *DMWriter) header(e *dmEntry, text string) {
	var b [devices.Sector]byte
	for i, v := range []uint64{e.sector, e.n, e.flags, uint64(len(text))} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	copy(b[dmHeader:], text)
	d.write(b[:])
}

// Left is a device after a power cut, or after an orderly end. The zero value is
// one of which the content is not known.
type Left struct {
	Media drive.Media
	Size  uint64
	// Exposed visits the ranges, in bytes, of which the newest version may be lost.
	// nil is none.
	Exposed func(visit func(off, end uint64))
}

// Cut notes a power cut: first all that was done, then the mark that the power is
// lost, then what the medium has of all that was not durable, and a mark that this
// was all. Replayed to there the log is the image.
func (d *DMWriter) Cut(left Left) {
	exposed := d.undecided()
	for i := d.queue.head; i < len(d.queue.entries); i++ {
		e := &d.queue.entries[i]
		exposed = append(exposed, dmRange{e.sector, e.sector + e.n})
	}
	if left.Exposed != nil {
		left.Exposed(func(off, end uint64) {
			first, last := sectors(off, end-off)
			exposed = append(exposed, dmRange{first, last})
		})
	}
	d.emitUntil(d.queue.last)
	d.mark(dmCutMark)
	d.emitMedium(left, exposed)
	d.mark(dmLeftMark)
	clear(d.flushes)
	d.forget()
}

// undecided are the ranges of writes that have failed or are in progress.
func (d *DMWriter) undecided() (out []dmRange) {
	for r := range d.unknown {
		out = append(out, r)
	}
	for r := range d.open {
		first, end := sectors(r.Offset, r.Length)
		out = append(out, dmRange{first, end})
	}
	return out
}

// forget drops the writes of which it is known what they left.
func (d *DMWriter) forget() {
	clear(d.unknown)
	clear(d.open)
}

// emitMedium emits what the medium has in these ranges.
func (d *DMWriter) emitMedium(left Left, ranges []dmRange) {
	if left.Media == nil {
		return
	}
	slices.SortFunc(ranges, func(a, b dmRange) int { return cmp.Compare(a.first, b.first) })
	done := uint64(0)
	for _, r := range ranges {
		for at := max(done, r.first); at < r.end; {
			at += d.piece(left, at, r.end)
		}
		done = max(done, r.end)
	}
}

// piece emits what the medium has from sector at on: a long hole as a discard, so
// that a log has no more zeros than its device; it returns how many sectors.
func (d *DMWriter) piece(left Left, at, end uint64) uint64 {
	off := at * devices.Sector
	n := min(end*devices.Sector, left.Size) - off
	run, f := drive.StatusOf(left.Media, off, n)
	if whole := min(run, dmLongest) / devices.Sector; f&devices.StatusZero != 0 && run >= dmZeroes {
		d.emit(&dmEntry{at, whole, dmDiscard, nil})
		return whole
	}
	n = min(n, dmZeroes)
	e := dmEntry{at, (n + devices.Sector - 1) / devices.Sector, 0, nil}
	e.data = make([]byte, e.n*devices.Sector)
	left.Media.Read(off, n, &devices.Payload{Bytes: e.data[:n]})
	d.emit(&e)
	return e.n
}

// Commit writes what was emitted to the file and then how many entries that is, as
// the kernel does when something is promised: a kill leaves a log of all entries
// up to the last commit.
func (d *DMWriter) Commit() error {
	if d.err == nil {
		d.err = d.buf.Flush()
	}
	if first := d.super(); d.err == nil {
		_, d.err = d.w.WriteAt(first[:], 0)
	}
	if d.err == nil && d.sync != nil {
		d.err = d.sync()
	}
	return d.err
}

// Close writes the rest and how many entries there are. left is the device after an
// orderly end, which has all that was acknowledged.
func (d *DMWriter) Close(left Left) error {
	d.emitUntil(d.queue.last)
	d.emitMedium(left, d.undecided())
	d.forget()
	d.mark(dmEndMark)
	return d.Commit()
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

// ReadDM reads a log of dm-log-writes as a history. What it does not contain is made
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

// DMData is where a log of dm-log-writes has the data of a write, in bytes: Length of
// them, from Data in the file on, for Offset of the device. Data is 0 for a discard.
type DMData struct{ Offset, Length, Data int64 }

// ReadDMData returns where the log has the data of each write: by the stamps that ReadDM
// gives. There is none of stamp 0.
func ReadDMData(r io.Reader) ([]DMData, error) {
	d := &dmReader{r: bufio.NewReaderSize(r, 1<<20), data: make([]DMData, 1)}
	err := d.read()
	if err != nil && (!errors.Is(err, errTorn) || d.entry == 0) {
		return nil, &DMError{d.entry, d.offset, err}
	}
	return d.data[:min(len(d.data), int(d.stamp)+1)], nil
}

type dmReader struct {
	data   []DMData // nil if nobody asks
	r      *bufio.Reader
	sector uint64
	entry  uint64
	offset int64
	log    Log
	stamp  devices.Stamp
	left   bool // what follows is what a power cut has left
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
	if flags&dmMark == 0 {
		text = 0
	}
	begin := d.offset - dmHeader + int64(d.sector)
	mark := make([]byte, text)
	if err := d.full(mark); err != nil {
		return err
	}
	if err := d.skip(d.sector - dmHeader - text + data); err != nil {
		return err
	}
	if flags&dmMark != 0 {
		d.marked(string(mark))
	} else if !d.left {
		if d.data != nil && n > 0 {
			at := DMData{int64(sector * d.sector), int64(n * d.sector), begin}
			if data == 0 {
				at.Data = 0
			}
			d.data = append(d.data, at)
		}
		d.addWrite(sector, n, flags)
	}
	return nil
}

// marked adds a power cut to the history. Older logs have only the second mark.
func (d *dmReader) marked(text string) {
	switch {
	case text == dmCutMark, text == dmLeftMark && !d.left:
		seq := uint64(len(d.log.Events)) + 1
		d.log.Events = append(d.log.Events, Event{Kind: PowerCut, Seq: seq, Time: sim.Time(1000 * seq)})
	}
	d.left = text == dmCutMark
}

// addWrite adds an entry to the history.
func (d *dmReader) addWrite(sector, n, flags uint64) {
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
