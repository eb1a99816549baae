package results

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// differences say in what else than their results two documents differ. Start times
// and loads of the host are results of a kind, and left out.
func differences(before, after *Run) []string {
	out := []string{}
	add := func(what, old, now string) {
		if old != now {
			out = append(out, fmt.Sprintf("%s: %s, then %s", what, old, now))
		}
	}
	add("version", before.Tool.Version, after.Tool.Version)
	add("revision", orNone(before.Tool.Revision), orNone(after.Tool.Revision))
	add("Go", before.Tool.Go, after.Tool.Go)
	out = append(out, planDifferences(before.Plan, after.Plan)...)
	out = append(out, profileDifferences("device", before.Devices, after.Devices)...)
	out = append(out, profileDifferences("workload", before.Workloads, after.Workloads)...)
	x, y := before.Host, after.Host
	switch {
	case x == nil && y == nil:
	case x == nil || y == nil:
		add("clock", clockOf(x), clockOf(y))
	default:
		add("host's system", x.OS+"/"+x.Arch, y.OS+"/"+y.Arch)
		add("host's kernel", x.Kernel, y.Kernel)
		add("host's CPU", x.CPU, y.CPU)
		add("host's CPUs", fmt.Sprint(x.CPUs), fmt.Sprint(y.CPUs))
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// clockOf is the clock of a run on that host, which a run in virtual time has none of.
func clockOf(h *Host) string {
	if h == nil {
		return "virtual"
	}
	return "real"
}

// maxShown is the longest value of a plan's key that a difference shows, in bytes.
const maxShown = 60

// planDifferences are the keys of two plans that differ, with their values if those
// are short. A document that was read has been checked, so both are objects.
func planDifferences(before, after json.RawMessage) (out []string) {
	var old, now map[string]json.RawMessage
	if json.Unmarshal(before, &old) != nil || json.Unmarshal(after, &now) != nil {
		return nil
	}
	var keys []string
	for k := range old {
		keys = append(keys, k)
	}
	for k := range now {
		if _, ok := old[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		a, b := compact(old[k]), compact(now[k])
		switch {
		case a == b:
		case len(a)+len(b) > maxShown:
			out = append(out, fmt.Sprintf("plan: %s differs", k))
		default:
			out = append(out, fmt.Sprintf("plan: %s: %s, then %s", k, a, b))
		}
	}
	return out
}

// compact is a value of JSON on one line.
func compact(v json.RawMessage) string {
	if v == nil {
		return "absent"
	}
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return string(v)
	}
	return b.String()
}

// profileDifferences are the profiles of one name that both documents have, with
// another content each.
func profileDifferences(kind string, before, after map[string]*Stored) (out []string) {
	var names []string
	for name, x := range before {
		if y := after[name]; y != nil && x.Digest != y.Digest {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, fmt.Sprintf("%s %s: its profile differs", kind, name))
	}
	return out
}
