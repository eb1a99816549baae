package results

import (
	"os"
	"testing"
	"time"
)

func TestZZ(t *testing.T) {
	a := time.Now()
	r := fakeDocument(t)
	t.Log(time.Since(a))
	a = time.Now()
	cs := r.Charts()
	t.Log(time.Since(a))
	a = time.Now()
	os.MkdirAll("/tmp/rprobe/c", 0o777)
	for _, c := range cs {
		for _, f := range []string{"svg", "png", "pdf"} {
			if err := c.Save("/tmp/rprobe/c/" + c.Name + "." + f); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log(time.Since(a))
	os.RemoveAll("/tmp/rprobe/d")
	if err := Save("/tmp/rprobe/d", r); err != nil {
		t.Fatal(err)
	}
	a = time.Now()
	if _, err := Load("/tmp/rprobe/d"); err != nil {
		t.Fatal(err)
	}
	t.Log("load", time.Since(a))
}
