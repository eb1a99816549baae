package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"nbdbench/devices"
	"nbdbench/nbd/kernel"
)

// The format of dm-log-writes (drivers/md/dm-log-writes.c,
// Documentation/admin-guide/device-mapper/log-writes.rst), little endian.
const (
	logWritesMagic = 0x6a736677736872

	entryFlush   = 1 << 0
	entryFUA     = 1 << 1
	entryDiscard = 1 << 2
	entryMark    = 1 << 3
)

// logged is what a log of dm-log-writes has.
type logged struct {
	bytes                 int // of the log
	writes, flushes, fuas int
	marks                 []string
}

// readLogWrites reads the log from its device.
func readLogWrites(b []byte) (l logged, err error) {
	le := binary.LittleEndian
	if got := le.Uint64(b); got != logWritesMagic {
		return l, fmt.Errorf("magic %#x", got)
	}
	entries, sector := le.Uint64(b[16:]), int(le.Uint32(b[24:]))
	at := sector
	for range entries {
		e := b[at:]
		sectors, flags, data := int(le.Uint64(e[8:])), le.Uint64(e[16:]), int(le.Uint64(e[24:]))
		at += sector
		if flags&entryMark != 0 {
			l.marks = append(l.marks, string(bytes.TrimRight(e[32:32+data], "\x00")))
		}
		carriesData := sectors > 0 && flags&(entryMark|entryDiscard) == 0
		if carriesData {
			at += sectors * sector
			l.writes++
		}
		if flags&entryFlush != 0 {
			l.flushes++
		}
		if flags&entryFUA != 0 && carriesData { // a flush carries the flag of the write it belongs to
			l.fuas++
		}
	}
	l.bytes = at
	return l, nil
}

func TestGuestDMLogWritesRecordsWhatTheServerSees(t *testing.T) {
	guestOnly(t)
	loadModules(t, "dm_log_writes")
	const size = 8 << 20
	target := serve(t, export{size: size, strategy: "native"})
	store := serve(t, export{device: "ram", size: 32 << 20, strategy: "pass"})
	a, b := target.attach(kernel.Config{}), store.attach(kernel.Config{})
	sh(t, "dmsetup", "create", "logged", "--noudevsync", "--noudevrules", "--table",
		fmt.Sprintf("0 %d log-writes %s %s", size/512, a.Path, b.Path))
	mark := func(name string) { sh(t, "dmsetup", "message", "logged", "0", "mark", name) }
	const device = "/dev/dm-0" // there is no udev that would name it
	ext4 := fileSystems[0]
	counts := target.during(func() {
		sh(t, append(ext4.make, device)...)
		mark("mkfs")
		err := ext4.mount(t, device, func(dir string) {
			for i := range 3 {
				if err := synced(filepath.Join(dir, fmt.Sprintf("file%d", i)), os.O_CREATE|os.O_WRONLY, 0, content(uint64(i+1), 5000)); err != nil {
					t.Fatal(err)
				}
				mark(fmt.Sprintf("fsync-%d", i))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		sh(t, "dmsetup", "remove", "--noudevsync", "--noudevrules", "logged")
	})
	raw := make([]byte, 32<<20)
	c := openDisk(t, b.Path)
	for at := uint64(0); at < uint64(len(raw)); at += 1 << 20 {
		c.must(&devices.Request{Op: devices.OpRead, Offset: at, Length: 1 << 20, Payload: devices.Payload{Bytes: raw[at : at+1<<20]}})
	}
	c.close()
	l, err := readLogWrites(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v; the server saw %s", l, sent(counts))
	if len(l.marks) != 5 || l.marks[0] != "mkfs" || uint64(l.fuas) != counts.WriteFUA || uint64(l.flushes) != counts.Flush {
		t.Errorf("the log has %+v, the server saw %s", l, sent(counts))
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(raw[:l.bytes])
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	handFile("dm-log-writes-ext4.log.gz", packed.Bytes())
}
