package layer

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/sim"
)

// fake is a device that completes its commands when the test says so, and
// charges the time to the cache.
type fake struct {
	loop     *sim.Loop
	info     devices.Info
	say      func(format string, args ...any)
	commands []*devices.Request // by number-1; nil once completed
}

func (f *fake) Info() devices.Info { return f.info }

func (f *fake) Submit(r *devices.Request) {
	f.commands = append(f.commands, r)
	f.say("device %d: %s", len(f.commands), describe(r))
}

func (f *fake) complete(n int, e devices.Errno) {
	r := f.commands[n-1]
	f.commands[n-1] = nil
	r.Charge(devices.CacheStage, f.loop.Now())
	r.Finish(e)
}

func describe(r *devices.Request) string {
	s := r.Op.String()
	if r.Flags&devices.FUA != 0 {
		s += " fua"
	}
	return fmt.Sprintf("%s %d+%d stamp=%d conn=%d txn=%d", s, r.Offset, r.Length, r.Stamp, r.Conn, r.Txn)
}

// script drives one device with lines and checks what comes of each. Lines that
// begin at the margin are done; the indented ones are what must follow, in order:
//
//	write a fua conn=1      the application submits a write called a
//	complete 2              the device completes its command 2
//	fail 2                  ... with EIO
//	at 5s                   the loop runs until that instant
type script struct {
	t     *testing.T
	loop  *sim.Loop
	fake  *fake
	top   devices.Device
	out   strings.Builder
	begun map[string]sim.Time
	count int
	// resubmit is a line to run within the completion of the named request.
	resubmit map[string]string
}

func newScript(t *testing.T, info devices.Info, wrap func(devices.Device, *sim.Loop) devices.Device) *script {
	s := &script{t: t, loop: sim.NewLoop(), begun: map[string]sim.Time{}, resubmit: map[string]string{}}
	s.fake = &fake{loop: s.loop, info: info, say: s.say}
	s.top = wrap(s.fake, s.loop)
	return s
}

func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.out, "\t"+format+"\n", args...) }

func (s *script) run(text string) {
	s.t.Helper()
	text = strings.TrimPrefix(text, "\n")
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "\t") {
			s.out.WriteString(line)
			s.do(strings.Fields(line))
		}
	}
	if got := s.out.String(); got != text {
		s.t.Errorf("got\n%s\nwant\n%s", got, text)
	}
}

func (s *script) do(words []string) {
	switch words[0] {
	case "complete":
		s.fake.complete(number(words[1]), devices.OK)
	case "fail":
		s.fake.complete(number(words[1]), devices.EIO)
	case "at":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			panic(err)
		}
		s.loop.Run(sim.Time(d))
	default:
		s.submit(words)
	}
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return n
}

var ops = map[string]devices.Op{
	"read": devices.OpRead, "write": devices.OpWrite, "flush": devices.OpFlush,
	"trim": devices.OpTrim, "zero": devices.OpWriteZeroes, "cache": devices.OpCache,
}

func (s *script) submit(words []string) {
	name := words[1]
	s.count++
	r := &devices.Request{Op: ops[words[0]], Completer: s, Ref: name, Txn: uint64(s.count)}
	if r.Op != devices.OpFlush {
		r.Offset, r.Length = uint64(s.count)*4096, 4096
	}
	if r.Op.Modifies() {
		r.Stamp = devices.Stamp(s.count)
	}
	for _, word := range words[2:] {
		switch word {
		case "fua":
			r.Flags |= devices.FUA
		case "preflush":
			r.Flags |= devices.Preflush
		default:
			r.Conn = uint32(number(strings.TrimPrefix(word, "conn=")))
		}
	}
	s.begun[name] = s.loop.Now()
	r.Begin(s.loop.Now())
	s.top.Submit(r)
}

// Done checks that the stages of every request sum to its time.
func (s *script) Done(r *devices.Request) {
	name := r.Ref.(string)
	s.say("%s: %v", name, r.Errno)
	if got, want := r.Stages.Total(), s.loop.Now().Sub(s.begun[name]); got != want {
		s.t.Errorf("%s: its stages sum to %v, it took %v: %v", name, got, want, r.Stages)
	}
	if line, ok := s.resubmit[name]; ok {
		s.do(strings.Fields(line))
	}
}

var (
	flushOnly = devices.Info{Size: 1 << 20, CanFlush: true, CanTrim: true, CanZero: true, MultiConn: true}
	withFUA   = devices.Info{Size: 1 << 20, CanFlush: true, FUA: devices.FUANative, CanTrim: true, CanZero: true, MultiConn: true}
)

// made is a layer's constructor that must succeed.
func made(f func(devices.Device, *sim.Loop, Side) (devices.Device, error), side Side) func(devices.Device, *sim.Loop) devices.Device {
	return func(d devices.Device, l *sim.Loop) devices.Device {
		top, err := f(d, l, side)
		if err != nil {
			panic(err)
		}
		return top
	}
}

// half is the server's half of a strategy, which the device must be able to
// carry out.
func half(strategy string) func(devices.Device, *sim.Loop) devices.Device {
	s, ok := Lookup(strategy)
	if !ok {
		panic(strategy)
	}
	return func(d devices.Device, l *sim.Loop) devices.Device {
		top, err := s.Server(d, Options{Loop: l})
		if err != nil {
			panic(err)
		}
		return top
	}
}
