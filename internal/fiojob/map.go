package fiojob

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"nbdbench/internal/conf"
)

// Verdict is what becomes of a setting.
type Verdict int

// The verdicts, the stronger ones later: a setting of [global] has the strongest
// that any job gives it.
const (
	Ignored Verdict = iota
	Exact
	Refused
)

func (v Verdict) String() string { return [...]string{"ignored", "exact", "refused"}[v] }

// Finding is the verdict on one setting.
type Finding struct {
	*Setting
	Verdict Verdict
	Why     string // may be empty where it is exact
}

// Mapping is what becomes of a job file.
type Mapping struct {
	File     *File
	Findings []Finding // one for each setting, in the order of the file
	Notes    []string  // about the plan as a whole
	plan     string
}

// mapper makes a Mapping.
type mapper struct {
	Mapping
	verdicts map[*Setting]Finding
	jobs     []*job
}

// Map maps the jobs of a file onto a plan.
func Map(f *File) *Mapping {
	m := &mapper{Mapping: Mapping{File: f}, verdicts: map[*Setting]Finding{}}
	for _, s := range f.Jobs {
		m.jobs = append(m.jobs, m.job(s))
	}
	plan := m.makePlan()
	for _, s := range f.Settings {
		finding, ok := m.verdicts[s]
		if !ok {
			finding = Finding{s, Ignored, "no job has it in force"}
			if why, bad := m.unknown(s); bad {
				finding = Finding{s, Refused, why}
			}
		}
		m.Findings = append(m.Findings, finding)
	}
	if m.Refused() == nil {
		m.plan = plan.text(f.Name)
	}
	return &m.Mapping
}

// unknown is why a key is refused whatever its job.
func (m *mapper) unknown(s *Setting) (why string, bad bool) {
	if _, ok := handlers[s.Key]; ok || harmless[s.Key] != "" {
		return "", false
	}
	if why, ok := refused[s.Key]; ok {
		return why, !noEffect[s.Value]
	}
	return "not known, so it may change the requests" + hint(s.Key), true
}

func hint(key string) string {
	if key == "start_delay" {
		return "; fio's key is startdelay"
	}
	return ""
}

// Plan is the plan in YAML; empty where a setting is refused.
func (m *Mapping) Plan() string { return m.plan }

// Refused is the first setting that is refused as a *conf.Error, or nil.
func (m *Mapping) Refused() error {
	for _, f := range m.Findings {
		if f.Verdict == Refused {
			return f.errorf("%s: %s", &f, f.Why)
		}
	}
	return nil
}

// Report writes a line for each setting, then the notes and the numbers.
func (m *Mapping) Report(w io.Writer) error {
	var b strings.Builder
	var counts [Refused + 1]int
	for _, f := range m.Findings {
		counts[f.Verdict]++
		fmt.Fprintf(&b, "%v: %v: %v", f.Place, f.Verdict, f.Setting)
		if f.Why != "" {
			fmt.Fprintf(&b, ": %s", f.Why)
		}
		b.WriteByte('\n')
	}
	for _, n := range m.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "%d exact, %d ignored, %d refused\n", counts[Exact], counts[Ignored], counts[Refused])
	_, err := io.WriteString(w, b.String())
	return err
}

// note adds a note once.
func (m *mapper) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(m.Notes, n) {
		m.Notes = append(m.Notes, n)
	}
}

// give gives a setting a verdict, unless it has a stronger one.
func (m *mapper) give(s *Setting, v Verdict, why string) {
	if old, ok := m.verdicts[s]; !ok || v > old.Verdict {
		m.verdicts[s] = Finding{s, v, why}
	}
}

// refuse refuses the first of the keys that the job has, or the section itself:
// a place that a report can name.
func (m *mapper) refuse(j *job, why string, keys ...string) {
	for _, k := range keys {
		if s := j.section.last(k); s != nil {
			m.give(s, Refused, why)
			return
		}
	}
	s := &Setting{Place: j.section.Place, Key: "", Alias: "[" + j.section.Name + "]", Bare: true}
	m.Findings = append(m.Findings, Finding{s, Refused, why})
}

// together are keys of which the last one in the file is in force.
var together = map[string]string{"bsrange": "bs", "rwmixwrite": "rwmixread"}

// job takes a section's settings.
func (m *mapper) job(s *Section) *job {
	j := newJob(s)
	inForce := map[string]*Setting{}
	for _, t := range s.Settings {
		key := cmp.Or(together[t.Key], t.Key)
		if old := inForce[key]; old != nil {
			m.give(old, Ignored, "a later one is in force")
		}
		inForce[key] = t
	}
	for _, t := range s.Settings {
		if inForce[cmp.Or(together[t.Key], t.Key)] == t {
			m.setting(j, t)
		}
	}
	m.check(j)
	return j
}

func (m *mapper) setting(j *job, s *Setting) {
	if why, bad := m.unknown(s); bad {
		m.give(s, Refused, why)
		return
	}
	if why := harmless[s.Key]; why != "" && handlers[s.Key] == nil {
		m.give(s, Ignored, why)
		return
	}
	h := handlers[s.Key]
	if h == nil {
		m.give(s, Exact, "of no effect")
		return
	}
	if s.Bare && !mayBeBare[s.Key] {
		m.give(s, Refused, "expected a value, as fio does")
		return
	}
	if err := h(j, s); err != nil {
		m.give(s, Refused, err.Error())
		return
	}
	m.give(s, Exact, "")
}

var mayBeBare = map[string]bool{"time_based": true, "stonewall": true, "norandommap": true}

// check refuses what a job's settings come to together.
func (m *mapper) check(j *job) {
	for _, rule := range []func(*job) (why string, keys []string){
		checkPlace, checkSizes, checkCommit, checkPace, checkFiles,
	} {
		if why, keys := rule(j); why != "" {
			m.refuse(j, why, keys...)
		}
	}
	if synchronous[j.engine] && j.depth > 1 {
		m.verdicts[j.section.last("iodepth")] = Finding{j.section.last("iodepth"), Ignored, "engine " + j.engine + " has one request at a time"}
	}
}

// checkPlace is about where requests go.
func checkPlace(j *job) (string, []string) {
	d := j.direction()
	switch {
	case j.mixed() && !j.random:
		return "reads and writes would go through the file by themselves, each in order", []string{"rw"}
	case j.trim && j.write && j.random:
		return "each write would go to where a trim at random has been", []string{"rw"}
	case j.every != "" && j.random:
		return "several requests in order after each jump", []string{"rw"}
	case j.every != "" && (j.trim && j.write || len(j.split[d]) > 0 || j.bsMax[d] > j.bs[d]):
		return "a distance between blocks of one size", []string{"rw"}
	case j.random && j.align != 0 && j.align != j.bs[d]:
		return fmt.Sprintf("expected the block size, %d: requests are aligned to it", j.bs[d]), []string{"ba"}
	case !j.random:
		return "", nil
	case j.distribution == "normal" && j.parameter == 0:
		return "expected normal:PERCENT", []string{"random_distribution"}
	case j.mixed() && (!slices.Equal(j.zones[0], j.zones[1]) || j.randomShare[0] != j.randomShare[1]):
		return "expected the same for reads and writes", []string{"random_distribution", "percentage_random"}
	case j.randomShare[d] > 100:
		return "expected a percentage", []string{"percentage_random"}
	case j.randomShare[d] != 100 && (j.distribution != "" || j.mixed() || len(j.split[d]) > 0):
		return "expected requests of one kind and size, and no random_distribution", []string{"percentage_random"}
	}
	return "", nil
}

// The bounds of a plan, which checks them too.
const (
	maxTransfer = 32 << 20
	maxExtent   = 1<<32 - 1
	maxCount    = 2048 // writes of one commit
	maxDepth    = 1 << 14
	sector      = 512
)

// checkSizes is about how long requests are.
func checkSizes(j *job) (string, []string) {
	d := j.direction()
	most, bound := max(j.bs[d], j.bsMax[d]), uint64(maxTransfer)
	for _, s := range j.split[d] {
		most = max(most, s.of)
	}
	if j.trim && !j.write {
		bound = maxExtent
	}
	keys := []string{"bssplit", "bsrange", "bs"}
	switch {
	case most > bound:
		return fmt.Sprintf("expected at most %d bytes in one request", bound), keys
	case j.mixed() && (j.bs[0] != j.bs[1] || j.bsMax[0] != j.bsMax[1] || !slices.Equal(j.split[0], j.split[1])):
		return "expected one size for reads and writes: both are draws of one step", keys
	case j.trim && j.write && (j.bs[1] != j.bs[2] || len(j.split[d]) > 0 || j.bsMax[d] > j.bs[d]):
		return "expected one size for trims and writes", keys
	case j.trim && j.bs[2]%sector != 0:
		return fmt.Sprintf("expected a multiple of %d bytes for trim", sector), keys
	case j.bsMax[d] > j.bs[d] && (j.bsMax[d]%j.bs[d] != 0 || j.bs[d]%sector != 0):
		return fmt.Sprintf("expected multiples of the smallest, and that one of %d bytes", sector), keys
	}
	for _, s := range j.split[d] {
		if s.of%sector != 0 {
			return fmt.Sprintf("expected multiples of %d bytes", sector), keys
		}
	}
	return "", nil
}

// checkCommit is about what makes writes durable.
func checkCommit(j *job) (string, []string) {
	key := []string{cmp.Or(j.syncKey, "fsync")}
	switch {
	case j.fsync == 0 || !j.write:
		return "", nil
	case j.inFlight() > 1:
		return fmt.Sprintf("expected iodepth=1 with it: fio's engine %s does not wait for the writes in flight before it flushes, so nothing is a commit", j.engine), key
	case j.mixed():
		return "expected only writes with it: a commit would have a varying number of reads", key
	case j.fsync > maxCount || j.trim && j.fsync > 64:
		return fmt.Sprintf("expected at most %d writes in one commit", maxCount), key
	case j.think > 0:
		return "expected none with " + j.syncKey + ": fio pauses between the write and its flush", []string{"thinktime"}
	case j.fsync > 1 && j.rated():
		return "expected none with several writes in one commit: fio paces each write", []string{"rate_iops", "rate"}
	}
	if n := j.requests(); n > 0 && n%j.fsync != 0 && !j.timeBased && j.runtime == 0 {
		return fmt.Sprintf("expected a whole number of commits: %d writes are not a multiple of %d", n, j.fsync), key
	}
	return "", nil
}

func (j *job) rated() bool { return j.rate[j.direction()]+j.iops[j.direction()] > 0 }

// checkPace is about when requests are sent.
func checkPace(j *job) (string, []string) {
	d := j.direction()
	switch {
	case j.depth > maxDepth:
		return fmt.Sprintf("expected at most %d", maxDepth), []string{"iodepth"}
	case j.copies > 1024:
		return "expected at most 1024", []string{"numjobs"}
	case j.inFlight() > 1 && j.batch != 1:
		return "expected 1: requests are sent one by one", []string{"iodepth_batch"}
	case j.inFlight() > 1 && j.low != 0 && j.low != j.depth:
		return "expected iodepth: the queue is kept full", []string{"iodepth_low"}
	case j.think > 0 && j.inFlight() > 1:
		return "expected one request at a time with it: fio pauses while others are in flight", []string{"thinktime"}
	case j.think > 0 && j.thinkN != 1:
		return "expected 1: each transaction is followed by the pause", []string{"thinktime_blocks"}
	case j.think > 0 && j.rated():
		return "expected no pauses beside a rate", []string{"thinktime"}
	case j.rated() && (j.mixed() || j.trim && j.write):
		return "expected requests of one kind with a rate: each kind would have one of its own", []string{"rate_iops", "rate"}
	case j.rate[d] > 0 && j.iops[d] > 0:
		return "expected only one of rate and rate_iops", []string{"rate_iops"}
	case j.rate[d] > 0 && (len(j.split[d]) > 0 || j.bsMax[d] > j.bs[d]):
		return "expected requests of one size: a rate in bytes is none of requests", []string{"rate"}
	}
	return "", nil
}

// checkFiles is about the job's part of the device.
func checkFiles(j *job) (string, []string) {
	switch {
	case (j.nrfiles > 1 || j.files > 1) && !j.random:
		return "several files in turns: expected one, or random requests", []string{"nrfiles", "filename"}
	case j.files > 1 && strings.HasPrefix(j.file, "/dev/"):
		return "expected one device", []string{"filename"}
	case j.offset.bytes%sector != 0 || j.increment%sector != 0:
		return fmt.Sprintf("expected a multiple of %d bytes", sector), []string{"offset_increment", "offset"}
	case (j.size.percent != 0 || j.offset.percent != 0) && j.increment != 0:
		return "expected bytes beside percentages", []string{"offset_increment"}
	case j.size.percent+j.offset.percent > 100:
		return "expected a part within the device", []string{"offset"}
	case !j.size.none() && j.size.percent == 0 && j.size.bytes < j.bs[j.direction()]:
		return "expected at least one block", []string{"size"}
	}
	return "", nil
}

// requests is how many requests each copy of the job sends, loops apart; 0 is not
// known, because the device's size decides it.
func (j *job) requests() uint64 {
	d := j.direction()
	mean := float64(j.bs[d])
	if j.bsMax[d] > 0 {
		mean = float64(j.bs[d]+j.bsMax[d]) / 2
	}
	if list := j.split[d]; len(list) > 0 {
		mean = 0
		for _, s := range list {
			mean += float64(s.of) * s.weight / 100
		}
	}
	bytes := cmp.Or(j.ioSize, j.size.bytes, j.fileSize.bytes)
	n := uint64(float64(bytes) / mean)
	switch {
	case j.number == 0:
		return n
	case n == 0:
		return j.number
	}
	return min(n, j.number)
}

var _ error = (*conf.Error)(nil)
