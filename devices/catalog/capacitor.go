package catalog

import (
	"fmt"
	"maps"
	"time"

	"nbdbench/internal/units"
)

// The cache of a protected drive whose capacitors have failed.
const (
	deadCache   units.Size = 64 << 20
	deadDestage            = 5 * time.Millisecond
)

// WithoutCapacitor is the profile of a protected drive whose cache has become
// volatile, 64 MiB that it writes back when idle (estimates). What the drive
// says of itself is a matter of who serves it; see package fault.
func (p *Profile) WithoutCapacitor() (*Profile, error) {
	if p.Cache.Mode != "protected" || (p.SSD == nil && p.HDD == nil) {
		return nil, fmt.Errorf("%s: expected a drive with a protected cache, got a %s of which the cache is %s", p.Name, p.Kind, p.Cache.Mode)
	}
	q := *p
	q.Sources, q.Fitted, q.Published = maps.Clone(p.Sources), nil, nil
	q.Cache = Cache{Mode: "volatile", Capacity: deadCache, HighWater: deadCache / 2, LowWater: deadCache / 4, IdleDestage: deadDestage}
	return &q, q.Validate()
}
