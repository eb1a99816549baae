package calibrate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"nbdbench/devices"
	"nbdbench/devices/catalog"
	"nbdbench/devices/layer"
	"nbdbench/internal/pool"
	"nbdbench/internal/stack"
	"nbdbench/internal/units"
	"nbdbench/sim"
	"nbdbench/workloads"
)

// CheckSchema names the document of a check.
const CheckSchema = "nbdbench/devices-check/v1"

// Check is published figures of devices beside what the models give.
type Check struct {
	Schema string     `json:"schema"`
	Rows   []CheckRow `json:"rows"`

	without []string // devices of which nothing is published
}

// CheckRow is one figure, published and simulated.
type CheckRow struct {
	Device    string  `json:"device"`
	Op        string  `json:"op"`
	Jobs      int     `json:"jobs"`
	Published float64 `json:"published"`
	// Range is what two sources have published that disagree; Published is then what
	// lies nearest to Simulated.
	Range      []float64       `json:"published_range,omitempty"`
	Simulated  float64         `json:"simulated"`
	Unit       string          `json:"unit"`
	Ratio      float64         `json:"ratio"` // simulated/published
	Tolerance  float64         `json:"tolerance"`
	OK         bool            `json:"ok"`
	Kind       catalog.RowKind `json:"kind"`
	Sets       []string        `json:"sets"` // the parameters that the figure has set
	Confidence string          `json:"confidence"`
	Source     string          `json:"source"`
}

// Out counts the rows that are out of tolerance.
func (c *Check) Out() (n int) {
	for i := range c.Rows {
		if !c.Rows[i].OK {
			n++
		}
	}
	return n
}

// How often a row asks: a disk is slow in virtual time only, but each FLUSH of
// its is a search among what is dirty.
const (
	checkOps     = 4000
	checkDiskOps = 400
	checkMixOps  = 1 << 16 // so that a cache fills and is destaged some times
)

// How much a row writes at most: of what nothing makes durable no more than a
// small cache takes, so that a row asks the cache and not what is behind it.
const (
	checkVolatile = 16 * units.MiB
	checkVolume   = 1 * units.GiB
	checkLeast    = 16 // commits, however much they write
)

// opsOf is how often row r asks its load. What is a rate of bytes may write more.
func opsOf(r *catalog.Row, w *workloads.Profile) uint64 {
	switch {
	case strings.Contains(r.Op, "_rate"):
		return checkOps
	case r.Op == catalog.OpReadWrite:
		return checkMixOps
	}
	volume, budget := units.Size(1), checkVolatile
	for _, s := range slices.Concat(w.Transaction, w.Between) {
		if s.Op != workloads.ActionRead {
			volume += s.Size * units.Size(max(s.Count, 1))
		}
		if s.Durable || s.Op == workloads.ActionFlush {
			budget = checkVolume
		}
	}
	return uint64(max(min(checkOps, budget/volume), checkLeast))
}

// checkSeed is of the spread of times and of the random addresses.
const checkSeed sim.Seed = 1

// CheckDevices measures every published figure of the profiles on their models,
// without a server or a wire, in virtual time. The result depends on nothing but
// the profiles. When ctx ends, so does it, with ctx's error.
func CheckDevices(ctx context.Context, profiles []*catalog.Profile) (*Check, error) {
	c := &Check{Schema: CheckSchema, Rows: []CheckRow{}}
	var asked []question
	for _, p := range profiles {
		rows, err := p.Rows()
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			c.without = append(c.without, p.Called())
		}
		for i := range rows {
			asked = append(asked, question{p: p, row: rows[i]})
		}
	}
	pool.Each(0, len(asked), func(i int) {
		q := &asked[i]
		q.simulated, q.err = measureRow(ctx, q.p, &q.row)
	})
	for i := range asked {
		q := &asked[i]
		if q.err != nil {
			return nil, fmt.Errorf("%s, %s: %w", q.p.Name, q.row.ID, q.err)
		}
		c.Rows = append(c.Rows, judge(q.p, &q.row, q.simulated))
	}
	return c, nil
}

// question is a row that is being measured.
type question struct {
	p         *catalog.Profile
	row       catalog.Row
	simulated float64
	err       error
}

// judge holds a simulated figure against the published one.
func judge(p *catalog.Profile, r *catalog.Row, simulated float64) CheckRow {
	kind, sets := p.KindOf(r)
	published := r.Nearest(simulated)
	ratio := simulated / published
	if len(r.Range) > 0 {
		published = digits(published, 6)
	}
	source := r.Source
	if kind == catalog.Derived {
		source = r.Formula + ": " + source
	}
	if r.Host > 0 {
		source = fmt.Sprintf("%s; with %v of host between two commits: %s", source, r.Host, r.HostSource)
	}
	if kind != catalog.Fitted {
		sets = []string{}
	}
	return CheckRow{
		Device: p.Called(), Op: r.Op, Jobs: max(r.Jobs, 1),
		Published: published, Range: r.Range, Simulated: digits(simulated, 6), Unit: r.Unit,
		Ratio: digits(ratio, 4), Tolerance: r.Tolerance, OK: math.Abs(ratio-1) <= r.Tolerance,
		Kind: kind, Sets: sets, Confidence: r.Confidence, Source: source,
	}
}

// digits rounds x, which is above 0, to n significant digits.
func digits(x float64, n int) float64 {
	if x <= 0 || math.IsInf(x, 0) {
		return x
	}
	scale := math.Pow10(n - 1 - int(math.Floor(math.Log10(x))))
	return math.Round(x*scale) / scale
}

// measureRow asks the model what row r asks, and returns the figure in r's unit.
func measureRow(ctx context.Context, p *catalog.Profile, r *catalog.Row) (float64, error) {
	load, err := loadOf(r)
	if err != nil {
		return 0, err
	}
	loop := sim.NewLoop()
	p, filled := prepared(p, r)
	model, err := p.Open(loop, catalog.Options{Seed: checkSeed})
	if err != nil {
		return 0, err
	}
	dev, err := asHost(model, loop, r)
	if err != nil {
		return 0, err
	}
	if err := stack.CanRun(&load, dev.Info()); err != nil {
		return 0, err
	}
	m := &meter{skip: uint64(load.QueueDepth) + filled/uint64(max(r.Size, 4*units.KiB)), bytes: float64(max(r.Size, 4*units.KiB))}
	ops := opsOf(r, &load)
	if p.Kind == "hdd" || r.Op == catalog.OpWriteFull {
		ops = min(ops, checkDiskOps)
	}
	runner, err := workloads.NewRunner(loop, dev, workloads.Config{Profile: load, Seed: checkSeed, Commits: m.skip + ops, Observer: m})
	if err != nil {
		return 0, err
	}
	runner.Start()
	for n := 1; !runner.Finished() && loop.Step(); n++ {
		if n%stack.InterruptEvery == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	if err := runner.Err(); err != nil {
		return 0, err
	}
	if m.failed != devices.OK {
		return 0, m.failed
	}
	return m.figure(r.Unit), ctx.Err()
}

// shrink is how much smaller a drive is on which what happens at a full pSLC
// region is measured, so that filling it does not take the row's time.
const shrink = 64

// prepared is the profile on which row r is measured, and how many bytes have to
// be written before what it asks has set in: the write cache is full, and with
// write_rate_full the pSLC region, of a drive that is smaller in all of it.
func prepared(p *catalog.Profile, r *catalog.Row) (*catalog.Profile, uint64) {
	if !slices.Contains([]string{catalog.OpWriteRate, catalog.OpWriteRateFull, catalog.OpWriteFull, catalog.OpReadWrite}, r.Op) {
		return p, 0
	}
	filled := 2 * uint64(p.Cache.Capacity)
	if p.RAID != nil {
		filled = uint64(p.RAID.Capacity + p.RAID.Capacity/128) // and what the disk takes meanwhile
	}
	if r.Op == catalog.OpWriteFull && p.SSD != nil && p.SSD.Drain > 0 {
		q, s := *p, *p.SSD
		s.Precondition = "random"
		q.SSD = &s
		return &q, filled
	}
	if r.Op != catalog.OpWriteRateFull || p.SSD == nil || p.SSD.Flash == nil {
		return p, filled
	}
	q, s, f := *p, *p.SSD, *p.SSD.Flash
	q.Size = p.Size / shrink / 4096 * 4096
	f.SLC /= shrink
	s.Flash = &f
	q.SSD = &s
	return &q, filled + uint64(f.SLC)
}

// asHost is the device as the host sees it that the figure was measured on: to
// one without FUA a FLUSH after each durable write, which with sync_shared is one
// that jobs share as in Linux; fdatasync of a file that grows is a write and a
// FLUSH in any case.
func asHost(model devices.Device, loop *sim.Loop, r *catalog.Row) (devices.Device, error) {
	if r.Op == catalog.OpFlushShared {
		return layer.BlkFlush(model, loop, layer.ClientSide)
	}
	if i := model.Info(); !i.CanFlush || i.FUA != devices.FUANone && r.Op != catalog.OpFdatasyncEtcd {
		return model, nil
	}
	if r.Op == catalog.OpSyncShared {
		return layer.BlkFlush(model, loop, layer.ClientSide)
	}
	return layer.Emulate(model, loop, layer.ClientSide)
}

// rowWorkloads are the ops that are workload profiles.
var rowWorkloads = map[string]string{"fsync_ext4": "ext4-journal"}

// loadOf is what row r asks, as a workload.
func loadOf(r *catalog.Row) (workloads.Profile, error) {
	jobs := uint32(max(r.Jobs, 1))
	w := workloads.Profile{Name: r.Op}
	if r.Op == catalog.OpFsyncDataJournal {
		w = dataJournal()
	} else if r.Op == catalog.OpFsyncRocksdb {
		w = rocksdbLog()
	} else if r.Op == catalog.OpFdatasyncEtcd {
		w = etcdLog()
	} else if name := rowWorkloads[r.Op]; name != "" {
		var err error
		if w, err = workloads.Get(name); err != nil {
			return w, err
		}
	} else {
		w.Transaction, w.Between = rawSteps(r)
		if r.From > 0 {
			w.Regions = []workloads.Region{{Name: "from", Offset: workloads.Amount{Percent: r.From}}}
		}
		if r.Op == catalog.OpFlushN || r.Op == catalog.OpSyncN {
			jobs = 1 // and as many extents
		}
	}
	if len(w.Transaction) == 0 {
		return w, fmt.Errorf("no workload for %q", r.Op)
	}
	return w.With(workloads.Override{QueueDepth: jobs, Think: units.Duration(r.Host)}), nil
}

// rawSteps are the requests of an op on the device itself, and those between.
func rawSteps(r *catalog.Row) (transaction, between []workloads.Step) {
	write := workloads.Step{Op: workloads.ActionWrite, Size: max(r.Size, 4*units.KiB), Pattern: workloads.Pattern(r.Pattern)}
	if r.From > 0 {
		write.Region = "from"
	}
	read, durable, dirty := write, write, write
	read.Op = workloads.ActionRead
	durable.Durable = true
	dirty.Count, dirty.Parallel = 1, true
	if r.Op == catalog.OpFlushN || r.Op == catalog.OpSyncN {
		dirty.Count = uint32(max(r.Jobs, 1))
	}
	flush := workloads.Step{Op: workloads.ActionFlush}
	switch r.Op {
	case catalog.OpRead, catalog.OpReadRate:
		transaction = []workloads.Step{read}
	case catalog.OpReadWrite:
		transaction = []workloads.Step{read, write}
	case catalog.OpWrite, catalog.OpWriteRate, catalog.OpWriteRateFull, catalog.OpWriteFull:
		transaction = []workloads.Step{write}
	case catalog.OpWriteFUA, catalog.OpSync4k, catalog.OpSyncShared:
		transaction = []workloads.Step{durable}
	case catalog.OpWriteFlush, catalog.OpFlushShared:
		transaction = []workloads.Step{write, flush}
	case catalog.OpChain:
		transaction = []workloads.Step{write, flush, durable}
	case catalog.OpFlush, catalog.OpFlushN:
		transaction, between = []workloads.Step{flush}, []workloads.Step{dirty}
	case catalog.OpFlushClean:
		transaction = []workloads.Step{flush}
	case catalog.OpSyncN:
		durable.Size = 4 * units.KiB
		transaction, between = []workloads.Step{durable}, []workloads.Step{flush, dirty}
	}
	return transaction, between
}

// dataJournal is fsync on ext4 with data=journal: what ext4-journal writes in
// place goes to the journal, in one write with the descriptor and the metadata;
// then a FLUSH and the commit record. That the data is written in place one day is left
// out: a block that is written again and again is so once for many commits.
func dataJournal() workloads.Profile {
	record := workloads.Step{Op: workloads.ActionWrite, Size: 4 * units.KiB, Region: "journal"}
	blocks := record
	blocks.Size = 16 * units.KiB
	record.Durable = true
	return workloads.Profile{
		Name:        "fsync_data_journal",
		Regions:     []workloads.Region{{Name: "journal", AtMost: 128 * units.MiB}},
		Transaction: []workloads.Step{blocks, {Op: workloads.ActionFlush}, record},
	}
}

// rocksdbLog is a synced write of RocksDB on ext4: a record at the end of its
// log in one file, which grows by it, so that the journal is committed as well:
// a descriptor and two blocks of metadata, a FLUSH, the commit record.
func rocksdbLog() workloads.Profile {
	journal := workloads.Step{Op: workloads.ActionWrite, Size: 4 * units.KiB, Region: "journal"}
	blocks, record := journal, journal
	blocks.Count, blocks.Parallel = 3, true
	record.Durable = true
	return workloads.Profile{
		Name: "fsync_rocksdb",
		Regions: []workloads.Region{
			{Name: "journal", AtMost: 128 * units.MiB},
			{Name: "log", Offset: workloads.Amount{Percent: 10}, AtMost: 64 * units.MiB},
		},
		Transaction: []workloads.Step{
			{Op: workloads.ActionWrite, Size: 4 * units.KiB, Record: 1 * units.KiB, Region: "log", Pattern: workloads.PatternAppend},
			blocks,
			{Op: workloads.ActionFlush},
			record,
		},
	}
}

// etcdLog is an entry of etcd's log and its fdatasync: 2300 bytes at the end of
// a file, and the inode that says how long it is now. Two I/Os: on gp3, 2.1 were
// counted for each.
func etcdLog() workloads.Profile {
	return workloads.Profile{
		Name: "fdatasync_etcd",
		Regions: []workloads.Region{
			{Name: "inode", AtMost: 1 * units.MiB},
			{Name: "log", Offset: workloads.Amount{Percent: 10}, AtMost: 64 * units.MiB},
		},
		Transaction: []workloads.Step{
			{Op: workloads.ActionWrite, Size: 4 * units.KiB, Record: 2300, Region: "log", Pattern: workloads.PatternAppend},
			{Op: workloads.ActionWrite, Size: 4 * units.KiB, Region: "inode"},
			{Op: workloads.ActionFlush},
		},
	}
}

// meter is a workloads.Observer that measures commits, once each job has had one:
// before that, queues are filling and caches are clean.
type meter struct {
	skip, seen  uint64
	bytes       float64 // of a commit
	first, last sim.Time
	sum         sim.Duration
	failed      devices.Errno // of the first commit that failed
}

func (*meter) Submit(*devices.Request) {}

// Op takes no part: what counts is the commit.
func (*meter) Op(*devices.Request) {}

// Commit counts one.
func (m *meter) Commit(c *devices.Commit) {
	m.seen++
	m.last = c.Acked
	if m.failed == devices.OK {
		m.failed = c.Errno
	}
	if m.seen <= m.skip {
		m.first = c.Acked
		return
	}
	m.sum += c.Acked.Sub(c.Intended)
}

// figure is what was measured: a rate, or the mean latency of a commit.
func (m *meter) figure(unit string) float64 {
	n := float64(m.seen - m.skip)
	switch unit {
	case "ops/s":
		return n / m.last.Sub(m.first).Seconds()
	case "MB/s":
		return n * m.bytes / 1e6 / m.last.Sub(m.first).Seconds()
	case "ms":
		return m.sum.Seconds() * 1e3 / n
	}
	return m.sum.Seconds() * 1e6 / n
}
