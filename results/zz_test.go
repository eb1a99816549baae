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
	r.Summary().Text(os.Stdout, 120)
	f, _ := os.Create("/tmp/rprobe/t.md")
	r.Summary().Markdown(f)
	f, _ = os.Create("/tmp/rprobe/run.json")
	r.WriteJSON(f)
}
