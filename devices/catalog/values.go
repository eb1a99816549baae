package catalog

import (
	"fmt"
	"reflect"
	"strings"

	"nbdbench/internal/conf"
)

// values maps the path of each parameter that is set to its value as text:
// what Sources has to account for.
func (p *Profile) values() map[string]string {
	out := map[string]string{}
	for _, path := range []string{"size", "logical_block", "atomic_unit", "chunk", "flush_work"} {
		collect(out, "", reflect.ValueOf(p).Elem(), path)
	}
	if p.Cache.Mode == "volatile" || p.Lies.Capacitor || p.SSD != nil && (p.SSD.Flash != nil || p.SSD.Drain > 0) {
		collect(out, "cache.", reflect.ValueOf(&p.Cache).Elem(), "")
	}
	if p.SSD != nil {
		collect(out, "ssd.", reflect.ValueOf(p.SSD).Elem(), "")
		if p.SSD.Flush != nil {
			collect(out, "ssd.flush.", reflect.ValueOf(p.SSD.Flush).Elem(), "")
		}
		if p.SSD.Flash != nil {
			collect(out, "ssd.flash.", reflect.ValueOf(p.SSD.Flash).Elem(), "")
		}
	}
	if p.HDD != nil {
		collect(out, "hdd.", reflect.ValueOf(p.HDD).Elem(), "")
	}
	if p.Cloud != nil {
		collect(out, "cloud.", reflect.ValueOf(p.Cloud).Elem(), "")
	}
	if p.Log != nil {
		collect(out, "log.", reflect.ValueOf(p.Log).Elem(), "")
	}
	if p.RAID != nil {
		collect(out, "raid.", reflect.ValueOf(p.RAID).Elem(), "")
	}
	if p.Empirical != nil {
		collect(out, "empirical.", reflect.ValueOf(p.Empirical).Elem(), "")
	}
	return out
}

// collect adds the set numbers of struct v, or only the one called name.
func collect(out map[string]string, prefix string, v reflect.Value, name string) {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		f := v.Field(i)
		if tag == "" || (name != "" && tag != name) || f.IsZero() || f.Kind() == reflect.String || f.Kind() == reflect.Pointer || f.Kind() == reflect.Map {
			continue
		}
		out[prefix+tag] = fmt.Sprint(f.Interface())
	}
}

// Value is what the profile has at a path such as "ssd.flush_base". The error is a
// *conf.FieldError.
func (p *Profile) Value(path string) (any, error) {
	key, _, _ := strings.Cut(path, ".")
	if described[key] {
		return nil, conf.At(path, "expected a parameter, got what describes the profile")
	}
	return conf.Get(*p, path)
}

// WithValue is the profile with another value at a path, written as in a profile's
// file. The profile itself must be valid.
func (p *Profile) WithValue(path, value string) (*Profile, error) {
	if _, err := p.Value(path); err != nil {
		return nil, err
	}
	q := *p
	if err := conf.Set(&q, path, value); err != nil {
		return nil, err
	}
	return &q, q.Validate()
}
