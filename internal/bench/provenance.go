package bench

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"nbdbench/devices/catalog"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/internal/target"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
	"nbdbench/results"
	"nbdbench/workloads"
)

// provenance is what a plan's names mean.
type provenance struct {
	// from is the stored run that the plan is of, nil for another: what it has of
	// devices and workloads takes the place of the catalog's and of files.
	from *results.Run
	// bases are the workloads as their profiles have them, without the plan's load.
	bases []workloads.Profile
	// devices and workloads are all that the plan's cells are made with.
	devices, workloads map[string]*results.Stored

	storages map[string]*opened // the host's storage, by path, while the plan is run
	target   *results.Target    // as it was met; one run at a time writes it
	// promises are what nbdkit's plugin says of itself, and server is its version.
	promises *target.Promises
	server   string
}

// openDevice opens device i of the plan.
func (p *Plan) openDevice(i int) (*catalog.Profile, error) {
	if p.storageOf(i) != "" {
		return nil, nil
	}
	if stack.IsPlugin(p.Devices[i]) {
		return pluginProfile(p.Devices[i]), nil
	}
	if p.kept.from != nil && p.kept.from.Devices != nil {
		return p.storedDevice(i)
	}
	at := fmt.Sprintf("devices[%d]", i)
	prof, err := catalog.Load(p.Devices[i])
	return prof, conf.Under(at, err)
}

// openWorkload opens workload i of the plan, without and with the load that is given
// beside its name. Those of single streams are part of both.
func (p *Plan) openWorkload(i int) (base, w workloads.Profile, err error) {
	ref := p.Workloads[i]
	if p.kept.from != nil && p.kept.from.Workloads != nil {
		base, err = p.storedWorkload(i)
	} else {
		base, err = ref.Open()
		err = conf.Under(fmt.Sprintf("workloads[%d]", i), err)
	}
	if err != nil {
		return base, w, err
	}
	if base, err = base.WithStreams(ref.Streams); err != nil {
		return base, w, conf.Under(fmt.Sprintf("workloads[%d]", i), err)
	}
	if base, err = p.withStreams(base); err != nil {
		return base, w, err
	}
	w = base.With(ref.Override)
	if err := w.Validate(); err != nil {
		return base, w, conf.Under(fmt.Sprintf("workloads[%d]", i), fmt.Errorf("workload %s: %w", ref.Name, err))
	}
	return base, w, nil
}

// withStreams is the profile with the plan's loads of single streams that it has.
func (p *Plan) withStreams(w workloads.Profile) (workloads.Profile, error) {
	ours := map[string]workloads.Override{}
	for name, o := range p.Streams {
		if w.HasStream(name) {
			ours[name] = o
		}
	}
	w, err := w.WithStreams(ours)
	if err == nil && len(ours) > 0 {
		err = w.Validate()
	}
	return w, conf.Under("workload "+w.Name, err)
}

// remember keeps the profiles, which loads and profiles have opened, as the document
// has them, and returns what the cells' devices and workloads are called.
func (p *Plan) remember(profiles []*catalog.Profile, names []string) (devices, loads []string, err error) {
	p.kept.devices, p.kept.workloads = map[string]*results.Stored{}, map[string]*results.Stored{}
	for i, prof := range profiles {
		label := cmp.Or(p.storageOf(i), p.targetLabel())
		switch {
		case prof == nil:
		case stack.IsPlugin(p.Devices[i]):
			label = p.Devices[i]
		default:
			if label, err = p.rememberDevice(i, prof); err != nil {
				return nil, nil, fmt.Errorf("device %s: %w", prof.Name, err)
			}
		}
		devices = append(devices, label)
	}
	for i, name := range names {
		label, err := p.rememberWorkload(i, name)
		if err != nil {
			return nil, nil, fmt.Errorf("workload %s: %w", name, err)
		}
		loads = append(loads, label)
	}
	return devices, loads, nil
}

func (p *Plan) rememberDevice(i int, prof *catalog.Profile) (label string, err error) {
	from := ""
	if catalog.IsPath(p.Devices[i]) {
		from = p.Devices[i]
	}
	text, err := prof.Document()
	if err != nil {
		return "", err
	}
	if p.kept.devices[prof.Name], err = results.NewStored(from, text); err != nil {
		return "", err
	}
	return prof.Label(from)
}

func (p *Plan) rememberWorkload(i int, name string) (label string, err error) {
	base, from := p.kept.bases[i], p.Workloads[i].Name
	if p.kept.from != nil && p.kept.from.Workloads[from] != nil {
		from = p.kept.from.Workloads[from].From
	} else if p.Workloads[i].Profile != nil || !workloads.IsPath(from) {
		from = ""
	}
	text, err := base.Document()
	if err != nil {
		return "", err
	}
	if p.kept.workloads[name], err = results.NewStored(from, text); err != nil {
		return "", err
	}
	return base.Label(name, from)
}

// saw notes what the plan's target says about itself.
func (p *Plan) saw(u socket.URI, x nbd.ExportInfo) {
	t := &results.Target{URI: u.String(), Size: x.Size, Flags: flagNames(x.Flags), Server: p.kept.server}
	if p.starts() {
		t.URI = startedURI
	}
	if p.kept.promises != nil {
		t.CanFUA = strings.ToLower(p.kept.promises.FUA.String())
	}
	p.kept.target = t
}

// transmissionFlags are the names of flags in the order of their bits, as the
// protocol has them after NBD_FLAG_.
var transmissionFlags = map[nbd.TransmissionFlags]string{
	nbd.HasFlags: "HAS_FLAGS", nbd.ReadOnly: "READ_ONLY", nbd.SendFlush: "SEND_FLUSH", nbd.SendFUA: "SEND_FUA",
	nbd.Rotational: "ROTATIONAL", nbd.SendTrim: "SEND_TRIM", nbd.SendWriteZeroes: "SEND_WRITE_ZEROES", nbd.SendDF: "SEND_DF",
	nbd.CanMultiConn: "CAN_MULTI_CONN", nbd.SendCache: "SEND_CACHE", nbd.SendFastZero: "SEND_FAST_ZERO",
}

func flagNames(f nbd.TransmissionFlags) []string {
	names := []string{}
	for _, bit := range slices.Sorted(maps.Keys(transmissionFlags)) {
		if f&bit != 0 {
			names = append(names, transmissionFlags[bit])
		}
		f &^= bit
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint16(f)))
	}
	return names
}

// withoutPassword is a URI without who asks: a stored run is passed on.
func withoutPassword(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.User == nil {
		return uri
	}
	u.User = nil
	return u.String()
}

// begun adds to a host what is seen of it before a measurement.
func begun(h *results.Host) *results.Host {
	h.Governor, h.LoadBefore = governor(), loadAverage()
	return h
}

// ended adds to the document of a run what is known once it is over.
func (p *Plan) ended(doc *results.Run) {
	doc.Devices, doc.Workloads = p.kept.devices, p.kept.workloads
	if doc.Host != nil {
		doc.Host.LoadAfter, doc.Host.Target = loadAverage(), p.kept.target
		doc.Host.Storage = p.storageDocument()
	}
}

// governor names those of all processors, each once; nil where the kernel has none.
func governor() *string {
	files, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var names []string
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil {
			names = append(names, strings.TrimSpace(string(text)))
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	all := strings.Join(slices.Compact(names), ", ")
	return &all
}

// loadAverage is nil where the kernel does not report it.
func loadAverage() *results.LoadAverage {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	var l results.LoadAverage
	if _, err := fmt.Sscan(string(text), &l[0], &l[1], &l[2]); err != nil {
		return nil
	}
	return &l
}

// revision is the commit that the program was built from, and whether its source was
// changed since; empty where the build does not say.
func revision() (commit string, modified bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return commit, modified
}
