package fiojob

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// job is a section as its settings say.
type job struct {
	section *Section
	name    string

	engine string
	read   bool // some requests are
	write  bool
	trim   bool
	random bool
	every  string // :N of rw: "", a count of requests, or bytes to leave out

	bs      [directions]uint64
	bsMax   [directions]uint64 // 0 is bs
	split   [directions][]share
	align   uint64
	mixRead uint64 // percent

	depth   uint64
	batch   uint64
	low     uint64
	copies  uint64
	think   time.Duration
	thinkN  uint64
	rate    [directions]uint64 // bytes a second
	iops    [directions]uint64
	poisson bool

	file      string
	files     int
	size      amount
	fileSize  amount
	ioSize    uint64
	offset    amount
	increment uint64
	nrfiles   uint64
	perFile   bool // file_service_type is not random
	number    uint64
	loops     uint64

	runtime   time.Duration
	timeBased bool
	ramp      time.Duration
	delay     time.Duration
	stonewall bool

	durable  bool
	fsync    uint64
	syncKey  string // of fsync
	endFsync bool

	noMap        bool
	distribution string // of random: "" is even
	parameter    float64
	zones        [directions][]share
	randomShare  [directions]uint64 // percent; 100 is all
}

// share is a part and its weight: of bssplit a size, of zones a percentage.
type share struct {
	of     uint64
	weight float64
}

func newJob(s *Section) *job {
	return &job{
		section: s, name: s.Name, engine: "psync", read: true, files: 1,
		bs: [directions]uint64{4096, 4096, 4096}, mixRead: 50, depth: 1, batch: 1, copies: 1,
		nrfiles: 1, loops: 1, thinkN: 1, randomShare: [directions]uint64{100, 100, 100},
	}
}

// synchronous are engines that have one request at a time, whatever iodepth says,
// and queueing those that have iodepth of them.
var (
	synchronous = fields("sync psync vsync pvsync pvsync2 splice")
	queueing    = fields("libaio io_uring io_uring_cmd posixaio solarisaio windowsaio nbd sg rbd rados libiscsi null")
)

func fields(s string) map[string]bool {
	out := map[string]bool{}
	for _, f := range strings.Fields(s) {
		out[f] = true
	}
	return out
}

// inFlight is how many requests the job has in flight.
func (j *job) inFlight() uint64 {
	if synchronous[j.engine] {
		return 1
	}
	return j.depth
}

// direction is the index of the job's requests in values with commas, and the
// other one of a mix.
func (j *job) direction() int {
	switch {
	case j.read:
		return 0
	case j.write:
		return 1
	}
	return 2
}

// mixed reports whether the job reads and writes by chance.
func (j *job) mixed() bool { return j.read && j.write }

// handlers take a setting into a job. An error is why the setting is refused.
var handlers map[string]func(j *job, s *Setting) error

func init() {
	handlers = map[string]func(j *job, s *Setting) error{
		"rw":       (*job).setRW,
		"ioengine": (*job).setEngine,
		"bs": func(j *job, s *Setting) error {
			j.bsMax = [directions]uint64{}
			return triple(&j.bs, 1)(j, s)
		},
		"bsrange":             (*job).setRange,
		"bssplit":             (*job).setSplit,
		"ba":                  func(j *job, s *Setting) error { return count(&j.align, 1)(j, s) },
		"rwmixread":           func(j *job, s *Setting) error { return percent(&j.mixRead, false)(j, s) },
		"rwmixwrite":          func(j *job, s *Setting) error { return percent(&j.mixRead, true)(j, s) },
		"iodepth":             func(j *job, s *Setting) error { return count(&j.depth, 1)(j, s) },
		"iodepth_batch":       func(j *job, s *Setting) error { return count(&j.batch, 1)(j, s) },
		"iodepth_low":         func(j *job, s *Setting) error { return count(&j.low, 1)(j, s) },
		"numjobs":             func(j *job, s *Setting) error { return count(&j.copies, 1)(j, s) },
		"thinktime":           func(j *job, s *Setting) error { return duration(&j.think, time.Microsecond)(j, s) },
		"thinktime_blocks":    func(j *job, s *Setting) error { return count(&j.thinkN, 1)(j, s) },
		"rate":                func(j *job, s *Setting) error { return triple(&j.rate, 0)(j, s) },
		"rate_iops":           func(j *job, s *Setting) error { return triple(&j.iops, 0)(j, s) },
		"filename":            (*job).setFilename,
		"size":                func(j *job, s *Setting) error { return anAmount(&j.size)(j, s) },
		"filesize":            func(j *job, s *Setting) error { return anAmount(&j.fileSize)(j, s) },
		"io_size":             func(j *job, s *Setting) error { return count(&j.ioSize, 0)(j, s) },
		"offset":              func(j *job, s *Setting) error { return anAmount(&j.offset)(j, s) },
		"offset_increment":    func(j *job, s *Setting) error { return count(&j.increment, 0)(j, s) },
		"nrfiles":             func(j *job, s *Setting) error { return count(&j.nrfiles, 1)(j, s) },
		"number_ios":          func(j *job, s *Setting) error { return count(&j.number, 0)(j, s) },
		"loops":               func(j *job, s *Setting) error { return count(&j.loops, 1)(j, s) },
		"runtime":             func(j *job, s *Setting) error { return duration(&j.runtime, time.Second)(j, s) },
		"ramp_time":           func(j *job, s *Setting) error { return duration(&j.ramp, time.Second)(j, s) },
		"startdelay":          func(j *job, s *Setting) error { return duration(&j.delay, time.Second)(j, s) },
		"time_based":          func(j *job, s *Setting) error { return toggle(&j.timeBased, true)(j, s) },
		"stonewall":           func(j *job, s *Setting) error { return toggle(&j.stonewall, true)(j, s) },
		"norandommap":         func(j *job, s *Setting) error { return toggle(&j.noMap, true)(j, s) },
		"end_fsync":           func(j *job, s *Setting) error { return toggle(&j.endFsync, false)(j, s) },
		"fsync_on_close":      func(j *job, s *Setting) error { return toggle(&j.endFsync, false)(j, s) },
		"writefua":            func(j *job, s *Setting) error { return toggle(&j.durable, false)(j, s) },
		"fsync":               (*job).setFsync,
		"fdatasync":           (*job).setFsync,
		"sync":                (*job).setSync,
		"random_distribution": (*job).setDistribution,
		"percentage_random":   func(j *job, s *Setting) error { return triple(&j.randomShare, 0)(j, s) },
		"rate_process": func(j *job, s *Setting) error {
			j.poisson = s.Value == "poisson"
			return oneOf(s, "linear", "poisson")
		},
		"thinktime_blocks_type": func(_ *job, s *Setting) error { return oneOf(s, "issue", "complete") },
		"kb_base":               func(_ *job, s *Setting) error { return oneOf(s, "1024") },
		"name": func(j *job, s *Setting) error {
			j.name = s.Value
			return nil
		},
		"file_service_type": func(j *job, s *Setting) error {
			j.perFile = s.Value != "random"
			return oneOf(s, "random", "roundrobin")
		},
	}
}

func oneOf(s *Setting, values ...string) error {
	for _, v := range values {
		if s.Value == v {
			return nil
		}
	}
	return fmt.Errorf("expected %s, got %q", strings.Join(values, " or "), short(s.Value))
}

type handler func(j *job, s *Setting) error

func triple(to *[directions]uint64, least uint64) handler {
	return func(_ *job, s *Setting) error {
		v, err := parseTriple(s.Value)
		for i, n := range v {
			switch {
			case err != nil:
				return err
			case n != 0:
				to[i] = n
			case !strings.HasPrefix(s.Value, ",") && n < least:
				return fmt.Errorf("expected at least %d, got %q", least, short(s.Value))
			case least == 0 && !strings.HasPrefix(s.Value, ","):
				to[i] = 0
			}
		}
		return err
	}
}

func count(to *uint64, least uint64) handler {
	return func(_ *job, s *Setting) error {
		n, err := parseSize(s.Value)
		if err == nil && n < least {
			err = fmt.Errorf("expected at least %d, got %d", least, n)
		}
		*to = n
		return err
	}
}

func percent(to *uint64, other bool) handler {
	return func(_ *job, s *Setting) error {
		n, err := strconv.ParseUint(s.Value, 10, 64)
		if err != nil || n > 100 {
			return fmt.Errorf("expected a whole percentage from 0 to 100, got %q", short(s.Value))
		}
		if other {
			n = 100 - n
		}
		*to = n
		return nil
	}
}

func duration(to *time.Duration, bare time.Duration) handler {
	return func(_ *job, s *Setting) (err error) {
		*to, err = parseTime(s.Value, bare)
		return err
	}
}

func anAmount(to *amount) handler {
	return func(_ *job, s *Setting) (err error) {
		*to, err = parseAmount(s.Value)
		return err
	}
}

func toggle(to *bool, mayBeBare bool) handler {
	return func(_ *job, s *Setting) (err error) {
		*to, err = parseSwitch(s, mayBeBare)
		return err
	}
}

func (j *job) setRW(s *Setting) error {
	kind, every, has := strings.Cut(s.Value, ":")
	what, random := strings.CutPrefix(kind, "rand")
	j.read, j.write, j.trim, j.random = false, false, false, random
	switch what {
	case "read":
		j.read = true
	case "write":
		j.write = true
	case "trim":
		j.trim = true
	case "rw":
		j.read, j.write = true, true
	case "readwrite":
		j.read, j.write = true, true
	case "trimwrite":
		j.trim, j.write = true, true
	default:
		return fmt.Errorf("expected read, write, trim, rw or trimwrite, or one of them with rand before it, got %q", short(s.Value))
	}
	if kind == "randreadwrite" {
		return fmt.Errorf("expected randrw, got %q", short(s.Value))
	}
	if has && (every != "1" || !random) {
		j.every = every
	}
	return nil
}

func (j *job) setEngine(s *Setting) error {
	j.engine = s.Value
	if synchronous[j.engine] || queueing[j.engine] {
		return nil
	}
	j.engine = "psync"
	return fmt.Errorf("expected an engine of block I/O, got %q", short(s.Value))
}

// setRange reads MIN-MAX, with commas between directions.
func (j *job) setRange(s *Setting) error {
	parts := strings.Split(s.Value, ",")
	if len(parts) > directions {
		return fmt.Errorf("expected at most %d ranges, got %q", directions, short(s.Value))
	}
	for i := range j.bs {
		low, high, ok := strings.Cut(parts[min(i, len(parts)-1)], "-")
		a, err := parseSize(low)
		b, err2 := parseSize(high)
		if !ok || err != nil || err2 != nil || a == 0 || b < a {
			return fmt.Errorf("expected MIN-MAX, got %q", short(s.Value))
		}
		j.bs[i], j.bsMax[i] = a, b
	}
	return nil
}

// maxShares is fio's bound of the parts of bssplit.
const maxShares = 64

func (j *job) setSplit(s *Setting) (err error) {
	j.split, err = shares(s.Value, parseSize)
	return err
}

// shares reads A/PERCENT:B/PERCENT, with commas between directions. Parts without
// a percentage have equal parts of the rest.
func shares(s string, of func(string) (uint64, error)) (out [directions][]share, err error) {
	parts := strings.Split(s, ",")
	if len(parts) > directions {
		return out, fmt.Errorf("expected at most %d lists, got %q", directions, short(s))
	}
	for i := range out {
		out[i], err = oneShares(parts[min(i, len(parts)-1)], of)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func oneShares(s string, of func(string) (uint64, error)) (out []share, err error) {
	parts := strings.Split(s, ":")
	if len(parts) > maxShares {
		return nil, fmt.Errorf("expected at most %d parts, got %d", maxShares, len(parts))
	}
	sum, open := 0.0, 0
	for _, p := range parts {
		a, b, _ := strings.Cut(p, "/")
		v, err := of(a)
		w, err2 := strconv.ParseUint(b, 10, 7)
		if b == "" {
			w, err2, open = math.MaxUint64, nil, open+1
		}
		if err != nil || err2 != nil || v == 0 {
			return nil, fmt.Errorf("expected VALUE/PERCENT with : between, got %q", short(s))
		}
		if b != "" {
			sum += float64(w)
		}
		out = append(out, share{v, float64(w)})
	}
	if sum > 100 || open == 0 && sum != 100 {
		return nil, fmt.Errorf("expected percentages of 100 together, got %v in %q", sum, short(s))
	}
	for i := range out {
		if out[i].weight > 100 {
			out[i].weight = (100 - sum) / float64(open)
		}
	}
	return out, nil
}

func (j *job) setFilename(s *Setting) error {
	j.file = s.Value
	j.files = 1
	for i := range len(s.Value) {
		if s.Value[i] == ':' && (i == 0 || s.Value[i-1] != '\\') {
			j.files++
		}
	}
	if s.Value == "" {
		return fmt.Errorf("expected the name of a file")
	}
	return nil
}

func (j *job) setFsync(s *Setting) error {
	if j.fsync > 0 {
		return fmt.Errorf("expected only one of fsync and fdatasync: %s is there already", j.syncKey)
	}
	j.syncKey = s.Key
	return count(&j.fsync, 0)(j, s)
}

func (j *job) setSync(s *Setting) error {
	switch s.Value {
	case "0", "none":
		return nil
	case "1", "sync", "dsync":
		j.durable = true
		return nil
	}
	return fmt.Errorf("expected none, sync, dsync, 0 or 1, got %q", short(s.Value))
}

func (j *job) setDistribution(s *Setting) (err error) {
	name, rest, has := strings.Cut(s.Value, ":")
	j.distribution, j.parameter = name, 0
	bad := fmt.Errorf("expected random, zipf:THETA with THETA below 1, pareto:H, normal:PERCENT or zoned:..., got %q", short(s.Value))
	number := func(least, most, otherwise float64) error {
		j.parameter = otherwise
		if has {
			j.parameter, err = strconv.ParseFloat(rest, 64)
		}
		if err != nil || !(j.parameter > least && j.parameter < most) {
			return bad
		}
		return nil
	}
	switch name {
	case "random":
		j.distribution = ""
		return nil
	case "zipf":
		return number(0, 1, 1.1) // fio's own value is not below 1
	case "pareto":
		return number(0, 0.5, 0.2)
	case "normal":
		return number(0, 100, 0)
	case "zoned":
		return j.setZones(rest)
	}
	return bad
}

// setZones reads ACCESSES/PERCENT:..., of which the first number is a weight.
func (j *job) setZones(s string) (err error) {
	var of [directions][]share
	if of, err = shares(s, func(v string) (uint64, error) { return strconv.ParseUint(v, 10, 7) }); err != nil {
		return err
	}
	for d, list := range of {
		sum := uint64(0)
		for i, z := range list {
			of[d][i] = share{uint64(math.Round(z.weight)), float64(z.of)}
			sum += z.of
		}
		if sum != 100 {
			return fmt.Errorf("expected accesses of 100%% together, got %d%%", sum)
		}
	}
	j.zones = of
	return nil
}
