package catalog

import (
	"fmt"
	"maps"
	"time"

	"nbdbench/internal/units"
)

// What a protected cache holds where the profile does not say: 64 MiB, written
// back when the drive is idle for 5 ms (estimates).
const (
	deadCache   units.Size = 64 << 20
	deadDestage            = 5 * time.Millisecond
)

// WithoutCapacitor is the profile of a protected drive whose capacitors have
// failed without its notice: it says and does what it did, and loses its cache in
// a power cut.
func (p *Profile) WithoutCapacitor() (*Profile, error) {
	if p.Cache.Mode != "protected" || (p.SSD == nil && p.HDD == nil) {
		return nil, fmt.Errorf("%s: expected a drive with a protected cache, got a %s of which the cache is %s", p.Name, p.Kind, p.Cache.Mode)
	}
	q := *p
	q.Sources, q.Fitted, q.Published = maps.Clone(p.Sources), nil, nil
	q.Lies.Capacitor = true
	if q.Cache.Capacity == 0 {
		q.Cache.Capacity, q.Cache.IdleDestage = deadCache, deadDestage
	}
	return &q, q.Validate()
}
