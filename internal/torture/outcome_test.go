package torture

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
)

// TestTheStatusOfACheckIsTheOutcome: and one that says nothing is an error.
func TestTheStatusOfACheckIsTheOutcome(t *testing.T) {
	for status, want := range map[int]Outcome{0: Kept, 1: Lost, 2: Corrupt} {
		if got, err := newReport(status, nil).outcome(); err != nil || got != want {
			t.Errorf("status %d: %v, %v, expected %v", status, got, err, want)
		}
	}
	_, err := newReport(127, []byte("sh: no\x1b such file\n")).outcome()
	if !errors.Is(err, stack.ErrInvalid) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("status 127: %q, expected an escaped ErrInvalid", err)
	}
}

func TestACheckSaysHowMuchIsLostAndTorn(t *testing.T) {
	r := newReport(1, []byte("checking\nlost=3\n torn=2 \nlost=x\ntorn=-1\n"))
	if r.lost != 3 || r.torn != 2 {
		t.Errorf("lost %d, torn %d, expected 3 and 2", r.lost, r.torn)
	}
}

// TestAcknowledgementsOfAnInstant: whole lines alone, and the age of the oldest of the
// newest.
func TestAcknowledgementsOfAnInstant(t *testing.T) {
	var j journal
	j.add([]byte("1\n2\n3"), time.Second)
	before := j.clone()
	j.add([]byte("\n4\n"), 3*time.Second)
	for at, want := range map[time.Duration]string{0: "", time.Second: "1\n2\n", 2 * time.Second: "1\n2\n", 3 * time.Second: "1\n2\n3\n4\n"} {
		if got := string(j.until(at)); got != want {
			t.Errorf("until %v: %q, expected %q", at, got, want)
		}
	}
	for n, want := range map[int]time.Duration{0: 0, 1: time.Second, 2: time.Second, 3: 3 * time.Second, 9: 3 * time.Second} {
		if got := j.window(n, 4*time.Second); got != want {
			t.Errorf("window of %d: %v, expected %v", n, got, want)
		}
	}
	if string(before.data) != "1\n2\n3" || before.lines() != 2 || j.lines() != 4 {
		t.Errorf("the earlier journal has %q, and the later one %d lines", before.data, j.lines())
	}
}

func TestTheOutcomesAddUp(t *testing.T) {
	var c Cell
	for o := Kept; o <= Unmountable; o++ {
		c.count(o)
	}
	if c.Cuts != 5 || c.Kept+c.Bounded+c.Lost+c.Corrupt+c.Unmountable != 5 {
		t.Errorf("%+v", c)
	}
	if (&Document{Cells: []*Cell{{Kept: 1, Bounded: 1}}}).Failed() || !(&Document{Cells: []*Cell{&c}}).Failed() {
		t.Error("lost, corrupt and unmountable are failures, and nothing else")
	}
}

func TestAConfigSaysWhichFlagIsWrong(t *testing.T) {
	good := Config{Device: "ram", Strategy: "native", FS: "ext4", Image: "device", Cuts: 1, App: "sqlite"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for flag, change := range map[string]func(*Config){
		"--fs":     func(c *Config) { c.FS = "ntfs" },
		"--via":    func(c *Config) { c.Via = "usb" },
		"--image":  func(c *Config) { c.Image = "best" },
		"--cuts":   func(c *Config) { c.Cuts = 0 },
		"--size":   func(c *Config) { c.Size = MaxSize + 1 },
		"--size ":  func(c *Config) { c.Size = 1000 },
		"--app":    func(c *Config) { c.Check = "true" },
		"--set":    func(c *Config) { c.Set = []string{"synchronous=maybe"} },
		"--check":  func(c *Config) { c.App, c.Workload = "", []string{"true"} },
		"workload": func(c *Config) { c.App, c.Check = "", "true" },
	} {
		c := good
		change(&c)
		var field *conf.FieldError
		if err := c.Validate(); !errors.As(err, &field) || field.Path != strings.TrimSpace(flag) {
			t.Errorf("%s: got %v", flag, err)
		}
	}
}
