package interop

import (
	"encoding/binary"
	"os"
	"testing"
)

// processors of this machine may sleep when they are idle, unless they are kept
// awake. In a virtual machine to wake one is up to its host, which takes 20 µs, and
// when it is busy milliseconds: a thread on time is then late all the same. So
// cyclictest keeps them awake, in the same way: whoever has /dev/cpu_dma_latency
// open says how many µs a wake-up may take (Linux, Documentation/power/
// pm_qos_interface.rst).
type processors struct {
	qos *os.File
	err error // why they sleep in spite of stayAwake
}

// newProcessors may sleep again once the test has ended.
func newProcessors(t *testing.T) *processors {
	p := &processors{}
	t.Cleanup(p.maySleep)
	return p
}

func (p *processors) stayAwake() {
	if p.qos != nil {
		return
	}
	if p.qos, p.err = os.OpenFile("/dev/cpu_dma_latency", os.O_WRONLY, 0); p.err != nil {
		return
	}
	if _, p.err = p.qos.Write(binary.NativeEndian.AppendUint32(nil, 0)); p.err != nil {
		p.maySleep()
	}
}

func (p *processors) maySleep() {
	if p.qos != nil {
		_ = p.qos.Close()
		p.qos = nil
	}
}

// String says which it is.
func (p *processors) String() string {
	switch {
	case p.qos != nil:
		return "idle processors kept awake (/dev/cpu_dma_latency at 0)"
	case p.err != nil:
		return "idle processors asleep (" + p.err.Error() + ")"
	}
	return "idle processors asleep"
}
