package results

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"

	"nbdbench/devices"
	"nbdbench/internal/atomicfile"
	"nbdbench/internal/host"
	"nbdbench/internal/input"
	"nbdbench/internal/text"
	"nbdbench/sim"
)

// FileShard is the file of a directory that has a Shard.
const FileShard = "shard.json.gz"

// SchemaShard names the format of FileShard.
const SchemaShard = "nbdbench/shard/v1"

// MaxShards bounds the parts of a plan.
const MaxShards = 1 << 16

// Shard is a part of a plan's runs, with all that was recorded of each: the shards of a
// plan come to the document that one run of the plan has, byte for byte.
type Shard struct {
	Schema string `json:"schema"`
	Index  int    `json:"shard"` // from 1
	Of     int    `json:"of"`
	// Run is the document without cells.
	Run   *Run          `json:"run"`
	Cells []*CellConfig `json:"cells"` // of which it has runs
	Runs  []ShardRun    `json:"runs"`
}

// ShardRun is one run of one cell.
type ShardRun struct {
	Cell string // the id of the cell
	Run  int    // from 0
	// Unsupported or Invalid is why there is no Result.
	Unsupported, Invalid string
	Advertised           *Advertised
	Result               *RunResult
}

// ShardError says that directories do not have all shards of a plan.
type ShardError struct {
	Missing []int
	Of      int
}

func (e *ShardError) Error() string {
	return fmt.Sprintf("expected all %d shards of the plan, missing: %s", e.Of, numbers(e.Missing))
}

// numbers lists ascending numbers, a range as 3-7.
func numbers(n []int) (s string) {
	for i := 0; i < len(n); i++ {
		first := i
		for i+1 < len(n) && n[i+1] == n[i]+1 {
			i++
		}
		if s != "" {
			s += ", "
		}
		if s += fmt.Sprint(n[first]); i > first {
			s += fmt.Sprintf("-%d", n[i])
		}
	}
	return s
}

// SaveShard stores a shard in the directory.
func (p *Pending) SaveShard(s *Shard) error {
	err := atomicfile.Write(p.path(FileShard), func(w io.Writer) error {
		z := gzip.NewWriter(w)
		e := json.NewEncoder(z)
		e.SetEscapeHTML(false) // what is stored as it is must stay so
		return errors.Join(e.Encode(s), z.Close())
	})
	if err != nil {
		return errors.Join(err, p.Discard())
	}
	return errors.Join(os.Remove(p.path(FileUnfinished)), host.SyncDir(p.dir), p.marker.Close())
}

// IsShard reports whether dir has a shard.
func IsShard(dir string) bool { return exists(filepath.Join(dir, FileShard)) }

// ReadShard reads the shard in dir. The error is a *FileError.
func ReadShard(dir string) (*Shard, error) {
	path := filepath.Join(dir, FileShard)
	s, err := readShard(path)
	if err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	return s, nil
}

func readShard(path string) (*Shard, error) {
	f, err := input.Open(path, MaxDocument)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	in := &io.LimitedReader{R: z, N: MaxDocument}
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	s := new(Shard)
	if err = d.Decode(s); err == nil { // to the end, which has the check sum
		_, err = io.Copy(io.Discard, in)
	}
	switch {
	case err != nil && in.N == 0:
		return nil, fmt.Errorf("expected at most %d bytes", MaxDocument)
	case err != nil:
		return nil, err
	}
	return s, s.check()
}

// check tests what the types cannot say.
func (s *Shard) check() error {
	switch {
	case s.Schema != SchemaShard:
		return fmt.Errorf("schema: expected %q, got %q", SchemaShard, s.Schema)
	case s.Of < 1 || s.Of > MaxShards || s.Index < 1 || s.Index > s.Of:
		return fmt.Errorf("shard, of: expected a shard from 1 to their number, at most %d, got %d of %d", MaxShards, s.Index, s.Of)
	case s.Run == nil || len(s.Run.Cells) > 0:
		return errors.New("run: expected a document without cells")
	}
	if err := s.Run.check(); err != nil {
		return fmt.Errorf("run.%w", err)
	}
	for _, profiles := range []map[string]*Stored{s.Run.Devices, s.Run.Workloads} {
		for name, p := range profiles {
			if p == nil || len(p.Profile) == 0 {
				return fmt.Errorf("run: expected a profile of %s", text.Line(name))
			}
		}
	}
	for i, c := range s.Cells {
		if c == nil || text.Line(c.ID) != c.ID {
			return fmt.Errorf("cells[%d]: expected a cell with an id", i)
		}
	}
	for i := range s.Runs {
		if err := s.Runs[i].check(s.Cells); err != nil {
			return fmt.Errorf("runs[%d]: %w", i, err)
		}
	}
	return nil
}

func (r *ShardRun) check(cells []*CellConfig) error {
	switch {
	case !slices.ContainsFunc(cells, func(c *CellConfig) bool { return c.ID == r.Cell }):
		return fmt.Errorf("cell: expected one of cells, got %q", r.Cell)
	case r.Result == nil && r.Unsupported == "" && r.Invalid == "":
		return errors.New("expected a result, or why there is none")
	}
	return nil
}

// shardDistribution is a Distribution in a shard, without loss.
type shardDistribution struct {
	Count    int64      `json:"count"`
	Overflow int64      `json:"overflow"`
	Sum      uint64     `json:"sum_ns"`
	Squares  [2]uint64  `json:"squares"` // of which the first has the upper 64 bits
	Min      int64      `json:"min_ns"`
	Max      int64      `json:"max_ns"`
	Buckets  [][2]int64 `json:"buckets"` // the highest value, and the count
}

// MarshalJSON writes what UnmarshalJSON reads.
func (d *Distribution) MarshalJSON() ([]byte, error) {
	s := shardDistribution{d.n, d.overflow, d.sum, d.squares, d.min, d.max, make([][2]int64, len(d.buckets))}
	for i, b := range d.buckets {
		s.Buckets[i] = [2]int64{b.value, b.count}
	}
	return json.Marshal(&s)
}

// UnmarshalJSON refuses what no histogram can hold.
func (d *Distribution) UnmarshalJSON(text []byte) error {
	var s shardDistribution
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	*d = Distribution{moments: moments{s.Count, s.Overflow, s.Sum, s.Squares, s.Min, s.Max}}
	left, last := s.Count, int64(-1)
	for i, b := range s.Buckets {
		if b[0] <= last || b[1] < 1 || b[1] > left {
			return fmt.Errorf("buckets[%d]: expected a value beyond the last one, and of %d at least one, got %v", i, left, b)
		}
		last, left = b[0], left-b[1]
		d.buckets = append(d.buckets, bucket{b[0], b[1]})
	}
	if left != 0 || s.Min < 0 || s.Min > s.Max || s.Overflow < 0 || s.Overflow > s.Count || !d.possible() {
		return errors.New("expected the count, sum, squares, minimum and maximum of the buckets")
	}
	return nil
}

// maxSquares bounds the upper half of a sum of squares, so that as many as a plan may
// have of them can be added.
const maxSquares = 1 << 50

// possible reports whether sum and squares can be those of so many values: the variance
// is not negative.
func (m *moments) possible() bool {
	if m.squares[0] >= maxSquares || m.sum >= maxSum {
		return false
	}
	squares := new(big.Int).Lsh(new(big.Int).SetUint64(m.squares[0]), 64)
	squares.Add(squares, new(big.Int).SetUint64(m.squares[1])).Mul(squares, big.NewInt(m.n))
	sum := new(big.Int).SetUint64(m.sum)
	return squares.Cmp(sum.Mul(sum, sum)) >= 0
}

// maxSum bounds a run's sum of latencies likewise: 208 days. A run with more of them is
// not stored as a part of a shard.
const maxSum = 1 << 54

// shardResult is a RunResult in a shard.
type shardResult struct {
	Seed       sim.Seed                     `json:"seed"`
	Elapsed    sim.Duration                 `json:"elapsed_ns"`
	Commit     *Distribution                `json:"commit"`
	Service    *Distribution                `json:"service"`
	Lag        *Distribution                `json:"lag"`
	Lateness   *Distribution                `json:"lateness"`
	Ops        [numOperations]*Distribution `json:"ops"`
	Wire       Wire                         `json:"wire"`
	Bytes      uint64                       `json:"bytes"`
	Errors     Errors                       `json:"errors"`
	Stages     *devices.Stages              `json:"stages"`
	Hops       *devices.HopTimes            `json:"hops,omitempty"`
	Device     *devices.Stats               `json:"device"`
	Calls      *PluginCalls                 `json:"plugin_calls"`
	Durability *Durability                  `json:"durability"`
	Halves     [4]int64                     `json:"halves"` // cuts and losses in each half of the window
	Load       LoadCounts                   `json:"load"`
	Streams    []shardStream                `json:"streams"`
	Intervals  []Interval                   `json:"intervals"`
	Raw        []RawCommit                  `json:"raw"`
	Partial    bool                         `json:"partial"`
	Short      bool                         `json:"short"`
	Warnings   []string                     `json:"warnings"`
	Mismatches int64                        `json:"mismatches"`
	Backwards  int64                        `json:"backwards"`
}

// shardStream is a StreamResult in a shard.
type shardStream struct {
	StreamConfig
	Elapsed sim.Duration
	Commit  *Distribution
	Wire    Wire
	Bytes   uint64
	Ops     [numOperations]*Distribution
}

// MarshalJSON writes what UnmarshalJSON reads. Late, which real time alone has, is not
// part of it.
func (r *RunResult) MarshalJSON() ([]byte, error) {
	s := shardResult{
		Seed: r.Seed, Elapsed: r.Elapsed, Commit: r.Commit, Service: r.Service, Lag: r.Lag, Lateness: r.Lateness, Ops: r.ops,
		Wire: r.Wire, Bytes: r.Bytes, Errors: r.Errors, Stages: r.Stages, Hops: r.Hops, Device: r.Device, Calls: r.Calls,
		Durability: r.Durability, Load: r.Load, Intervals: r.Intervals, Raw: r.Raw, Partial: r.Partial, Short: r.Short,
		Warnings: r.Warnings, Mismatches: r.mismatches, Backwards: r.backwards,
	}
	if d := r.Durability; d != nil {
		s.Halves = [4]int64{d.halves[0].cuts, d.halves[0].lost, d.halves[1].cuts, d.halves[1].lost}
	}
	for _, t := range r.Streams {
		s.Streams = append(s.Streams, shardStream{t.StreamConfig, t.Elapsed, t.Commit, t.Wire, t.Bytes, t.ops})
	}
	return json.Marshal(&s)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (r *RunResult) UnmarshalJSON(text []byte) error {
	var s shardResult
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s.Commit == nil {
		return errors.New("commit: expected a distribution")
	}
	*r = RunResult{
		Seed: s.Seed, Elapsed: s.Elapsed, Commit: s.Commit, Service: s.Service, Lag: s.Lag, Lateness: s.Lateness, ops: s.Ops,
		Wire: s.Wire, Bytes: s.Bytes, Errors: s.Errors, Stages: s.Stages, Hops: s.Hops, Device: s.Device, Calls: s.Calls,
		Durability: s.Durability, Load: s.Load, Intervals: s.Intervals, Raw: s.Raw, Partial: s.Partial, Short: s.Short,
		Warnings: s.Warnings, mismatches: s.Mismatches, backwards: s.Backwards,
	}
	if d := r.Durability; d != nil {
		d.halves = [2]halfLoss{{s.Halves[0], s.Halves[1]}, {s.Halves[2], s.Halves[3]}}
	}
	for i := range s.Streams {
		t := &s.Streams[i]
		if t.Commits && t.Commit == nil {
			return fmt.Errorf("streams[%d].Commit: expected a distribution", i)
		}
		r.Streams = append(r.Streams, &StreamResult{t.StreamConfig, t.Elapsed, t.Commit, t.Wire, t.Bytes, t.Ops})
	}
	return nil
}

// AddShardRuns gives the cell its runs, in their order: all of them, without a gap.
func (c *Cell) AddShardRuns(runs []*ShardRun) error {
	for i, r := range runs {
		switch {
		case r.Unsupported != "":
			c.Unsupported(r.Unsupported)
			return nil
		case r.Invalid != "":
			c.Invalid(r.Invalid)
			return nil
		case i > 0 && len(r.Result.Streams) != len(c.runs[0].Streams):
			return fmt.Errorf("cell %s, run %d: expected %d streams, as in run 0, got %d", c.ID, r.Run, len(c.runs[0].Streams), len(r.Result.Streams))
		}
		if r.Advertised != nil {
			c.Advertised = r.Advertised
		}
		c.Add(r.Result)
	}
	return nil
}
