package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/nbd/socket"
	"nbdbench/sim"
)

// slowDisk is an fdatasync of images that waits until it is allowed to go on.
type slowDisk struct{ begun, goOn chan error }

func newSlowDisk() *slowDisk { return &slowDisk{make(chan error), make(chan error)} }

func (s *slowDisk) datasync(*os.File) error {
	s.begun <- nil
	return <-s.goOn
}

// served is a server in this process, with two exports, and how it ends.
type servedRig struct {
	t     *testing.T
	real  *sim.Real // of the clients
	uri   socket.URI
	stop  func()
	ended chan error
	talk  bytes.Buffer // once it has ended
}

func serveInProcess(t *testing.T, c Config) *servedRig {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &servedRig{t: t, stop: stop, ended: make(chan error, 1)}
	var err error
	if s.real, err = sim.NewReal(sim.NewLoop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.real.Close() })
	uris := make(chan socket.URI, 1)
	c.Ready = func(u socket.URI) { uris <- u }
	c.Listen = socket.URI{Network: "unix", Address: filepath.Join(t.TempDir(), "socket"), Export: "a"}.String()
	c.More = []NamedDevice{{Name: "b", Device: "ram"}}
	c.Strategy, c.Drain = "native", 1e15
	go func() { s.ended <- Serve(ctx, c, io.Discard, &s.talk) }()
	select {
	case s.uri = <-uris:
	case err := <-s.ended:
		t.Fatal(err)
	}
	return s
}

// connect is a new connection to an export.
func (s *servedRig) connect(export string) *socket.ClientConn {
	s.t.Helper()
	u := s.uri
	u.Export = export
	c, err := socket.Dial(s.t.Context(), u, s.real)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Abort() })
	return c
}

// notified gets a request when it is done.
type notified chan *devices.Request

func (n notified) Done(r *devices.Request) { n <- r }

// begin sends r and returns what gets its reply.
func (s *servedRig) begin(c *socket.ClientConn, r *devices.Request) notified {
	n := make(notified, 1)
	r.Completer = n
	s.real.Do(func() {
		r.Begin(s.real.Loop().Now())
		c.Submit(r)
	})
	return n
}

// do sends r and waits for its reply.
func (s *servedRig) do(c *socket.ClientConn, r *devices.Request) devices.Errno {
	return (<-s.begin(c, r)).Errno
}

func aRead(length uint64) *devices.Request {
	return &devices.Request{Op: devices.OpRead, Length: length, Payload: devices.Payload{Bytes: make([]byte, length)}}
}

// end stops the server.
func (s *servedRig) end() error {
	s.stop()
	return <-s.ended
}

// While an fdatasync is in progress, all but who waits for it is answered: on the same
// connection, on another one, and on another export. What waits gets its reply after it,
// and with its error.
func TestAnFdatasyncDelaysOnlyWhoWaitsForIt(t *testing.T) {
	for name, test := range map[string]struct {
		wait *devices.Request
		err  error
		want devices.Errno
	}{
		"FUA":       {aWrite(devices.FUA), nil, devices.OK},
		"FLUSH":     {&devices.Request{Op: devices.OpFlush}, nil, devices.OK},
		"FUA, EIO":  {aWrite(devices.FUA), errors.New("input/output error"), devices.EIO},
		"FLUSH,EIO": {&devices.Request{Op: devices.OpFlush}, errors.New("input/output error"), devices.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			disk := newSlowDisk()
			image := filepath.Join(t.TempDir(), "image")
			s := serveInProcess(t, Config{Device: "nvme-990pro", Size: 64 << 20, Files: Files{Image: image}, ImageSync: true, datasync: disk.datasync})
			same, another, other := s.connect("a"), s.connect("a"), s.connect("b")
			if e := s.do(same, aWrite(0)); e != devices.OK {
				t.Fatal(e)
			}
			waits := s.begin(same, test.wait)
			<-disk.begun
			read := aRead(4096)
			for _, e := range []devices.Errno{
				s.do(same, read), s.do(same, aWrite(0)), s.do(another, aRead(4096)), s.do(another, aWrite(0)),
				s.do(other, aRead(4096)), s.do(other, aWrite(devices.FUA)), s.do(other, &devices.Request{Op: devices.OpFlush}),
			} {
				if e != devices.OK {
					t.Errorf("while the disk is slow: %v", e)
				}
			}
			if !bytes.Equal(read.Bytes, aWrite(0).Bytes) {
				t.Error("a READ does not find what was written before it")
			}
			if len(waits) > 0 {
				t.Error("the reply came before its fdatasync")
			}
			disk.goOn <- test.err
			if r := <-waits; r.Errno != test.want {
				t.Errorf("the reply is %v, expected %v", r.Errno, test.want)
			}
			go func() { // what the end makes durable
				for range disk.begun {
					disk.goOn <- nil
				}
			}()
			if err := s.end(); test.err == nil && err != nil || test.err != nil && !strings.Contains(err.Error(), test.err.Error()) {
				t.Errorf("the end: %v", err)
			}
			close(disk.begun)
			if b, err := os.ReadFile(image); err != nil || !slices.Equal(b[:4096], aWrite(0).Bytes) {
				t.Errorf("the image lacks what was written, %v", err)
			}
		})
	}
}

// slowLog is the file of a log of which each fdatasync waits.
type slowLog struct {
	*os.File
	*slowDisk
}

func (l slowLog) Sync() error { return l.datasync(l.File) }

// A promise waits for the image first and then for both logs, one after another, so that
// none of them has what the one before it lacks.
func TestAPromiseIsInTheImageAndThenInTheLogs(t *testing.T) {
	disk, writes, wire := newSlowDisk(), newSlowDisk(), newSlowDisk()
	dir := t.TempDir()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	files := Files{Image: filepath.Join(dir, "image"), Log: slowLog{file("log"), wire}, LogWrites: slowLog{file("writes"), writes}}
	go func() { // the beginning of the log of writes
		<-writes.begun
		writes.goOn <- nil
	}()
	s := serveInProcess(t, Config{Device: "nvme-990pro", Size: 64 << 20, Files: files, ImageSync: true, datasync: disk.datasync})
	one, two := s.connect("a"), s.connect("a")
	waits := s.begin(one, aWrite(devices.FUA))
	<-disk.begun
	entries := func() (n int) {
		b, err := os.ReadFile(filepath.Join(dir, "writes"))
		if err != nil {
			t.Fatal(err)
		}
		log, err := history.ReadDM(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return len(log.Events) / 2
	}
	reads := func(while string) {
		if e := s.do(two, aRead(4096)); e != devices.OK || len(waits) > 0 {
			t.Errorf("while %s is synced: a READ gets %v, and %d promises are made", while, e, len(waits))
		}
	}
	if reads("the image"); entries() != 0 {
		t.Error("the log of writes has what the image may lack")
	}
	disk.goOn <- nil
	<-writes.begun
	if reads("the log of writes"); entries() != 1 {
		t.Errorf("the log of writes has %d entries, expected 1", entries())
	}
	writes.goOn <- nil
	<-wire.begun
	reads("the log of events")
	wire.goOn <- nil
	if r := <-waits; r.Errno != devices.OK {
		t.Error(r.Errno)
	}
	for _, d := range []*slowDisk{disk, writes, wire} {
		go func() {
			for range d.begun {
				d.goOn <- nil
			}
		}()
		defer close(d.begun)
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
}

// Writes wait while the image has too much to do, READs do not, and all of them end.
func TestWritesWaitForASlowImage(t *testing.T) {
	disk := newSlowDisk()
	s := serveInProcess(t, Config{Device: "ram", Size: 64 << 20, Files: Files{Image: filepath.Join(t.TempDir(), "image")}, ImageSync: true, datasync: disk.datasync})
	writer, reader := s.connect("a"), s.connect("a")
	waits := s.begin(writer, aWrite(devices.FUA))
	<-disk.begun
	const count = 40
	replies := make(notified, count)
	s.real.Do(func() {
		for range count {
			r := &devices.Request{Op: devices.OpWrite, Length: 1 << 20, Completer: replies}
			r.Bytes = make([]byte, 1<<20)
			r.Begin(s.real.Loop().Now())
			writer.Submit(r)
		}
	})
	for range 20 {
		if e := s.do(reader, aRead(4096)); e != devices.OK {
			t.Error(e)
		}
	}
	go func() {
		disk.goOn <- nil
		for range disk.begun {
			disk.goOn <- nil
		}
	}()
	<-waits
	for range count {
		if r := <-replies; r.Errno != devices.OK {
			t.Error(r.Errno)
		}
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
	close(disk.begun)
}

// A power cut while an fdatasync is in progress: the client gets no reply, and what the
// medium had by then is in the image.
func TestAPowerCutDuringAnFdatasync(t *testing.T) {
	disk := newSlowDisk()
	image := filepath.Join(t.TempDir(), "image")
	cuts := make(chan os.Signal)
	s := serveInProcess(t, Config{Device: "nvme-990pro", Size: 64 << 20, Files: Files{Image: image}, ImageSync: true, Cuts: cuts, datasync: disk.datasync})
	c := s.connect("a")
	waits := s.begin(c, aWrite(devices.FUA))
	<-disk.begun
	cuts <- os.Interrupt
	if r := <-waits; r.Errno == devices.OK { // the connection ends
		t.Error("a promise was made")
	}
	again := s.connect("a")
	read := aRead(4096)
	if e := s.do(again, read); e != devices.OK || !bytes.Equal(read.Bytes, aWrite(0).Bytes) {
		t.Errorf("after the cut: %v, or not what was written", e)
	}
	go func() {
		disk.goOn <- nil
		for range disk.begun {
			disk.goOn <- nil
		}
	}()
	if e := s.do(again, &devices.Request{Op: devices.OpFlush}); e != devices.OK {
		t.Error(e)
	}
	close(cuts)
	if err := s.end(); err != nil {
		t.Error(err)
	}
	close(disk.begun)
	if b, err := os.ReadFile(image); err != nil || !slices.Equal(b[:4096], aWrite(0).Bytes) {
		t.Errorf("the image lacks what was written, %v", err)
	}
}
