package simtest

import (
	"strings"
	"testing"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/sim"
)

// mutant is a device with a defect, below the server's layers.
type mutant struct {
	devices.Device
	loop   *sim.Loop
	submit func(m *mutant, r *devices.Request)
	n      int
	free   devices.Freelist
}

func around(submit func(m *mutant, r *devices.Request)) func(*sim.Loop, catalog.Device) devices.Device {
	return func(l *sim.Loop, d catalog.Device) devices.Device { return &mutant{Device: d, loop: l, submit: submit} }
}

func (m *mutant) Submit(r *devices.Request) {
	m.n++
	m.submit(m, r)
}

// Fire completes a request without having done it.
func (m *mutant) Fire(t *sim.Timer) { t.Owner.(*devices.Request).Finish(devices.OK) }

func (m *mutant) pretend(r *devices.Request) {
	r.Timer.Owner = r
	m.loop.After(&r.Timer, 0, m)
}

// through sends a changed copy of r.
func (m *mutant) through(r *devices.Request, change func(c *devices.Request), done devices.Completer) {
	c := m.free.Get()
	c.Op, c.Flags, c.Offset, c.Length, c.Payload = r.Op, r.Flags, r.Offset, r.Length, r.Payload
	c.Conn, c.Stream, c.Txn, c.Step, c.Ref, c.Completer = r.Conn, r.Stream, r.Txn, r.Step, r, done
	c.Begin(m.loop.Now())
	change(c)
	m.Device.Submit(c)
}

// once ends the parent of a copy, twice does so again.
type (
	once  struct{ m *mutant }
	twice struct{ m *mutant }
)

func (o once) Done(c *devices.Request) {
	r := c.Ref.(*devices.Request)
	r.Absorb(devices.DeviceQueue, r.Charged(), c)
	r.Finish(c.Errno)
}

func (o twice) Done(c *devices.Request) {
	once(o).Done(c)
	once(o).Done(c)
}

func dropFlush(m *mutant, r *devices.Request) {
	if r.Op == devices.OpFlush {
		m.pretend(r)
		return
	}
	m.Device.Submit(r)
}

func dropFUA(of func(m *mutant, r *devices.Request) bool) func(m *mutant, r *devices.Request) {
	return func(m *mutant, r *devices.Request) {
		if r.Durable() && of(m, r) {
			m.through(r, func(c *devices.Request) { c.Flags &^= devices.FUA }, once{m})
			return
		}
		m.Device.Submit(r)
	}
}

// early answers a FLUSH as soon as the device has it.
func early(m *mutant, r *devices.Request) {
	if r.Op == devices.OpFlush {
		m.through(r, func(*devices.Request) {}, nobody{})
		m.pretend(r)
		return
	}
	m.Device.Submit(r)
}

type nobody struct{}

func (nobody) Done(*devices.Request) {}

func every(n int, op devices.Op, wrong func(m *mutant, r *devices.Request)) func(m *mutant, r *devices.Request) {
	return func(m *mutant, r *devices.Request) {
		if r.Op == op && m.n%n == 0 {
			wrong(m, r)
			return
		}
		m.Device.Submit(r)
	}
}

func TestTheSwarmFindsEveryMutant(t *testing.T) {
	const most = 200
	for _, c := range []struct {
		name     string
		strategy string
		submit   func(m *mutant, r *devices.Request)
		says     string
	}{
		{"FLUSH does nothing", "none", dropFlush, "promised"},
		{"FLUSH answers before it is done", "none-grouped", early, "promised"},
		{"FUA is dropped", "native", dropFUA(func(*mutant, *devices.Request) bool { return true }), "promised"},
		{"FUA is dropped from WRITE_ZEROES", "native", dropFUA(func(_ *mutant, r *devices.Request) bool { return r.Op == devices.OpWriteZeroes }), "promised"},
		{"FUA is dropped from one write of seven", "force", dropFUA(func(m *mutant, _ *devices.Request) bool { return m.n%7 == 0 }), "promised"},
		{"a write is lost", "pass", every(9, devices.OpWrite, (*mutant).pretend), "returned version"},
		{"a write goes to the next page", "pass", every(9, devices.OpWrite, func(m *mutant, r *devices.Request) {
			m.through(r, func(c *devices.Request) { c.Offset += 4096 }, once{m})
		}), "misdirected"},
		{"a read goes to the next page", "pass", every(2, devices.OpRead, func(m *mutant, r *devices.Request) {
			m.through(r, func(c *devices.Request) { c.Offset += 4096 }, once{m})
		}), "returned version"},
		{"a request is never completed", "pass", every(30, devices.OpWrite, func(*mutant, *devices.Request) {}), "never completed"},
		{"a write fails", "pass", every(30, devices.OpWrite, func(m *mutant, r *devices.Request) {
			m.through(r, func(c *devices.Request) { c.Offset = 1 << 60 }, once{m})
		}), "ended with ENOSPC"},
		{"time is charged twice", "emulate", every(5, devices.OpWrite, func(m *mutant, r *devices.Request) {
			r.Stages[devices.MediaStage]++
			m.Device.Submit(r)
		}), "but its stages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range most {
				_, err := Run(sim.Seed(seed), Options{Strategy: c.strategy, Device: "ssd", Around: around(c.submit)})
				if err != nil && strings.Contains(err.Error(), c.says) {
					t.Logf("found in world %d", seed)
					return
				}
			}
			t.Errorf("not found in %d worlds", most)
		})
	}
}

// multiConn says of a device that its FLUSH covers all connections.
type multiConn struct{ devices.Device }

func (m multiConn) Info() devices.Info {
	info := m.Device.Info()
	info.MultiConn = true
	return info
}

// A FLUSH that covers its own connection alone is legal only where MultiConn is not
// advertised.
func TestAFlushOfOneConnectionUnderMultiConnIsFound(t *testing.T) {
	for seed := range 200 {
		_, err := Run(sim.Seed(seed), Options{Strategy: "none", Device: "ssd", Around: func(l *sim.Loop, d catalog.Device) devices.Device {
			return multiConn{newPerConnection(d, l)}
		}})
		if err != nil && strings.Contains(err.Error(), "promised") {
			return
		}
	}
	t.Error("not found")
}

// TestACompletionTooManyIsFound leaves NBD out, whose server would have
// recycled the request.
func TestACompletionTooManyIsFound(t *testing.T) {
	for seed := range 50 {
		_, err := Run(sim.Seed(seed), Options{Strategy: "pass", Device: "ram", Direct: true, Serial: true, Around: around(
			every(10, devices.OpRead, func(m *mutant, r *devices.Request) {
				m.through(r, func(*devices.Request) {}, twice{m})
			}))})
		if err != nil && strings.Contains(err.Error(), "completed twice") {
			return
		}
	}
	t.Error("not found")
}
