package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// line is serve's command line for one of a server that is stood in for, with the
// run's own folder as DIR.
func line(t *testing.T, server string, args ...string) (string, error) {
	t.Helper()
	p := &plan{dir: t.TempDir(), unix: ""}
	if err := parsers[server](p, args); err != nil {
		return "", err
	}
	got, err := p.args()
	return strings.ReplaceAll(strings.Join(got, " "), p.dir, "DIR"), err
}

func TestCommandLinesThatServeHas(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	config := filepath.Join(t.TempDir(), "conf")
	text := "[generic]\n unixsock = /s\n[one]\nexportname = " + disk + "\nflush = true\nfua = true\n"
	for path, content := range map[string]string{disk: strings.Repeat("x", 1024), config: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ server, args, want string }{
		{"nbdkit", "-s -v --exit-with-parent memory size=1m", "serve ram --listen nbd+unix:///?socket= --size 1048576"},
		{"nbdkit", "-f -p 1234 -P pid null", "serve ram --listen nbd://:1234/"},
		{"nbdkit", "-U /s -r file " + disk, "serve ram --listen nbd+unix:///?socket=/s --size 1024 --image " + disk + " --read-only"},
		{"nbdkit", "-U /s --filter=delay memory 1M delay-read=10", "serve ram --listen nbd+unix:///?socket=/s --size 1048576 --delay 10s"},
		{"nbdkit", "-U /s --filter=cow pattern size=4k", "serve ram --listen nbd+unix:///?socket=/s --size 4096 --image DIR/pattern"},
		{"nbdkit", "-U /s sh /x/eflags-plugin.sh key=can_trim print= rc=3", "serve DIR/device.yaml --listen nbd+unix:///?socket=/s"},
		{"qemu-nbd", "-v -t -k /s -f raw -e 42 -x  " + disk, "serve ram --listen nbd+unix:///?socket=/s --size 1024 --image " + disk},
		{"nbd-server", "-C " + config + " -p pid", "serve ram --listen nbd+unix:///one?socket=/s --size 1024 --image " + disk},
	} {
		got, err := line(t, c.server, strings.Split(c.args, " ")...)
		if err != nil || got != c.want {
			t.Errorf("%s %s: got %q, %v\nexpected %q", c.server, c.args, got, err, c.want)
		}
	}
}

func TestWhatServeDoesNotHaveIsRefusedAndNotImitated(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"nbdkit -s --tls=require --tls-psk=keys memory 1M": "TLS by a shared key",
		"nbdkit -s -o memory 1M":                           "the oldstyle handshake",
		"nbdkit -s --no-sr memory 1M":                      "nbdkit's --no-sr",
		"nbdkit -s --filter=error memory 1M":               "the filter error",
		"nbdkit -s sh script.sh":                           "a plugin that is a script",
		"nbdkit -s memory 123":                             "a size that is no multiple of 512 bytes",
		"qemu-nbd -t -k /s -f qcow2 " + disk:               "the format qcow2",
		"qemu-nbd -t -k /s -f raw -B b " + disk:            "contexts of qemu",
		"qemu-nbd -k /s -f raw " + disk:                    "an end with its last client",
	} {
		words := strings.Fields(args)
		_, err := line(t, words[0], words[1:]...)
		var r refusal
		if !errors.As(err, &r) || string(r) != want {
			t.Errorf("%s: got %v, expected that serve does not have %s", args, err, want)
		}
	}
}

func TestQuestionsAboutAProgramGoToIt(t *testing.T) {
	for _, args := range []string{"nbdkit sh --dump-plugin", "nbdkit --version", "qemu-nbd --list nbd://x", "nbd-server --version"} {
		words := strings.Fields(args)
		if _, err := line(t, words[0], words[1:]...); !errors.Is(err, errReal) {
			t.Errorf("%s: got %v", args, err)
		}
	}
}

func TestAPatternIsItsOffsets(t *testing.T) {
	p := &plan{dir: t.TempDir()}
	path, err := p.pattern(16)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := p.pattern(maxPattern + 8); err == nil {
		t.Error("a pattern beyond the bound is made")
	}
}
