package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nbdbench/results"
	"nbdbench/workloads"
)

// maxNamed bounds how many cells an error names.
const maxNamed = 5

// Merge is the document of stored runs whose plans differ only in devices, workloads,
// strategies, values of a sweep's axes, and thresholds: that of the plan which has all
// of them, of which every cell must be in exactly one run. In virtual time it is the
// document that one run of that plan has. Runs in real time on several machines are
// refused unless hosts allows them; then the cells say where they were measured.
func Merge(docs []*results.Run, hosts bool) (*results.Run, error) {
	first := docs[0]
	whole, err := unionOfPlans(docs)
	if err != nil {
		return nil, err
	}
	doc := results.NewRun(first.Tool, nil, first.Seed)
	doc.Devices, doc.Workloads, doc.Host, doc.Decide = map[string]*results.Stored{}, map[string]*results.Stored{}, first.Host, first.Decide
	if first.Workloads == nil {
		return nil, fmt.Errorf("%s: expected the profiles beside the plan; a document without them was made by an earlier version", fileOf(first))
	}
	for _, d := range docs {
		doc.Order = append(doc.Order, d.Order...)
		if err := cmp.Or(addProfiles(doc.Devices, d.Devices), addProfiles(doc.Workloads, d.Workloads), sameHost(first, d, hosts)); err != nil {
			return nil, err
		}
	}
	whole.kept.from = doc
	cells, err := whole.Cells()
	if err != nil {
		return nil, fmt.Errorf("the plan of all runs: %w", err)
	}
	if doc.Plan, err = whole.JSON(); err != nil {
		return nil, err
	}
	joined, err := partition(docs, cells, &whole)
	if err != nil {
		return nil, err
	}
	doc.Join(joined)
	whole.judgeThresholds(doc)
	return doc, nil
}

// addProfiles adds the profiles of one run to those of others.
func addProfiles(all, some map[string]*results.Stored) error {
	for name, s := range some {
		if t := all[name]; t != nil && t.Digest != s.Digest {
			return fmt.Errorf("expected one profile of the name %s, got two", name)
		}
		all[name] = s
	}
	return nil
}

// unionOfPlans is the plan whose lists have what all plans' lists have.
func unionOfPlans(docs []*results.Run) (whole Plan, err error) {
	for i, d := range docs {
		p, _, err := decodePlan(d)
		switch {
		case err != nil:
			return whole, err
		case p.FindMax != "" || p.Sensitivity:
			return whole, fmt.Errorf("%s: expected a run without find_max and sensitivity", fileOf(d))
		case i == 0:
			whole = p
			continue
		}
		if err := sameBut(&whole, &p); err != nil {
			return whole, fmt.Errorf("%s and %s: expected runs of one plan: %w", fileOf(docs[0]), fileOf(d), err)
		}
		if d.Tool != docs[0].Tool {
			return whole, fmt.Errorf("%s and %s: expected runs of one program, got %s and %s", fileOf(docs[0]), fileOf(d), toolName(docs[0].Tool), toolName(d.Tool))
		}
		whole.Devices, whole.Strategies = union(whole.Devices, p.Devices), union(whole.Strategies, p.Strategies)
		whole.Thresholds = union(whole.Thresholds, p.Thresholds)
		for _, w := range p.Workloads {
			if !slices.ContainsFunc(whole.Workloads, func(o workloads.Ref) bool { return o.Name == w.Name }) {
				whole.Workloads = append(whole.Workloads, w)
			}
		}
		for k := range whole.Sweep {
			whole.Sweep[k].Values = union(whole.Sweep[k].Values, p.Sweep[k].Values)
		}
	}
	return whole, nil
}

// union is a with what b has besides.
func union(a, b []string) []string {
	for _, v := range b {
		if !slices.Contains(a, v) {
			a = append(a, v)
		}
	}
	return a
}

// sameBut refuses plans that differ in more than their lists, by the first key.
func sameBut(a, b *Plan) error {
	x, err1 := keysOf(a)
	y, err2 := keysOf(b)
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	keys := slices.Sorted(maps.Keys(x))
	keys = append(keys, slices.Sorted(maps.Keys(y))...)
	for _, k := range keys {
		switch {
		case slices.Contains([]string{"devices", "workloads", "strategies", "sweep", "thresholds"}, k):
		case !bytes.Equal(x[k], y[k]):
			return fmt.Errorf("%s is %s in one and %s in the other", k, orNone(x[k]), orNone(y[k]))
		}
	}
	if !slices.EqualFunc(a.Sweep, b.Sweep, func(s, t Axis) bool { return s.Name == t.Name }) {
		return errors.New("sweep has different axes")
	}
	return nil
}

func keysOf(p *Plan) (out map[string]json.RawMessage, err error) {
	text, err := p.JSON()
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(text, &out)
}

func orNone(v json.RawMessage) string {
	if v == nil {
		return "none"
	}
	return string(v)
}

// sameHost refuses runs in real time of another machine than the first's, or has their
// cells say so.
func sameHost(first, d *results.Run, allowed bool) error {
	switch {
	case first.Host.SameMachine(d.Host):
		return nil
	case !allowed:
		return fmt.Errorf("%s and %s: expected runs of one machine, got %s and %s (--allow-hosts merges them, and names the machine in each cell)",
			fileOf(first), fileOf(d), hostName(first.Host), hostName(d.Host))
	}
	for _, c := range d.Cells {
		c.Warn("measured on another machine than the first cell: %s", hostName(d.Host))
	}
	return nil
}

func hostName(h *results.Host) string {
	if h == nil {
		return "virtual time"
	}
	return h.String()
}

// partition finds each cell of the plan in one of the documents.
func partition(docs []*results.Run, cells []Cell, whole *Plan) (out []results.Joined, err error) {
	found := map[string]*results.Cell{}
	from := map[string]*results.Run{}
	for _, d := range docs {
		for _, c := range d.Cells {
			if found[c.ID] != nil {
				return nil, fmt.Errorf("cell %s is in %s and in %s: expected each cell in one run", c.ID, fileOf(from[c.ID]), fileOf(d))
			}
			found[c.ID], from[c.ID] = c, d
		}
	}
	var missing []string
	for i := range cells {
		c := found[cells[i].ID]
		if c == nil {
			missing = append(missing, cells[i].ID)
			continue
		}
		delete(found, c.ID)
		out = append(out, results.Joined{Cell: c, Parallelism: whole.doubtful(&cells[i])})
	}
	switch {
	case missing != nil:
		return nil, fmt.Errorf("expected runs of all cells of the plan, missing: %s", firstOf(missing))
	case len(found) > 0:
		return nil, fmt.Errorf("expected cells of the plan only, got %s", firstOf(slices.Sorted(maps.Keys(found))))
	}
	return out, nil
}

// firstOf lists names, and how many more there are.
func firstOf(names []string) string {
	if n := len(names); n > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), n-maxNamed)
	}
	return strings.Join(names, ", ")
}
