package catalog

import (
	"testing"
)

func mustLoad(t *testing.T, name string) *Profile {
	t.Helper()
	p, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEstimatesAreTheNumbersThatTheProfileCallsOne(t *testing.T) {
	p := mustLoad(t, "nvme-990pro")
	got := map[string]Parameter{}
	for _, x := range p.Estimates() {
		got[x.Path] = x
	}
	for _, want := range []Parameter{
		{"ssd.servers", 1, Count},
		{"ssd.flush_clean", 20000, Nanoseconds},
		{"ssd.bandwidth", 6.8e9, BytesPerSec},
		{"cache.capacity", 64 << 20, Bytes},
		{"ssd.sigma", 0.15, Number},
	} {
		if got[want.Path] != want {
			t.Errorf("%s: got %+v, want %+v", want.Path, got[want.Path], want)
		}
	}
	for _, path := range []string{"ssd.flush_base", "ssd.parallel", "size", "advertise.fua", "preferred_io"} {
		if _, ok := got[path]; ok {
			t.Errorf("%s is no estimate: %s", path, p.Sources[path])
		}
	}
	p.Sources["ssd.contention"], p.Sources["cache.mode"], p.Sources["ssd.sigma"] = Estimate, Estimate, "estimated from a plot"
	if n := len(p.Estimates()); n != len(got)-1 {
		t.Errorf("%d estimates, want %d: 0, a word and what a source says in other words are none", n, len(got)-1)
	}
}

func TestWhatIsCountedIsVariedFromAQuarterToFourTimes(t *testing.T) {
	for _, c := range []struct {
		x         Parameter
		low, high float64
	}{
		{Parameter{"ssd.servers", 1, Count}, 1, 4},
		{Parameter{"ssd.servers", 2, Count}, 1, 8},
		{Parameter{"ssd.dies", 32, Count}, 8, 128},
		{Parameter{"ssd.fua_base", 1e6, Nanoseconds}, 5e5, 2e6},
		{Parameter{"cloud.iops", 6000, PerSecond}, 3000, 12000},
		{Parameter{"ssd.sigma", 0.5, Number}, 0.25, 1},
	} {
		if low, high := c.x.Range(); low != c.low || high != c.high {
			t.Errorf("%+v: %g to %g, want %g to %g", c.x, low, high, c.low, c.high)
		}
	}
}

// Each is checked by hand against Validate's rules.
func TestAValueThatIsNotAllowedBecomesTheNearestThatIs(t *testing.T) {
	for _, c := range []struct {
		device, path string
		asked, want  float64
	}{
		{"nvme-990pro", "ssd.fua_base", 1234567, 1234567},
		{"nvme-990pro", "ssd.servers", 4096, 1024},
		{"nvme-990pro", "cache.high_water", 128 << 20, 64 << 20}, // the capacity
		{"nvme-990pro", "cache.high_water", 1 << 20, 16 << 20},   // low_water
		{"nvme-990pro", "cache.capacity", 1, 32 << 20},           // high_water
		{"nvme-990pro", "atomic_unit", 3000, 4096},               // a power of two
		{"nvme-990pro", "atomic_unit", 2500, 2048},
		{"nvme-990pro", "logical_block", 1024, 512},
		{"nvme-990pro", "size", 1e12 + 1, 1e12}, // a multiple of 4096
		{"nvme-990pro", "ssd.sigma", 5, 3},
		{"hdd-7200", "hdd.heads", 100, 64},
		{"hdd-7200", "hdd.outer_track", 900, 1800}, // inner_track
		{"hdd-7200", "hdd.read_ahead", 4 << 20, 2 << 20},
	} {
		p := mustLoad(t, c.device)
		before := documentOf(t, p)
		q, got, err := p.With(c.path, c.asked)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if d := got.Value/c.want - 1; d > 1e-6 || d < -1e-6 {
			t.Errorf("%s of %s: %g became %g, want %g", c.path, c.device, c.asked, got.Value, c.want)
		}
		if err := q.Validate(); err != nil {
			t.Errorf("%s: %v", c.path, err)
		}
		if string(documentOf(t, p)) != string(before) {
			t.Errorf("%s: the profile itself has changed", c.path)
		}
	}
}

// Both ends of every estimate of every profile can be had alone.
func TestEveryEstimateCanBeVaried(t *testing.T) {
	n := 0
	for _, name := range List() {
		p := mustLoad(t, name)
		for _, x := range p.Estimates() {
			low, high := x.Range()
			for _, v := range []float64{low, high} {
				if _, _, err := p.With(x.Path, v); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				n++
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d values", n)
	}
}

func TestAParameterThatIsNotThereIsAnError(t *testing.T) {
	p := mustLoad(t, "nvme-990pro")
	for _, path := range []string{"hdd.rpm", "ssd.nothing", "title", "advertise.flush", "", "ssd"} {
		if x, err := p.Parameter(path); err == nil {
			t.Errorf("%q is %+v", path, x)
		}
	}
}

func TestParallelismIsAnEstimateWithoutAnotherSource(t *testing.T) {
	p := mustLoad(t, "nvme-990pro")
	if got := p.EstimatedParallelism(); got != "ssd.fua_programs" {
		t.Errorf("nvme-990pro: %q", got)
	}
	p.Sources["ssd.fua_programs"] = "measured"
	if got := p.EstimatedParallelism(); got != "ssd.servers" {
		t.Errorf("measured with FUA alone: %q", got)
	}
	delete(p.Sources, "ssd.servers")
	p.SSD.Servers = 0 // 1 by default
	if got := p.EstimatedParallelism(); got != "ssd.servers" {
		t.Errorf("a default without a source: %q", got)
	}
	p.Sources["ssd.servers"] = "measured"
	if got := p.EstimatedParallelism(); got != "" {
		t.Errorf("measured: %q", got)
	}
	if got := mustLoad(t, "hdd-7200").EstimatedParallelism(); got != "" {
		t.Errorf("hdd-7200, whose queue depth is known: %q", got)
	}
}

// A document has a source for every parameter; what rules the parallelism must not
// differ for that.
func TestADocumentHasTheSameParallelism(t *testing.T) {
	for _, name := range List() {
		p := mustLoad(t, name)
		again, err := ParseDocument(at, documentOf(t, p))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := p.EstimatedParallelism(), again.EstimatedParallelism(); a != b {
			t.Errorf("%s: %q in the profile, %q in its document", name, a, b)
		}
	}
}
