package catalog

import (
	"fmt"
	"maps"
	"slices"
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
	if p.IsArray() {
		return q.withSmallMembers()
	}
	q.Sources, q.Fitted, q.Published = maps.Clone(p.Sources), nil, nil
	q.Cache.Capacity, q.Cache.HighWater, q.Cache.LowWater, q.Cache.IdleDestage = smallCapacity, smallHighWater, 0, smallDestage
	return &q, q.Validate()
}

// withSmallMembers is the array of which each member with a volatile cache has a small one.
func (p *Profile) withSmallMembers() (*Profile, error) {
	p.Members = slices.Clone(p.Members)
	for i := range p.Members {
		m := &p.Members[i]
		if m.Profile.Cache.Mode != "volatile" {
			continue
		}
		var err error
		if m.Profile, err = m.Profile.WithSmallCache(); err != nil {
			return nil, err
		}
	}
	return p, p.Validate()
}
