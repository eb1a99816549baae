package catalog

import (
	"testing"

	"nbdbench/devices"
	"nbdbench/sim"
)

func TestEveryProfileLoadsAndOpensInBothModes(t *testing.T) {
	names := List()
	if len(names) < 4 {
		t.Fatalf("only %v", names)
	}
	for _, name := range names {
		p, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Name != name || p.Title == "" || p.About == "" || p.Confidence == "" {
			t.Errorf("%s: name %q, title %q, about %q, confidence %q", name, p.Name, p.Title, p.About, p.Confidence)
		}
		for _, mode := range []devices.Mode{devices.Versions, devices.RealBytes} {
			d, err := Open(name, sim.NewLoop(), Options{Mode: mode, Seed: 1})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if d.Info() != p.Info() || d.Cut(1).Media().Mode() != mode {
				t.Errorf("%s: opened as %+v, want %+v", name, d.Info(), p.Info())
			}
		}
	}
}

func TestEveryParameterHasASourceAndEverySourceAParameter(t *testing.T) {
	for _, name := range List() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		values := p.values()
		for path, value := range values {
			if p.Sources[path] == "" {
				t.Errorf("%s: %s is %s and has no source", name, path, value)
			}
		}
		for path := range p.Sources {
			if values[path] == "" {
				t.Errorf("%s: the source of %s is of nothing that is set", name, path)
			}
		}
	}
}

func TestASizeOfTheOpenersOwn(t *testing.T) {
	p, err := Load("hdd-7200")
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Open(sim.NewLoop(), Options{Size: 64 << 20})
	if err != nil || d.Info().Size != 64<<20 || p.Size == 64<<20 {
		t.Errorf("size %d, profile's %v: %v", d.Info().Size, p.Size, err)
	}
	if _, err := p.Open(sim.NewLoop(), Options{Size: 1000}); err == nil {
		t.Error("a device of 1000 bytes: no error")
	}
}
