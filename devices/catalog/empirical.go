package catalog

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"nbdbench/devices/empirical"
	"nbdbench/internal/conf"
	"nbdbench/internal/hlog"
	"nbdbench/internal/input"
	"nbdbench/internal/units"
)

// Empirical is a device known only by its latencies, package empirical.
type Empirical struct {
	// Log is an HdrHistogram log, as latency.hlog of a run directory; its path is
	// relative to the profile that names it.
	Log string `yaml:"log"`
	// Select is the cell whose operations are taken, all its runs pooled.
	Select string `yaml:"select"`
	// Operations say for single operations where else in the log their latencies
	// are, as cell/operation.
	Operations map[string]string `yaml:"operations"`
	Parallel   int               `yaml:"parallel"`
	// Latencies are the buckets of each operation, in place of a log.
	Latencies map[string]buckets `yaml:"latencies"`

	dir     string // of the profile that names the log
	latency *[empirical.Operations]empirical.Table
}

// maxLog bounds a log that is read.
const maxLog = 64 * units.MiB

// locate notes in which directory the log of a profile is.
func (p *Profile) locate(doc *conf.Doc, file string) {
	if p.Empirical != nil && doc.Has("empirical.log") {
		p.Empirical.dir, p.Empirical.latency = filepath.Dir(file), nil
	}
}

func (e *Empirical) config() empirical.Config {
	c := empirical.Config{Parallel: e.Parallel}
	if e.latency != nil {
		c.Latency = *e.latency
	}
	return c
}

// validateEmpirical checks the section, and reads the log.
func (p *Profile) validateEmpirical() error {
	e := p.Empirical
	if e.Parallel < 0 || e.Parallel > empirical.MaxParallel {
		return conf.At("parallel", "expected 0, which is no bound, to %d, got %d", empirical.MaxParallel, e.Parallel)
	}
	needs := empirical.Needs(p.Info())
	for _, name := range slices.Sorted(maps.Keys(e.Operations)) {
		if !slices.ContainsFunc(needs, func(o empirical.Operation) bool { return o.String() == name }) {
			return conf.At("operations."+name, "expected an operation that the device offers, of %s", join(needs))
		}
	}
	if e.Latencies != nil {
		return e.useInline(needs)
	}
	log, err := e.read()
	if err != nil {
		return conf.At("log", "%v", err)
	}
	var latency [empirical.Operations]empirical.Table
	for _, o := range needs {
		if latency[o], err = e.find(log, o); err != nil {
			return err
		}
	}
	e.latency = &latency
	return nil
}

func join(ops []empirical.Operation) string {
	var out []string
	for _, o := range ops {
		out = append(out, o.String())
	}
	return strings.Join(out, ", ")
}

// read reads the log, with the histograms of one tag in all runs pooled.
func (e *Empirical) read() (map[string][]empirical.Bucket, error) {
	if e.Log == "" {
		return nil, fmt.Errorf("expected the path of an HdrHistogram log, relative to this profile")
	}
	path := e.Log
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.dir, path)
	}
	f, err := input.Open(path, int64(maxLog))
	if err != nil {
		return nil, fmt.Errorf("expected an HdrHistogram log: %w", err)
	}
	defer f.Close()
	all, err := hlog.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	pooled := map[string][]empirical.Bucket{}
	for _, h := range all {
		if cell, _, op, ok := hlog.Split(h.Tag); ok {
			for _, b := range h.Buckets {
				pooled[cell+"/"+op] = append(pooled[cell+"/"+op], empirical.Bucket(b))
			}
		}
	}
	return pooled, nil
}

// find makes the table of operation o.
func (e *Empirical) find(log map[string][]empirical.Bucket, o empirical.Operation) (empirical.Table, error) {
	path, key := "operations."+o.String(), e.Operations[o.String()]
	if key == "" {
		path, key = "select", e.Select+"/"+o.String()
	}
	buckets := log[hlog.Clean(key)]
	if len(buckets) == 0 {
		hint := "select another cell, or say where under operations"
		return empirical.Table{}, conf.At(path, "expected latencies of %v as %s, which the log has not (%s); it has %s", o, key, hint, has(log))
	}
	slices.SortStableFunc(buckets, func(a, b empirical.Bucket) int { return int(min(max(a.From-b.From, -1), 1)) })
	t, err := empirical.NewTable(buckets)
	if err != nil {
		return t, conf.At(path, "%s: %v", key, err)
	}
	return t, nil
}

// maxListed is how many names an error lists.
const maxListed = 12

// has lists what a log has, for errors.
func has(log map[string][]empirical.Bucket) string {
	keys := slices.Sorted(maps.Keys(log))
	if len(keys) == 0 {
		return "nothing tagged cell/run/operation"
	}
	if n := len(keys); n > maxListed {
		keys = append(keys[:maxListed], fmt.Sprintf("%d more", n-maxListed))
	}
	return strings.Join(keys, ", ")
}

// measuredText says what is known of operation o, for a person.
func (e *Empirical) measuredText(o empirical.Operation) string {
	return fmt.Sprintf("as long as one of %d that were measured", e.latency[o].Count())
}
