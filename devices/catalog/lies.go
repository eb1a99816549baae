package catalog

import (
	"nbdbench/internal/conf"
	"nbdbench/internal/units"
)

// Lies are the promises that the device acknowledges and does not keep, as
// drive.Lies. What it advertises says nothing of them.
type Lies struct {
	Flush     bool `yaml:"flush"`
	FUA       bool `yaml:"fua"`
	Capacitor bool `yaml:"capacitor"`
}

// validateLies refuses a lie that is not possible: only a drive with a cache has
// promises to break, and only those that it offers.
func (p *Profile) validateLies() error {
	switch {
	case p.Lies == Lies{}:
		return nil
	case p.Lies.Capacitor && (p.Cache.Mode != "protected" || p.Kind != "ssd" && p.Kind != "hdd"):
		return conf.At("lies.capacitor", "expected false but of an ssd or hdd with a protected cache, which alone has capacitors")
	case p.Lies.Capacitor && p.Cache.Capacity < minCache:
		return conf.At("cache.capacity", "expected at least %v that the capacitors do not save, got %v", units.Size(minCache), p.Cache.Capacity)
	case p.Lies == Lies{Capacitor: true}:
		return nil
	case p.Cache.Mode != "volatile" || p.Kind != "ssd" && p.Kind != "hdd":
		return conf.At("lies", "expected none but of an ssd or hdd with a volatile cache, which alone has something to lose")
	case p.Lies.Flush && !p.Advertise.Flush:
		return conf.At("lies.flush", "expected false, as FLUSH is not advertised")
	case p.Lies.FUA && p.Advertise.FUA != "native":
		return conf.At("lies.fua", "expected false, as FUA is not advertised")
	}
	return nil
}
