package hdd

import (
	"testing"
	"time"
)

func TestAMediaCacheIsRefusedWithoutItsTimes(t *testing.T) {
	good := Config{
		Size: 1 << 40, RPM: 7200, Heads: 4, Zones: 16, OuterTrack: 3600, InnerTrack: 1800, SeekA: time.Millisecond, SeekB: time.Millisecond, SeekKnee: 0.5, QueueDepth: 32,
		MediaCache: 1 << 30, MediaCacheWrite: time.Millisecond, MediaCacheMove: time.Millisecond,
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(c *Config){
		"no write": func(c *Config) { c.MediaCacheWrite = 0 },
		"no move":  func(c *Config) { c.MediaCacheMove = 0 },
		"no cache": func(c *Config) { c.MediaCache = 0 },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
