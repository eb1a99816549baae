package lossy

import (
	"bytes"
	"context"
	"net/url"
	"testing"

	"nbdbench/devices/fua"
	"nbdbench/devices/plugin"
)

// It declares NATIVE; what FUA covers is lost, what FLUSH covers is not.
func TestFUAIsLost(t *testing.T) {
	ctx := context.Background()
	p, err := Open(url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Open(ctx, plugin.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.CanFUA(ctx); a != fua.Native || err != nil {
		t.Errorf("can_fua: %v, %v", a, err)
	}
	one := bytes.Repeat([]byte{1}, 512)
	for _, step := range []error{
		c.PWrite(ctx, one, 0, 0), c.Flush(ctx), c.PWrite(ctx, one, 512, plugin.FUA),
		c.PZero(ctx, 512, 0, plugin.FUA), c.PTrim(ctx, 512, 0, plugin.FUA), c.PowerCut(func(int) bool { return false }),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	got := make([]byte, 1024)
	if err := c.PRead(ctx, got, 0); err != nil || !bytes.Equal(got, append(one, make([]byte, 512)...)) {
		t.Errorf("%v, first bytes %d and %d", err, got[0], got[512])
	}
}
