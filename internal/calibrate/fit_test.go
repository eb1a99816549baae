package calibrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/layer"
	"nbdbench/internal/bench"
	"nbdbench/internal/stack"
	"nbdbench/internal/units"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// measured is the procedure on a simulated device, in virtual time.
func measured(t testing.TB, device string, wrap func(*sim.Loop, devices.Device) devices.Device) *Measurement {
	t.Helper()
	loop := sim.NewLoop()
	dev, err := catalog.Open(device, loop, catalog.Options{Seed: 99})
	if err != nil {
		t.Fatal(err)
	}
	b := bed{loop: loop, dev: dev}
	if wrap != nil {
		b.dev = wrap(loop, dev)
	}
	m := &Measurement{Target: device, Kind: "a simulated device"}
	if err := b.measureAll(context.Background(), m, FitDuration, nil); err != nil {
		t.Fatal(err)
	}
	return m
}

// fitted is a profile that was written and read again.
func fitted(t testing.TB, m *Measurement) *catalog.Profile {
	t.Helper()
	p, err := Fit(m, "fitted", "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := EncodeFit(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := catalog.Parse("fitted.yaml", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return again
}

// serialTime is what a write of 4 KiB takes in the stage that serves one at a time.
func serialTime(s *catalog.SSD) time.Duration {
	d := s.Serial + s.SerialPer4K
	if s.Bandwidth > 0 {
		d += time.Duration(4096e9 / float64(s.Bandwidth))
	}
	return d
}

// What the procedure and the fit make of a model is the model, and each row of
// the measurement is met within the tolerance that devices check grants. Of
// drives with dies those rows are named that the law of FLUSH does not give.
func TestTheFitOfASimulatedDeviceHasItsParameters(t *testing.T) {
	const us = time.Microsecond
	for device, c := range map[string]struct {
		serial, parallel  time.Duration // 0 is not looked at
		base, perMiB, fua time.Duration
		servers, dies     int
		sigma, contention float64
		cache, advertised string
		out               string
	}{
		"nvme-990pro": {parallel: 4459, base: 1600 * us, perMiB: 200 * us, fua: 3980 * us, servers: 25, dies: 128, sigma: 0.15, cache: "volatile", advertised: "native", out: "write-1 sync_4k-8 sync_4k-16"},
		"nvme-970pro": {parallel: 4 * us, base: 2187 * us, fua: 2187 * us, servers: 2, dies: 16, sigma: 0.15, contention: 0.1, cache: "volatile", advertised: "native", out: "write-1"},
		"nvme-980":    {base: 1729 * us, servers: 1, sigma: 0.15, cache: "volatile", advertised: "native", out: "flush_n-16"},
		"fua-disk":    {parallel: 460 * us, base: 2243 * us, perMiB: 200 * us, fua: 1921 * us, servers: 1, dies: 1, cache: "volatile", advertised: "native"},
		"emmc-sd":     {serial: 501 * us, base: 4000 * us, servers: 1, dies: 1, cache: "volatile", advertised: "none"},
		"nvme-pm963":  {serial: 3730, parallel: 25600, dies: 32, cache: "protected", advertised: "native"},
		"sata-pm863a": {serial: 12699, parallel: 37900, dies: 16, cache: "protected", advertised: "none"},
		"nvme-p4800x": {serial: 2 * us, parallel: 8 * us, cache: "protected", advertised: "native", out: "write-1"},
	} {
		t.Run(device, func(t *testing.T) {
			p := fitted(t, measured(t, device, nil))
			s := p.SSD
			about := func(what string, got, want, within float64) {
				t.Logf("%s: %.4g, the model's %.4g", what, got, want)
				if want != 0 && math.Abs(got/want-1) > within {
					t.Errorf("%s is %g, want %g", what, got, want)
				}
			}
			about("serial stage", float64(serialTime(s)), float64(c.serial), 0.03)
			about("parallel", float64(s.Parallel), float64(c.parallel), 0.03)
			about("flush_base", float64(s.FlushBase), float64(c.base), 0.05)
			about("fua_base", float64(s.FUABase), float64(c.fua), 0.06)
			if c.perMiB != 0 {
				about("FLUSH of each MiB", float64(s.FlushPerStripe)*float64(units.MiB)/float64(max(s.Stripe, 1)), float64(c.perMiB), 0.15)
			}
			about("servers", float64(s.Servers), float64(c.servers), 0)
			about("dies", float64(s.Dies), float64(c.dies), 0)
			if math.Abs(s.Sigma-c.sigma) > 0.04 || math.Abs(s.Contention-c.contention) > 0.07 {
				t.Errorf("sigma %g and contention %g, want %g and %g", s.Sigma, s.Contention, c.sigma, c.contention)
			}
			if p.Cache.Mode != c.cache || p.Advertise.FUA != c.advertised || !p.Advertise.Flush {
				t.Errorf("cache %s, advertises %+v; want %s and FUA %s", p.Cache.Mode, p.Advertise, c.cache, c.advertised)
			}
			checkFit(t, p, c.out)
		})
	}
}

// checkFit holds a fitted profile against its measurement: out are the rows, as
// op-jobs, that are out of tolerance.
func checkFit(t *testing.T, p *catalog.Profile, out string) {
	t.Helper()
	c, err := CheckDevices(context.Background(), []*catalog.Profile{p})
	if err != nil {
		t.Fatal(err)
	}
	sets, got := 0, []string{}
	for _, r := range c.Rows {
		sets += len(r.Sets)
		if !r.OK {
			got = append(got, fmt.Sprintf("%s-%d", r.Op, r.Jobs))
			t.Logf("%s, %d jobs: %g simulated, %g %s measured", r.Op, r.Jobs, r.Simulated, r.Published, r.Unit)
		}
	}
	if strings.Join(got, " ") != out {
		t.Errorf("%q are out of tolerance, want %q", got, out)
	}
	if len(c.Rows) < 18 || sets < 5 {
		t.Errorf("%d rows, which have set %d parameters", len(c.Rows), sets)
	}
	for path, source := range p.Sources {
		if source == "" {
			t.Errorf("%s has no source", path)
		}
	}
	if described := p.Describe(); !strings.Contains(described, "fitted to published figures") {
		t.Errorf("described as\n%s", described)
	}
}

// The cost of FUA shows how a server makes it, as the client sees it.
func TestFUAThatIsAWriteAndAFlushIsRecognised(t *testing.T) {
	server := func(strategy string) func(*sim.Loop, devices.Device) devices.Device {
		return func(loop *sim.Loop, dev devices.Device) devices.Device {
			s, _ := layer.Lookup(strategy)
			out, err := s.Server(dev, layer.Options{Loop: loop})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	for _, c := range []struct {
		device    string
		wrap      func(*sim.Loop, devices.Device) devices.Device
		fua, says string
		out       string
	}{
		{"equal.yaml", nil, "native", "so there is a cache", ""},
		{"equal.yaml", server("emulate"), "none", "is taken for that", ""},
		{"fua-disk", server("emulate"), "none", "is taken for that", ""},
		{"fua-disk", server("none"), "none", "FUA is not offered.", ""},
		// Here FLUSH takes 5 us, which is less than what is taken for noise.
		{"nvme-pm963", server("emulate"), "native", "no volatile cache", "sync_4k-2 sync_4k-4 sync_4k-8 sync_4k-16 sync_4k-32"},
	} {
		if c.device == "equal.yaml" { // a drive whose FUA costs just what FLUSH does
			c.device = filepath.Join(t.TempDir(), c.device)
			text := "extends: fua-disk\nname: equal\nssd: {fua_base: 2243us}\n"
			if err := os.WriteFile(c.device, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := fitted(t, measured(t, c.device, c.wrap))
		if p.Advertise.FUA != c.fua || !strings.Contains(p.About, c.says) {
			t.Errorf("%s: FUA %s, %q; want %s and %q", c.device, p.Advertise.FUA, p.About, c.fua, c.says)
		}
		checkFit(t, p, c.out)
	}
}

func TestWithoutFlushNothingIsSaidOfIt(t *testing.T) {
	p := fitted(t, measured(t, "fua-disk", func(_ *sim.Loop, dev devices.Device) devices.Device {
		return layer.Advertise(dev, layer.Advertised{FUA: true})
	}))
	if p.Advertise.Flush || p.Advertise.FUA != "native" || p.Cache.Mode != "volatile" || p.SSD.FlushBase != 0 {
		t.Errorf("advertises %+v, cache %+v, %+v", p.Advertise, p.Cache, p.SSD)
	}
}

func TestARunOnTheFittedProfileGivesWhatTheDeviceGives(t *testing.T) {
	text, err := EncodeFit(must(Fit(measured(t, "nvme-990pro", nil), "fitted", "")))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fitted.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	plan := bench.Default()
	plan.Devices, plan.Strategies = []string{"nvme-990pro", path}, []string{"native", "emulate", "none", "none-unsafe"}
	plan.Workloads = []workloads.Ref{{Name: "sync-4k"}, {Name: "wal-noisy"}}
	plan.Link = must(bench.ParseLink("none"))
	plan.Runs, plan.Commits, plan.Cuts, plan.Warmup = 2, 400, 0, 0
	doc, err := bench.Run(context.Background(), &plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	median := func(id string) float64 {
		for _, c := range doc.Cells {
			if c.ID == id {
				return float64(*c.Commit.P50)
			}
		}
		t.Fatalf("no cell %s", id)
		return 0
	}
	for _, cell := range []string{"sync-4k/native", "sync-4k/none", "sync-4k/none-unsafe", "wal-noisy/native", "wal-noisy/emulate"} {
		if r := median("fitted/"+cell) / median("nvme-990pro/"+cell); r < 0.9 || r > 1.1 {
			t.Errorf("%s: fitted/real is %.3f, want 0.9 to 1.1", cell, r)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTheFitIsAFunctionOfTheMeasurement(t *testing.T) {
	m := measured(t, "nvme-970pro", nil)
	recorded, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var texts [2][]byte
	for i := range texts {
		var again Measurement
		if err := json.Unmarshal(recorded, &again); err != nil {
			t.Fatal(err)
		}
		if texts[i], err = EncodeFit(must(Fit(&again, "mine", "2020-02-02"))); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Errorf("the same measurement gives\n%s\nand\n%s", texts[0], texts[1])
	}
	if n := bytes.Count(texts[0], []byte(`source: "nbdbench devices fit, 2020-02-02"}`)); n != len(m.Points) {
		t.Errorf("%d rows of %d have the day", n, len(m.Points))
	}
}

func TestWithoutReadsOrWritesThereIsNoFit(t *testing.T) {
	m := measured(t, "ram", nil)
	if _, err := Fit(m, "fitted", ""); err != nil {
		t.Errorf("of a device that takes no time: %v", err)
	}
	m.Points = m.Points[1:]
	if _, err := Fit(m, "fitted", ""); !errors.Is(err, stack.ErrInvalid) || !strings.Contains(err.Error(), "read-1 was not measured") {
		t.Errorf("got %v", err)
	}
}

func TestAMeasurementEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	loop := sim.NewLoop()
	dev, err := catalog.Open("nvme-990pro", loop, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := bed{loop: loop, dev: dev}
	if err := b.measureAll(ctx, &Measurement{}, time.Hour, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
