//go:build linux

package main

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nbdbench/devices"
)

func TestServeRefusesWhatDoesNotGoWithAPlugin(t *testing.T) {
	for args, want := range map[string]string{
		"go:nosuch":                             `go:nosuch: no plugin is registered as "nosuch": expected one of file, lossy, memory`,
		"go:memory?colour=red":                  `go:memory?colour=red: unknown key "colour": expected one of size, can_fua`,
		"go:file":                               "go:file: path: expected a file, got none",
		"go:memory --image x":                   "--image: expected only simulated devices, got the plugin go:memory",
		"go:memory --size 1M":                   "--size: expected only simulated devices, got the plugin go:memory",
		"go:memory --log x":                     "--log: expected only simulated devices, got the plugin go:memory",
		"go:memory --log-writes x":              "--log-writes: expected only simulated devices, got the plugin go:memory",
		"go:memory --fault lying-flush":         "--fault: expected only simulated devices, got the plugin go:memory",
		"go:memory --stop power-cut":            "--stop: expected flush with the plugin go:memory, got power-cut",
		"ram --export a=go:x":                   `go:x: no plugin is registered as "x"`,
		"ram --fuamode sometimes":               `--fuamode: expected none, emulate, native, force, pass or discard, got "sometimes"`,
		"ram --fuamode":                         "flag needs an argument: --fuamode",
		"ram --fuamode none --strategy emulate": "--fuamode: expected --strategy pass, got emulate",
		"go:memory --plugin-timeout -1s":        `invalid argument "-1s" for "--plugin-timeout"`,
	} {
		out := invoke(append([]string{"serve"}, strings.Fields(args)...)...)
		if out.code != exitUsage || !strings.Contains(out.stderr, want) || out.stdout != "" {
			t.Errorf("serve %s: exit %d, %q, want %q", args, out.code, out.stderr, want)
		}
	}
}

// TestServeAPlugin beside a simulated device: the power of the latter is cut alone, and
// what the plugin was called is counted.
func TestServeAPlugin(t *testing.T) {
	control := filepath.Join(t.TempDir(), "control")
	s := startServe(t, "go:memory?size=1MiB&can_fua=emulate", "--export", "disk=ram", "--control", control)
	k := talkTo(t, s, "")
	if e := k.write(1, 'x', devices.FUA); e != devices.OK {
		t.Error(e)
	}
	c, err := net.Dial("unix", control)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for command, want := range map[string]string{
		"cut":               `"cut":1`,
		`cut --export ""`:   `is the plugin go:memory?size=1MiB&can_fua=emulate: the power of a plugin is not cut while it is served`,
		"cut --export disk": `"cut":`,
		"stats":             `"plugin_calls":{"flush":1,"pwrite":1,"pwrite_fua":0,"trim":0,"trim_fua":0,"zero":0,"zero_fua":0}`,
	} {
		if command == "cut" { // which of the two is not said
			want = "--export: expected one of"
		}
		if _, err := c.Write([]byte(command + "\n")); err != nil {
			t.Fatal(err)
		}
		line, err := answers.ReadString('\n')
		if line = strings.ReplaceAll(line, `\u0026`, "&"); err != nil || !strings.Contains(line, want) {
			t.Errorf("%s: %v %s, want %s", command, err, line, want)
		}
	}
	if err := s.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if e := k.write(2, 'y', 0); e != devices.OK {
		t.Errorf("after SIGUSR1: %v", e)
	}
	if code, _ := s.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d: %s", code, s.stderr.String())
	}
	if text := s.stderr.String(); !strings.Contains(text, "go:memory?size=1MiB&can_fua=emulate: 2 pwrite, 1 flush") {
		t.Error(text)
	}
}

// TestFUAModeOfASimulatedDevice is nbdkit's: native over a device without FUA of its
// own is refused.
func TestFUAModeOfASimulatedDevice(t *testing.T) {
	s := startServe(t, "ram", "--fuamode", "none")
	if f := talkTo(t, s, "").conn.Info().FUA; f != devices.FUANone {
		t.Errorf("fuamode none: FUA %v", f)
	}
	out := invoke("serve", "testdata/no-fua.yaml", "--fuamode", "native")
	if want := "--fuamode on hdd-no-fua: fuamode native requires a backend that can do FUA"; out.code != exitUsage || !strings.Contains(out.stderr, want) {
		t.Errorf("exit %d, %q, want %q", out.code, out.stderr, want)
	}
}

// TestAdvertiseOverAPlugin: a FUA that the plugin does not have is accepted and does
// nothing, and one that is not advertised is refused before it gets there.
func TestAdvertiseOverAPlugin(t *testing.T) {
	s := startServe(t, "go:memory?can_fua=none", "--advertise", "fua")
	k := talkTo(t, s, "")
	if info := k.conn.Info(); info.FUA == devices.FUANone || info.CanFlush {
		t.Errorf("%+v", info)
	}
	if e := k.write(0, 'x', devices.FUA); e != devices.OK {
		t.Error(e)
	}
	if code, _ := s.stop(t, syscall.SIGTERM); code != 0 || !strings.Contains(s.stderr.String(), "can_fua=none: 1 pwrite\n") {
		t.Errorf("exit %d: %s", code, s.stderr.String())
	}
}
