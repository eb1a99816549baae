package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"nbdbench/devices/catalog"
	"nbdbench/internal/conf"
	"nbdbench/internal/stack"
	"nbdbench/results"
	"nbdbench/workloads"
)

// Rerun is the plan of a stored run, with the profiles that the document has and not
// those of the catalog or of files. In virtual time it gives the document again, byte
// for byte but for what made it.
func Rerun(doc *results.Run) (Plan, error) {
	p, located, err := decodePlan(doc)
	if err != nil {
		return p, err
	}
	if p.hasModels() && doc.Devices == nil || doc.Workloads == nil {
		return p, located.Errorf("", "expected the profiles beside it, as devices and workloads; a document without them was made by an earlier version, and its plan is run again from a file or flags")
	}
	if _, err := p.Cells(); err != nil {
		return p, located.Locate(err)
	}
	return p, nil
}

// decodePlan reads the document's plan strictly.
func decodePlan(doc *results.Run) (p Plan, located *conf.Doc, err error) {
	line, column := doc.PlanPlace()
	located, err = conf.ParseWithin(conf.Within{File: fileOf(doc), Line: line, Column: column, Path: "plan"}, doc.Plan)
	if err != nil {
		return p, nil, err
	}
	d := json.NewDecoder(bytes.NewReader(doc.Plan))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, nil, locatePlan(located, err)
	}
	for _, l := range p.Loads {
		load := workloads.Override{QueueDepth: l.QueueDepth, Arrival: l.Arrival, Rate: l.Rate, Think: l.Think, On: l.On, Off: l.Off}
		p.Workloads = append(p.Workloads, workloads.Ref{Name: l.Name, Override: load})
	}
	// Every load is given whole beside its workload: what the plan said for all of
	// them stays for the document, and changes nothing.
	p.kept.from = doc
	return p, located, nil
}

// fileOf is the file that a document was read from, for errors.
func fileOf(doc *results.Run) string { return cmp.Or(doc.Path(), results.FileRun) }

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// locatePlan says where in the document's plan an error of package json is.
func locatePlan(located *conf.Doc, err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return located.Errorf(e.Field, "expected %v, got %s", e.Type, e.Value)
	}
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return located.Errorf(m[1], "unknown key")
	}
	return located.Errorf("", "%v", err)
}

// UseDevices takes devices by name or path, in place of the plan's.
func (p *Plan) UseDevices(names []string) {
	p.Devices = names
	if slices.ContainsFunc(names, stack.IsStorage) && p.Clock != "real" {
		p.UseClock("real")
	}
	p.forget(func(doc *results.Run) { doc.Devices = nil })
}

// UseWorkloads takes workloads by name or path, in place of the plan's.
func (p *Plan) UseWorkloads(refs []workloads.Ref) {
	p.Workloads = refs
	p.forget(func(doc *results.Run) { doc.Workloads = nil })
}

// forget drops a part of the stored run that the plan is of.
func (p *Plan) forget(drop func(doc *results.Run)) {
	if p.kept.from != nil {
		doc := *p.kept.from
		drop(&doc)
		p.kept.from = &doc
	}
}

// storedDevice is the document's profile of device i of its plan.
func (p *Plan) storedDevice(i int) (*catalog.Profile, error) {
	doc, name := p.kept.from, p.Devices[i]
	for _, key := range slices.Sorted(maps.Keys(doc.Devices)) {
		s := doc.Devices[key]
		if cmp.Or(s.From, key) != name {
			continue
		}
		at := placeOf(doc, s, "devices."+key)
		prof, err := catalog.ParseDocument(at, s.Profile)
		if err == nil && prof.Name != key {
			err = misnamed(at, key, prof.Name)
		}
		return prof, err
	}
	return nil, conf.At(fmt.Sprintf("devices[%d]", i), "expected the profile of %s in the document's devices", name)
}

// storedWorkload is the document's profile of workload i of its plan.
func (p *Plan) storedWorkload(i int) (workloads.Profile, error) {
	doc, name := p.kept.from, p.Workloads[i].Name
	s := doc.Workloads[name]
	if s == nil {
		return workloads.Profile{}, conf.At(fmt.Sprintf("workloads[%d]", i), "expected the profile of %s in the document's workloads", name)
	}
	return workloads.ParseDocument(placeOf(doc, s, "workloads."+name), s.Profile)
}

// placeOf is where a stored profile is in its document.
func placeOf(doc *results.Run, s *results.Stored, path string) conf.Within {
	line, column := s.Place()
	return conf.Within{File: fileOf(doc), Line: line, Column: column, Path: path + ".profile"}
}

func misnamed(at conf.Within, want, got string) error {
	return &conf.Error{File: at.File, Line: at.Line, Column: at.Column, Msg: at.Path + ".name: expected " + want + ", got " + got}
}
