package host

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

func TestTheSMARTLogIsReadByItsOffsets(t *testing.T) {
	if n := unsafe.Sizeof(nvmeCommand{}); n != 72 {
		t.Fatalf("struct nvme_passthru_cmd has 72 bytes, got %d", n)
	}
	b := make([]byte, smartBytes)
	b[0], b[3], b[5] = 4, 100, 7
	binary.LittleEndian.PutUint16(b[1:], 273+45)
	for at, v := range map[int]uint32{48: 1000, 144: 3, 160: 2, 192: 5, 196: 6, 216: 1, 220: 2, 224: 30, 228: 40} {
		binary.LittleEndian.PutUint32(b[at:], v)
	}
	want := SMART{Critical: 4, Celsius: 45, Spare: 100, Used: 7, Written: 1000, UnsafeShutdowns: 3, MediaErrors: 2, WarmMinutes: 5, HotMinutes: 6, Throttles: 3, ThrottledFor: 70}
	if got := parseSMART(b); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestThrottlingIsSeenByWhatHasGrown(t *testing.T) {
	before := Health{NVMe: &SMART{Throttles: 2, ThrottledFor: 10, WarmMinutes: 1}}
	for _, c := range []struct {
		after Health
		want  string
	}{
		{before, ""},
		{Health{}, ""},
		{Health{NVMe: &SMART{Throttles: 5, ThrottledFor: 14, WarmMinutes: 1}}, "its thermal management set in 3 times, it spent 4 s in thermal management"},
		{Health{NVMe: &SMART{Throttles: 2, ThrottledFor: 10, WarmMinutes: 2, HotMinutes: 1}}, "it was above its warning temperature for 2 min"},
		{Health{NVMe: &SMART{Throttles: 2, ThrottledFor: 10, WarmMinutes: 1, Critical: 2}}, "its temperature is out of its bounds"},
		{Health{Celsius: new(70.0), Limit: new(70.0)}, "it has 70 °C, and its limit is 70 °C"},
		{Health{Celsius: new(69.0), Limit: new(70.0)}, ""},
	} {
		if got := c.after.Throttled(before); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.after, got, c.want)
		}
	}
}

func TestASensorIsFoundWhereTheKernelPutsIt(t *testing.T) {
	for _, where := range []string{"device/hwmon3", "device/hwmon/hwmon0", "device/device/hwmon/hwmon1"} {
		y := system{sys: t.TempDir()}
		dir := filepath.Join(y.sys, "class/block/sdx", where)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"temp1_input": "38850\n", "temp1_max": "81850\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h := y.sensor("sdx")
		if h.Celsius == nil || *h.Celsius != 38.85 || h.Limit == nil || *h.Limit != 81.85 {
			t.Errorf("%s: got %+v", strings.TrimPrefix(dir, y.sys), h)
		}
	}
	if h := (system{sys: t.TempDir()}).sensor(""); h.Celsius != nil {
		t.Errorf("no disk has %v °C", *h.Celsius)
	}
}
