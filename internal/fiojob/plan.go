package fiojob

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plan is what the jobs come to.
type plan struct {
	regions  []region
	streams  []stream
	phases   [][]string
	commits  uint64 // 0 is the plan's own
	duration time.Duration
	warmup   time.Duration
}

type region struct {
	name         string
	offset, size amount // a size of none is all that follows
}

type stream struct {
	name         string
	count        uint64
	depth        uint64
	rate         float64 // transactions a second
	poisson      bool
	think, delay time.Duration
	transactions uint64
	steps        []string
	commits      bool
}

// The bounds of a plan's profile.
const (
	maxStreams = 64
	grain      = 4096
)

func (m *mapper) makePlan() *plan {
	p := &plan{}
	l := m.layOut()
	for i, j := range m.jobs {
		if i == 0 || j.stonewall {
			p.phases = append(p.phases, nil)
		}
		m.addJob(p, l, j)
	}
	m.addEndings(p)
	m.bound(p)
	if len(p.streams) > maxStreams || len(p.regions) > maxStreams || len(p.phases) > maxStreams {
		m.refuse(m.jobs[len(m.jobs)-1], fmt.Sprintf("expected at most %d streams, regions and phases in one plan", maxStreams), "numjobs")
	}
	return p
}

// layout is where each file lies on the device.
type layout struct {
	start map[string]uint64
	whole map[string]bool
}

// fileOf is the name of the job's file: without a filename each job has its own.
func (j *job) fileOf() string {
	if j.file != "" {
		return j.file
	}
	return fmt.Sprintf("\x00%d:%d", j.section.Line, j.section.Column)
}

// extent is how many bytes of the device the job's file has; 0 is all.
func (j *job) extent() uint64 {
	length := cmp.Or(j.fileSize.bytes, j.size.bytes)
	if j.size.bytes > length {
		length = j.size.bytes
	}
	if length == 0 || j.size.percent != 0 {
		return 0
	}
	copies := j.copies
	if j.increment != 0 {
		return j.offset.bytes + (copies-1)*j.increment + length
	}
	if j.file != "" {
		copies = 1
	}
	return j.offset.bytes + ceil(length, grain)*copies
}

func ceil(n, of uint64) uint64 { return (n + of - 1) / of * of }

// layOut puts files one after another. A file without a size is the device.
func (m *mapper) layOut() *layout {
	l := &layout{start: map[string]uint64{}, whole: map[string]bool{}}
	need := map[string]uint64{}
	var order []string
	device := ""
	for _, j := range m.jobs {
		f := j.fileOf()
		if !slices.Contains(order, f) {
			order = append(order, f)
		}
		if j.extent() == 0 {
			l.whole[f] = true
		}
		if strings.HasPrefix(j.file, "/dev/") || l.whole[f] && j.file != "" {
			if device != "" && device != f {
				m.refuse(j, "expected one device, got another than "+device, "filename")
			}
			device = f
		}
		need[f] = max(need[f], j.extent())
	}
	at := uint64(0)
	for _, f := range order {
		if !l.whole[f] {
			l.start[f] = at
			at += ceil(need[f], grain)
		}
	}
	return l
}

// addJob adds a job's streams. Copies that go through one file in order, each from
// its beginning, are streams of their own, as are copies with parts of their own.
func (m *mapper) addJob(p *plan, l *layout, j *job) {
	shared := j.file != "" && !j.random && j.copies > 1
	if shared || j.increment != 0 {
		for i := range min(j.copies, maxStreams+1) {
			m.addStream(p, l, j, i, 1)
		}
		return
	}
	m.addStream(p, l, j, 0, j.copies)
}

func (m *mapper) addStream(p *plan, l *layout, j *job, part, count uint64) {
	s := stream{name: p.streamName(j.name), count: count, depth: j.inFlight(), think: j.think, delay: j.delay, poisson: j.poisson}
	d := j.direction()
	if j.rated() {
		s.rate = float64(j.iops[d])
		if j.rate[d] > 0 {
			s.rate = float64(j.rate[d]) / float64(j.bs[d])
		}
	}
	where := p.regionOf(j, l, part, count)
	s.steps = j.steps(where, p)
	s.commits = j.write && (j.durable || j.fsync > 0)
	n := j.requests() * j.loops
	if j.write && j.fsync > 0 {
		n /= j.fsync
	}
	if !j.timeBased || j.runtime == 0 {
		s.transactions = n
	}
	last := len(p.phases) - 1
	p.phases[last] = append(p.phases[last], s.name)
	p.streams = append(p.streams, s)
}

// streamName makes a name of a job's: without blanks and what has a meaning in
// names of cells and flags, and of its own.
func (p *plan) streamName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune("=,/", r) {
			return '-'
		}
		return r
	}, name)
	if len(clean) > 100 {
		clean = clean[:100]
	}
	clean = cmp.Or(strings.Trim(clean, "-"), "job")
	out := clean
	for i := 1; slices.ContainsFunc(p.streams, func(s stream) bool { return s.name == out }); i++ {
		out = clean + "." + strconv.Itoa(i)
	}
	return out
}

// regionOf is the region of one copy of a job, or of so many; empty is the device.
func (p *plan) regionOf(j *job, l *layout, part, count uint64) string {
	f := j.fileOf()
	r := region{offset: j.offset, size: j.size}
	if j.size.none() {
		r.size = j.fileSize
		if j.fileSize.bytes > j.offset.bytes {
			r.size.bytes -= j.offset.bytes
		}
	}
	if r.offset.percent == 0 {
		r.offset.bytes += l.start[f] + part*j.increment
	}
	if r.size.bytes > 0 {
		r.size.bytes = r.size.bytes / sector * sector
		if j.file == "" && count > 1 {
			r.size.bytes = ceil(r.size.bytes, grain) * count
		}
	}
	if r.offset.none() && (r.size.none() || r.size.percent == 100) {
		return ""
	}
	return p.region(r, j.name)
}

func (p *plan) region(r region, name string) string {
	for _, old := range p.regions {
		if old.offset == r.offset && old.size == r.size {
			return old.name
		}
	}
	return p.newRegion(r, name)
}

func (p *plan) newRegion(r region, name string) string {
	r.name = strconv.Itoa(len(p.regions))
	if base := p.streamName(path.Base(name)); !slices.ContainsFunc(p.regions, func(o region) bool { return o.name == base }) {
		r.name = base
	} else {
		r.name = base + "." + r.name
	}
	p.regions = append(p.regions, r)
	return r.name
}

// steps are a transaction's: a request, or as many writes as a commit has and its
// flush.
func (j *job) steps(where string, p *plan) (out []string) {
	times := max(j.fsync, 1)
	if !j.write {
		times = 1
	}
	if j.trim && j.write {
		other := where
		whole := region{name: where}
		for _, r := range p.regions {
			if r.name == where {
				whole = r
			}
		}
		other = p.newRegion(whole, cmp.Or(where, "device"))
		for range min(times, 64) {
			out = append(out, "{op: trim"+j.bytes(2)+place(other)+"}", "{op: write"+j.durably()+j.bytes(1)+place(where)+"}")
		}
	} else {
		out = append(out, j.step(where, times))
	}
	if j.write && j.fsync > 0 {
		out = append(out, "{op: flush}")
	}
	return out
}

// step is one step of so many requests.
func (j *job) step(where string, times uint64) string {
	var b strings.Builder
	switch {
	case j.mixed():
		fmt.Fprintf(&b, "{op: mix, mix: {read: %d, write: %d}", j.mixRead, 100-j.mixRead)
	case j.read:
		b.WriteString("{op: read")
	case j.write:
		b.WriteString("{op: write")
	default:
		b.WriteString("{op: trim")
	}
	if j.write {
		b.WriteString(j.durably())
	}
	b.WriteString(j.bytes(j.direction()))
	if times > 1 {
		fmt.Fprintf(&b, ", count: %d", times)
	}
	b.WriteString(j.pattern())
	b.WriteString(place(where))
	b.WriteByte('}')
	return b.String()
}

func (j *job) durably() string {
	if j.durable {
		return ", durable: true"
	}
	return ""
}

// bytes is the size of a request in that direction.
func (j *job) bytes(d int) string {
	if list := j.split[d]; len(list) > 0 {
		var parts []string
		for _, s := range list {
			if s.weight > 0 {
				parts = append(parts, fmt.Sprintf("{size: %s, weight: %s}", sizeText(s.of), float(s.weight)))
			}
		}
		return ", split: [" + strings.Join(parts, ", ") + "]"
	}
	out := ", size: " + sizeText(j.bs[d])
	if j.bsMax[d] > j.bs[d] {
		out += ", max_size: " + sizeText(j.bsMax[d])
	}
	return out
}

func place(where string) string {
	if where == "" {
		return ""
	}
	return ", region: " + strconv.Quote(where)
}

// pattern is how places are chosen. Without norandommap fio takes each block once
// before it takes any again.
func (j *job) pattern() string {
	d := j.direction()
	switch {
	case !j.random && j.every != "":
		skip, err := parseSize(j.every)
		if err != nil || skip == 0 {
			return ", pattern: sequential"
		}
		return ", pattern: stride, stride: " + sizeText(j.bs[d]+skip)
	case !j.random:
		return ", pattern: sequential"
	case j.distribution == "zipf":
		return ", pattern: zipf, theta: " + float(j.parameter)
	case j.distribution == "pareto":
		return ", pattern: pareto, h: " + float(j.parameter)
	case j.distribution == "normal":
		return ", pattern: normal, deviation: " + float(j.parameter)
	case j.distribution == "zoned":
		var parts []string
		for _, z := range j.zones[d] {
			parts = append(parts, fmt.Sprintf("{percent: %d, weight: %s}", z.of, float(z.weight)))
		}
		return ", pattern: zoned, zones: [" + strings.Join(parts, ", ") + "]"
	case j.randomShare[d] == 0:
		return ", pattern: sequential"
	case j.randomShare[d] != 100:
		return fmt.Sprintf(", pattern: sequential, random_percent: %d", j.randomShare[d])
	case j.noMap || len(j.split[d]) > 0 || j.bsMax[d] > j.bs[d] || j.bs[d]%sector != 0:
		return ", pattern: random"
	}
	return ", pattern: shuffled"
}

func float(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// sizeText is a number of bytes in the largest binary unit of which it is a whole
// multiple.
func sizeText(n uint64) string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB", "PiB"}
	i := 0
	for ; n != 0 && n%1024 == 0 && i < len(units)-1; i++ {
		n /= 1024
	}
	return strconv.FormatUint(n, 10) + units[i]
}

// addEndings adds the flush at the end of jobs that have one: a phase after theirs.
func (m *mapper) addEndings(p *plan) {
	any, all := false, true
	for _, j := range m.jobs {
		ends := j.endFsync && j.write
		any, all = any || ends, all && ends
	}
	if !any {
		return
	}
	for _, j := range m.jobs {
		switch {
		case !j.endFsync || !j.write:
		case len(m.jobs) > 1 || j.copies > 1:
			m.refuse(j, "expected one job with it: only a phase, of all jobs, can end with a flush", "end_fsync", "fsync_on_close")
		default:
			s := stream{name: p.streamName(j.name + ".end"), count: 1, depth: 1, transactions: 1, steps: []string{"{op: flush}"}, commits: true}
			p.streams = append(p.streams, s)
			p.phases = append(p.phases, []string{s.name})
		}
	}
}

// bound decides when the plan ends, which is one instant for all jobs of a phase.
func (m *mapper) bound(p *plan) {
	known := true
	for _, j := range m.jobs {
		if j.runtime > 0 {
			if p.duration != 0 && p.duration != j.runtime {
				m.refuse(j, fmt.Sprintf("expected %v as with the jobs before: a plan has one duration", p.duration), "runtime")
			}
			p.duration = j.runtime
		}
		if j.ramp > 0 {
			if p.warmup != 0 && p.warmup != j.ramp {
				m.refuse(j, fmt.Sprintf("expected %v as with the jobs before: a plan has one warm-up", p.warmup), "ramp_time")
			}
			p.warmup = j.ramp
		}
		known = known && (j.requests() > 0)
	}
	for _, j := range m.jobs {
		if p.duration > 0 && j.runtime == 0 {
			m.note("job %s has no runtime and ends with the plan's duration at the latest, which is that of other jobs", j.name)
		}
	}
	if p.duration > 0 {
		return
	}
	if !known {
		m.note("fio ends after one pass over the device; the plan has the default number of commits")
		for i := range p.streams {
			if len(p.phases) == 1 {
				p.streams[i].transactions = 0
			}
		}
		return
	}
	p.commits = p.total()
}

// total is how many commits the longest phase has.
func (p *plan) total() (most uint64) {
	for _, names := range p.phases {
		sum, some := uint64(0), false
		for _, s := range p.streams {
			some = some || s.commits && slices.Contains(names, s.name)
		}
		for _, s := range p.streams {
			if slices.Contains(names, s.name) && (s.commits || !some) {
				sum += s.transactions * s.count
			}
		}
		most = max(most, sum)
	}
	return most
}

// oneStream reports whether the plan is one stream that needs no list of them. One that
// has several in flight and ends after a number does: a run keeps the load up until its
// last commit is done, and would request more.
func (p *plan) oneStream() bool {
	s := &p.streams[0]
	return len(p.streams) == 1 && s.count == 1 && s.delay == 0 && (s.transactions == 0 || s.depth <= 1) && p.phases != nil
}

// text is the plan as YAML.
func (p *plan) text(file string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s, as nbdbench import fio-job has read it.\n", strings.Map(printable, path.Base(file)))
	b.WriteString("workloads:\n  - profile:\n")
	name := strings.TrimSuffix(path.Base(file), path.Ext(file))
	fmt.Fprintf(&b, "      name: %s\n      source: fio job\n", strconv.Quote((&plan{}).streamName(name)))
	if p.oneStream() {
		p.streams[0].transactions = 0
		p.streams[0].write(&b, "      ", "")
	} else {
		b.WriteString("      streams:\n")
		for i := range p.streams {
			s := &p.streams[i]
			fmt.Fprintf(&b, "        - name: %s\n", strconv.Quote(s.name))
			s.write(&b, "          ", "count")
		}
		p.writePhases(&b)
	}
	p.writeRegions(&b)
	switch {
	case p.duration > 0:
		fmt.Fprintf(&b, "duration: %v\n", p.duration)
	case p.commits > 0:
		fmt.Fprintf(&b, "commits: %d\n", p.commits)
	}
	if p.warmup > 0 {
		fmt.Fprintf(&b, "warmup: %v\n", p.warmup)
	}
	return b.String()
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

func (p *plan) writePhases(b *strings.Builder) {
	if len(p.phases) < 2 {
		return
	}
	b.WriteString("      phases:\n")
	for _, names := range p.phases {
		quoted := make([]string, len(names))
		for i, n := range names {
			quoted[i] = strconv.Quote(n)
		}
		fmt.Fprintf(b, "        - streams: [%s]\n", strings.Join(quoted, ", "))
	}
}

func (p *plan) writeRegions(b *strings.Builder) {
	if len(p.regions) == 0 {
		return
	}
	b.WriteString("      regions:\n")
	for _, r := range p.regions {
		fmt.Fprintf(b, "        - {name: %s, offset: %v", strconv.Quote(r.name), r.offset)
		if !r.size.none() {
			fmt.Fprintf(b, ", size: %v", r.size)
		}
		b.WriteString("}\n")
	}
}

// write writes a stream's keys.
func (s *stream) write(b *strings.Builder, indent, counted string) {
	if counted != "" && s.count > 1 {
		fmt.Fprintf(b, "%scount: %d\n", indent, s.count)
	}
	if s.depth > 1 {
		fmt.Fprintf(b, "%squeue_depth: %d\n", indent, s.depth)
	}
	if s.rate > 0 {
		arrival := "constant"
		if s.poisson {
			arrival = "poisson"
		}
		fmt.Fprintf(b, "%sarrival: %s\n%srate: %s/s\n", indent, arrival, indent, strconv.FormatFloat(s.rate, 'f', -1, 64))
	}
	if s.think > 0 {
		fmt.Fprintf(b, "%sthink: %v\n", indent, s.think)
	}
	if s.delay > 0 {
		fmt.Fprintf(b, "%sstart_delay: %v\n", indent, s.delay)
	}
	if s.transactions > 0 {
		fmt.Fprintf(b, "%stransactions: %d\n", indent, s.transactions)
	}
	fmt.Fprintf(b, "%stransaction:\n", indent)
	for _, step := range s.steps {
		fmt.Fprintf(b, "%s  - %s\n", indent, step)
	}
}
