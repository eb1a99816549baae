package catalog

import (
	"fmt"
	"maps"
	"time"

	"nbdbench/internal/units"
)

// The cache of WithSmallCache: one that a few requests fill, and that is written back
// while others are in progress.
const (
	smallCapacity  units.Size = 256 << 10
	smallHighWater units.Size = 32 << 10
	smallDestage              = 20 * time.Microsecond
)

// WithSmallCache is the profile of a drive with a volatile cache of 256 KiB, which is
// written back all the time. It is not a real drive: what a large cache shows once in a
// million requests, overwrites of what is in flight among them, is usual there.
func (p *Profile) WithSmallCache() (*Profile, error) {
	if p.Cache.Mode != "volatile" {
		return nil, fmt.Errorf("%s: expected a drive with a volatile cache, got one of which the cache is %s", p.Name, p.Cache.Mode)
	}
	q := *p
	q.Sources, q.Fitted, q.Published = maps.Clone(p.Sources), nil, nil
	q.Cache.Capacity, q.Cache.HighWater, q.Cache.LowWater, q.Cache.IdleDestage = smallCapacity, smallHighWater, 0, smallDestage
	return &q, q.Validate()
}
