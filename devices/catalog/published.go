package catalog

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"nbdbench/internal/conf"
	"nbdbench/internal/text"
	"nbdbench/internal/units"
)

//go:embed published.yaml
var publishedFile []byte

// Row is one published figure of a device: what was asked, and what came out.
type Row struct {
	// ID is how a profile's Fitted refers to the row.
	ID     string `yaml:"id"`
	Device string `yaml:"device"` // the profile's name
	Op     string `yaml:"op"`     // one of Ops
	// Jobs is how many ask at the same time, each in a closed loop; for flush_n
	// and sync_n it is how many extents are dirty. 0 is 1.
	Jobs    int        `yaml:"jobs"`
	Size    units.Size `yaml:"size"`    // of one request; 0 is 4 KiB
	Pattern string     `yaml:"pattern"` // sequential or random; empty is sequential
	// From is where on the device the range begins that is asked for, in percent
	// of its size: what is measured at the inner edge of a disk begins there.
	From float64 `yaml:"from"`

	// Host is the time of the host between two commits of a job, which a rate
	// that was measured with one contains and no device has: 0 is none.
	// HostSource says where it is from; HostFrom names the row of which it is what
	// is left, if it is, as a profile's Fitted does for a parameter.
	Host       time.Duration `yaml:"host"`
	HostSource string        `yaml:"host_source"`
	HostFrom   string        `yaml:"host_from"`

	// Value is the figure. Where two sources of one model disagree Range has both, the
	// lesser first, in its place: any value between them agrees.
	Value     float64   `yaml:"value"`
	Range     []float64 `yaml:"published_range"`
	Unit      string    `yaml:"unit"`      // us and ms are means, ops/s and MB/s are rates
	Tolerance float64   `yaml:"tolerance"` // of simulated/published-1, on both sides

	Confidence string `yaml:"confidence"` // high, medium or low; empty is the profile's
	Source     string `yaml:"source"`
	// Formula is set where the reference is arithmetic of our own and not a
	// measurement.
	Formula string `yaml:"formula"`
}

// RowKind is what a row can show.
type RowKind string

// The kinds. They are computed from what rows and profiles say, never given.
const (
	Fitted    RowKind = "fitted"    // it has set a parameter: the model can be fitted to it
	Derived   RowKind = "derived"   // it is our own formula: the model is what it is said to be
	Predicted RowKind = "predicted" // no parameter was chosen to match it
)

// The operations of rows. What each does is in docs/DEVICES.md.
const (
	OpRead             = "read"
	OpWrite            = "write"
	OpWriteFUA         = "write_fua"
	OpWriteFlush       = "write_flush"
	OpFlush            = "flush"
	OpFlushShared      = "write_flush_shared"
	OpFlushN           = "flush_n"
	OpFlushClean       = "flush_clean"
	OpChain            = "chain"
	OpSync4k           = "sync_4k"
	OpSyncShared       = "sync_shared"
	OpSyncN            = "sync_n"
	OpFsyncExt4        = "fsync_ext4"
	OpFsyncDataJournal = "fsync_data_journal"
	OpFsyncRocksdb     = "fsync_rocksdb"
	OpFdatasyncEtcd    = "fdatasync_etcd"
	OpReadWrite        = "read_write"
	OpReadRate         = "read_rate"
	OpWriteRate        = "write_rate"
	OpWriteRateFull    = "write_rate_full"
	OpWriteFull        = "write_full"
)

// Ops are what a row may ask. What each does is in docs/DEVICES.md.
func Ops() []string {
	return []string{
		OpRead, OpWrite, OpWriteFUA, OpWriteFlush, OpFlush, OpFlushShared, OpFlushN, OpFlushClean, OpChain, OpSync4k, OpSyncShared, OpSyncN,
		OpFsyncExt4, OpFsyncDataJournal, OpFsyncRocksdb, OpFdatasyncEtcd,
		OpReadWrite, OpReadRate, OpWriteRate, OpWriteRateFull, OpWriteFull,
	}
}

var (
	rowUnits    = []string{"us", "ms", "ops/s", "MB/s"}
	confidences = []string{"high", "medium", "low"}
	rowPatterns = []string{"", "sequential", "random"}
)

// The bounds of a row.
const (
	MaxRowJobs = 1024
	MaxRowSize = 1 << 20 // bytes
	MaxRowHost = time.Second
)

// Published returns the published figures that come with the package.
func Published() ([]Row, error) { return published() }

var published = sync.OnceValues(func() ([]Row, error) { return parsePublished("published.yaml", publishedFile) })

// publishedTable is the file of the published figures.
type publishedTable struct {
	// Sources are the rows' sources, each by the name that a row's source has.
	Sources map[string]string `yaml:"sources"`
	Rows    []Row             `yaml:"rows"`
}

func parsePublished(file string, data []byte) ([]Row, error) {
	doc, err := conf.Parse(file, data)
	if err != nil {
		return nil, err
	}
	var t publishedTable
	if err := doc.Decode(&t); err != nil {
		return nil, err
	}
	for i := range t.Rows {
		r := &t.Rows[i]
		text, ok := t.Sources[r.Source]
		if !ok {
			return nil, doc.Errorf(fmt.Sprintf("rows[%d].source", i), "expected a key of sources, got %q", r.Source)
		}
		r.Source = text
		if !slices.Contains(List(), r.Device) {
			return nil, doc.Errorf(fmt.Sprintf("rows[%d].device", i), "expected one of %s, got %q", strings.Join(List(), ", "), r.Device)
		}
	}
	if err := conf.Under("rows", validateRows(t.Rows)); err != nil {
		return nil, doc.Locate(err)
	}
	return t.Rows, nil
}

// validateRows checks rows that stand in one list.
func validateRows(rows []Row) error {
	ids := map[string]bool{}
	for i := range rows {
		at := fmt.Sprintf("[%d]", i)
		if err := rows[i].validate(); err != nil {
			return conf.Under(at, err)
		}
		if ids[rows[i].ID] {
			return conf.At(at+".id", "expected an id of its own for each row, got %q again", rows[i].ID)
		}
		ids[rows[i].ID] = true
	}
	return nil
}

func (r *Row) validate() error {
	switch {
	case r.ID == "" || strings.ContainsAny(r.ID, " \t\n") || text.Line(r.ID) != r.ID:
		return conf.At("id", "expected an id without blanks, got %q", r.ID)
	case !slices.Contains(Ops(), r.Op):
		return conf.At("op", "expected one of %s, got %q", strings.Join(Ops(), ", "), r.Op)
	case r.Jobs < 0 || r.Jobs > MaxRowJobs:
		return conf.At("jobs", "expected 1 to %d, got %d", MaxRowJobs, r.Jobs)
	case r.Size%512 != 0 || r.Size > MaxRowSize:
		return conf.At("size", "expected a multiple of 512 up to %v, got %v", units.Size(MaxRowSize), r.Size)
	case !slices.Contains(rowPatterns, r.Pattern):
		return conf.At("pattern", "expected sequential or random, got %q", r.Pattern)
	case !(r.From >= 0 && r.From < 100):
		return conf.At("from", "expected 0 up to 100, got %g", r.From)
	case r.hasOwnPattern() && (r.Size != 0 || r.Pattern != "" || r.From != 0):
		return conf.At("op", "expected no size, no pattern and no from with %s, which is a workload with its own", r.Op)
	case r.Host < 0 || r.Host > MaxRowHost:
		return conf.At("host", "expected 0 to %v, got %v", MaxRowHost, r.Host)
	case (r.Host > 0) != (r.HostSource != ""):
		return conf.At("host_source", "expected where the time of the host is from, and only with host, got %q", r.HostSource)
	case r.Host > 0 && r.Unit != "ops/s":
		return conf.At("host", "expected none with the unit %s: what the host takes is no part of a latency", r.Unit)
	case r.HostFrom != "" && r.Host == 0:
		return conf.At("host_from", "expected nothing without host, got %q", r.HostFrom)
	case (r.Op == OpSync4k || r.Op == OpSyncShared) && r.Size != 0 && r.Size != 4096:
		return conf.At("size", "expected 4KiB with %s, got %v", r.Op, r.Size)
	case len(r.Range) > 0 && (r.Value != 0 || len(r.Range) != 2 || !(r.Range[0] > 0 && r.Range[0] < r.Range[1])):
		return conf.At("published_range", "expected two figures, the lesser first, and no value, got %v", r.Range)
	case len(r.Range) == 0 && !(r.Value > 0):
		return conf.At("value", "expected more than 0, got %g", r.Value)
	case !slices.Contains(rowUnits, r.Unit):
		return conf.At("unit", "expected us, ms, ops/s or MB/s, got %q", r.Unit)
	case !(r.Tolerance > 0 && r.Tolerance < 1):
		return conf.At("tolerance", "expected more than 0 and less than 1, got %g", r.Tolerance)
	case r.Confidence != "" && !slices.Contains(confidences, r.Confidence):
		return conf.At("confidence", "expected high, medium or low, got %q", r.Confidence)
	case r.Source == "":
		return conf.At("source", "expected where the figure is from")
	}
	return nil
}

// String is the figure in words, such as "sync_4k, 16 jobs: 268030 ops/s".
func (r *Row) String() string {
	text := r.Op
	if r.Jobs > 1 {
		text += fmt.Sprintf(", %d jobs", r.Jobs)
	}
	if r.Size != 0 {
		text += fmt.Sprintf(", %v", r.Size)
	}
	if r.Pattern != "" {
		text += ", " + r.Pattern
	}
	if r.From != 0 {
		text += fmt.Sprintf(", from %g%%", r.From)
	}
	if r.Host != 0 {
		text += fmt.Sprintf(", %v of host", r.Host)
	}
	if len(r.Range) > 0 {
		return fmt.Sprintf("%s: %g to %g %s (%s)", text, r.Range[0], r.Range[1], r.Unit, r.ID)
	}
	return fmt.Sprintf("%s: %g %s (%s)", text, r.Value, r.Unit, r.ID)
}

// Nearest is the published figure with which a simulated one is compared: itself
// where it lies between those of two sources.
func (r *Row) Nearest(simulated float64) float64 {
	if len(r.Range) == 0 {
		return r.Value
	}
	return min(max(simulated, r.Range[0]), r.Range[1])
}

// hasOwnPattern reports whether the op is a workload profile.
func (r *Row) hasOwnPattern() bool {
	return strings.HasPrefix(r.Op, "fsync_") || strings.HasPrefix(r.Op, "fdatasync_")
}

// Rows are the published figures of the device: those that come with the
// package under its name, then those of the profile's file.
func (p *Profile) Rows() ([]Row, error) {
	all, err := Published()
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, r := range all {
		if r.Device == p.Name {
			rows = append(rows, r)
		}
	}
	for _, r := range p.Published {
		r.Device = p.Name
		rows = append(rows, r)
	}
	for i := range rows {
		if rows[i].Confidence == "" {
			rows[i].Confidence = p.Confidence
		}
	}
	return rows, nil
}

// KindOf computes what row r of the device can show, and which parameters it has
// set, by their paths, sorted. A row that has set the time of its own host, which
// is none of the device's parameters, is fitted as well.
func (p *Profile) KindOf(r *Row) (kind RowKind, sets []string) {
	for path, id := range p.Fitted {
		if id == r.ID {
			sets = append(sets, path)
		}
	}
	if r.HostFrom == r.ID {
		sets = append(sets, "host")
	}
	slices.Sort(sets)
	switch {
	case r.Formula != "":
		return Derived, sets
	case len(sets) > 0:
		return Fitted, sets
	}
	return Predicted, nil
}

// validateRows checks the profile's own rows, and that each of its Fitted is a
// parameter that has a value and names a measurement of this device.
func (p *Profile) validateRows() error {
	if err := conf.Under("published", validateRows(p.Published)); err != nil {
		return err
	}
	for i, r := range p.Published {
		if r.Device != "" && r.Device != p.Name {
			return conf.At(fmt.Sprintf("published[%d].device", i), "expected %s or nothing, got %q", p.Name, r.Device)
		}
	}
	rows, err := p.Rows()
	if err != nil {
		return err
	}
	all, err := Published()
	if err != nil {
		return err
	}
	for i, r := range rows {
		named := func(s Row) bool { return s.ID == r.HostFrom }
		if r.HostFrom != "" && !slices.ContainsFunc(rows, named) && !slices.ContainsFunc(all, named) {
			return conf.At("published", "expected host_from of %s to be the id of a published figure, got %q", r.ID, r.HostFrom)
		}
		if slices.ContainsFunc(rows[:i], func(s Row) bool { return s.ID == r.ID }) {
			return conf.At("published", "expected ids of their own, got %q, which another published figure of %s has", r.ID, p.Name)
		}
		if r.Op == OpWriteFUA && p.Advertise.FUA == "none" {
			return conf.At("advertise.fua", "expected native, as row %s measures write_fua", r.ID)
		}
	}
	return p.validateFitted(rows)
}

func (p *Profile) validateFitted(rows []Row) error {
	values := p.values()
	paths := make([]string, 0, len(p.Fitted))
	for path := range p.Fitted {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.ID == p.Fitted[path] })
		switch {
		case values[path] == "":
			return conf.At("fitted."+path, "expected a parameter that has a value")
		case i < 0:
			return conf.At("fitted."+path, "expected the id of a published figure of %s, got %q", p.Name, p.Fitted[path])
		case rows[i].Formula != "":
			return conf.At("fitted."+path, "expected a measurement, got %q, which is a formula", p.Fitted[path])
		}
	}
	return nil
}
