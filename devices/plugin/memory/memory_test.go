package memory

import (
	"bytes"
	"context"
	"net/url"
	"testing"

	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
)

var background = context.Background()

// disk opens a disk of so many bytes.
func disk(t *testing.T, args string) *plugin.Conn {
	t.Helper()
	v, err := url.ParseQuery(args)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(v)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Open(background, plugin.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

// at is the first byte of each unit of 512 bytes.
func at(t *testing.T, c *plugin.Conn, off uint64, units int) string {
	t.Helper()
	b := make([]byte, units*512)
	if err := c.PRead(background, b, off); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := range units {
		first := b[i*512]
		if !bytes.Equal(b[i*512:(i+1)*512], fill(first, 512)) {
			first = '?'
		}
		if first == 0 {
			first = '0'
		}
		out = append(out, first)
	}
	return string(out)
}

// What no FLUSH or FUA has covered is lost with the power, unit by unit.
func TestPowerCut(t *testing.T) {
	c := disk(t, "")
	write := func(b byte, unit uint64, units int, f plugin.Flags) {
		t.Helper()
		if err := c.PWrite(background, fill(b, units*512), unit*512, f); err != nil {
			t.Fatal(err)
		}
	}
	write('a', 126, 4, 0) // over the end of a page
	if err := c.Flush(background); err != nil {
		t.Fatal(err)
	}
	write('b', 126, 2, 0)
	write('c', 128, 1, plugin.FUA)
	write('d', 129, 2, 0)
	if got := at(t, c, 126*512, 5); got != "bbcdd" {
		t.Errorf("read %s", got)
	}
	var asked []int
	if err := c.PowerCut(func(unit int) bool { asked = append(asked, unit); return unit == 127 }); err != nil {
		t.Fatal(err)
	}
	if got := at(t, c, 126*512, 5); got != "abca0" || len(asked) != 4 || asked[0] != 126 {
		t.Errorf("after the cut: %s, asked about %v", got, asked)
	}
	if err := c.PZero(background, 512, 126*512, plugin.FUA); err != nil {
		t.Fatal(err)
	}
	if err := c.PTrim(background, 512, 127*512, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.PowerCut(func(int) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if got := at(t, c, 126*512, 2); got != "0b" {
		t.Errorf("after the second cut: %s", got)
	}
}

func TestArguments(t *testing.T) {
	c := disk(t, "size=1MiB&can_fua=emulate")
	if n, _ := c.Size(background); n != 1<<20 {
		t.Error(n)
	}
	if a, _ := c.CanFUA(background); a != fua.Emulate {
		t.Error(a)
	}
	for args, want := range map[string]string{
		"size=100":       `size: expected a multiple of 512 up to 16GiB, got "100"`,
		"size=32TiB":     `size: expected a multiple of 512 up to 16GiB, got "32TiB"`,
		"can_fua=maybe":  `can_fua: expected none, emulate or native, got "maybe"`,
		"path=/dev/zero": `unknown key "path": expected one of size, can_fua`,
	} {
		v, _ := url.ParseQuery(args)
		if _, err := Open(v); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
