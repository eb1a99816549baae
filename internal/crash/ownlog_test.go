package crash

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/history"
)

// kernelLog is a log of dm-log-writes as a kernel writes it.
type kernelLog struct {
	body    bytes.Buffer
	entries uint64
}

const (
	logFlush, logFUA, logMark = 1, 2, 8
	logBlock                  = 4096
)

func (k *kernelLog) entry(block uint64, flags uint64, fill byte, blocks int) {
	k.entries++
	var b [devices.Sector]byte
	for i, v := range []uint64{block * logBlock / devices.Sector, uint64(blocks) * logBlock / devices.Sector, flags, 0} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	k.body.Write(b[:])
	k.body.Write(bytes.Repeat([]byte{fill}, blocks*logBlock))
}

func (k *kernelLog) mark(text string) {
	k.entries++
	var b [devices.Sector]byte
	binary.LittleEndian.PutUint64(b[16:], logMark)
	binary.LittleEndian.PutUint64(b[24:], uint64(len(text)))
	copy(b[32:], text)
	k.body.Write(b[:])
}

func (k *kernelLog) file(t *testing.T) string {
	t.Helper()
	first := make([]byte, devices.Sector)
	binary.LittleEndian.PutUint64(first, 0x6a736677736872)
	binary.LittleEndian.PutUint64(first[8:], 1)
	binary.LittleEndian.PutUint64(first[16:], k.entries)
	binary.LittleEndian.PutUint32(first[24:], devices.Sector)
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, append(first, k.body.Bytes()...), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// recordBlock has the number of the latest transaction, dataBlock+n the data of number n.
const recordBlock, dataBlock = 0, 8

// journalLog has transactions: data, and then a record with FUA. flush is when a FLUSH is
// between them.
func journalLog(transactions int, flush func(n int) bool) *kernelLog {
	k := &kernelLog{}
	for n := 1; n <= transactions; n++ {
		k.entry(uint64(dataBlock+n), 0, byte(n), 1)
		if flush(n) {
			k.entry(0, logFlush, 0, 0)
		}
		k.entry(recordBlock, logFUA, byte(n), 1)
	}
	return k
}

// journalCheck is what recovery looks for: the data of all records up to the latest.
func journalCheck(t *testing.T, seen *int) func(path string) (int, string, error) {
	return func(path string) (int, string, error) {
		*seen++
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= int(b[recordBlock]); n++ {
			if at := (dataBlock + n) * logBlock; at >= len(b) || b[at] != byte(n) {
				return 2, "data of a record is missing", nil
			}
		}
		return 0, "", nil
	}
}

func TestALogIsJudgedByItsOwnFlushes(t *testing.T) {
	always, never := func(int) bool { return true }, func(int) bool { return false }
	withCut := journalLog(3, always)
	withCut.entry(dataBlock+4, 0, 4, 1) // without a FLUSH: lost or not
	withCut.mark("power lost")
	withCut.mark("power cut")
	withCut.entry(recordBlock, logFUA, 3, 1)
	preflush := &kernelLog{} // a record that has FLUSH itself
	preflush.entry(dataBlock+1, 0, 1, 1)
	preflush.entry(recordBlock, logFlush|logFUA, 1, 1)
	for _, c := range []struct {
		name   string
		log    *kernelLog
		broken bool
		marks  uint64
	}{
		{"a FLUSH before each record", journalLog(8, always), false, 0},
		{"no FLUSH", journalLog(8, never), true, 0},
		{"one FLUSH forgotten", journalLog(8, func(n int) bool { return n != 5 }), true, 0},
		{"the record has PREFLUSH", preflush, false, 0},
		{"a power cut between data and record", withCut, false, 1},
	} {
		path := c.log.file(t)
		d, err := JudgeLog(LogConfig{History: path, Invariant: "commit-record", Cuts: 1, Seed: 1}, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if r := d.Cells[0]; d.Broken() != c.broken || d.Coverage != "exhaustive" || r.Cuts == 0 || r.PowerCuts != c.marks || r.InvariantBroken > 0 != c.broken {
			t.Errorf("%s: broken %v, %+v", c.name, d.Broken(), r)
		}
		if c.marks > 0 {
			continue
		}
		seen, images := 0, t.TempDir()
		d, err = JudgeLog(LogConfig{History: path, Check: "x", Images: images, Cuts: 64, Seed: 1}, journalCheck(t, &seen))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		left, _ := os.ReadDir(images)
		if d.Broken() != c.broken || seen == 0 || d.Images != uint64(seen) || d.Coverage != "sampled" || len(left) > 0 != c.broken {
			t.Errorf("%s: check: broken %v, %d images seen, %d left, %+v", c.name, d.Broken(), seen, len(left), d.Cells[0])
		}
	}
}

// What was not judged is called neither kept nor exhaustive.
func TestALogThatNobodyJudgesIsNotKept(t *testing.T) {
	d, err := JudgeLog(LogConfig{History: journalLog(4, func(int) bool { return false }).file(t), Cuts: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := d.WriteText(&b, 120); err != nil {
		t.Fatal(err)
	}
	if out := b.String(); !strings.Contains(out, "not judged") || strings.Contains(out, "kept") || strings.Contains(out, "exhaustive") {
		t.Errorf("got\n%s", out)
	}
}

// A log of ours knows no data, and says so.
func TestACheckNeedsALogWithData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(history.Version+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := JudgeLog(LogConfig{History: path, Check: "x", Images: t.TempDir(), Cuts: 1}, nil)
	if err == nil || !strings.Contains(err.Error(), "dm-log-writes") {
		t.Errorf("got %v", err)
	}
}
