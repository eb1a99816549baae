package catalog

import (
	"bytes"
	"cmp"
	"reflect"
	"strings"
	"sync"

	"nbdbench/internal/conf"
)

// Estimate is the source of a parameter for which a profile names none.
const Estimate = "estimate"

// Document writes the profile as a JSON object of the same keys that depends on
// no file: what it extends is resolved, defaults are filled in, zeros are written,
// the disk of a RAID and the latencies of an empirical profile are in it, and
// sources has an entry for every parameter. ParseDocument reads it. The figures
// with which devices check compares are no parameters, and are left out.
func (p *Profile) Document() ([]byte, error) {
	q, err := p.resolved()
	if err != nil {
		return nil, err
	}
	return conf.JSON(q)
}

// ParseDocument reads what Document has written, from its place in a file. The
// error is a *conf.Error.
func ParseDocument(at conf.Within, data []byte) (*Profile, error) {
	doc, err := conf.ParseWithin(at, data)
	if err != nil {
		return nil, err
	}
	for _, path := range []string{"extends", "empirical.log"} {
		if doc.Has(path) {
			return nil, doc.Errorf(path, "expected none in a profile that depends on no file")
		}
	}
	var p Profile
	if err := doc.Decode(&p); err != nil {
		return nil, err
	}
	if p.RAID != nil && p.RAID.Profile == nil {
		return nil, doc.Errorf("raid.disk", "expected the disk's own profile beside it, as disk_profile")
	}
	p.file = at.File
	if err := p.loadMembers(doc, place{extends: maxExtends}); err != nil {
		return nil, err
	}
	if err := p.derive(); err != nil {
		return nil, doc.Locate(err)
	}
	return &p, doc.Locate(p.Validate())
}

// resolved is a copy of the profile that says all that it stands for.
func (p *Profile) resolved() (*Profile, error) {
	q := *p
	q.Extends, q.Fitted, q.Published = "", nil, nil
	q.PreferredIO = max(q.PreferredIO, defaultIO)
	q.SSD, q.HDD, q.Empirical = p.SSD.filled(), p.HDD.filled(), p.Empirical.inline()
	var err error
	if q.RAID, err = p.RAID.filled(); err != nil {
		return nil, err
	}
	if q.Members, err = p.filledMembers(); err != nil {
		return nil, err
	}
	q.Sources = map[string]string{}
	for _, path := range q.parameters() {
		q.Sources[path] = p.sourceOf(path)
	}
	return &q, nil
}

func (p *Profile) sourceOf(path string) string {
	switch row := p.Fitted[path]; {
	case p.Sources[path] != "":
		return p.Sources[path]
	case row != "":
		return "fitted to the published figure " + row
	}
	return Estimate
}

// described are the keys of a profile that describe it, and are no parameters.
var described = map[string]bool{
	"extends": true, "name": true, "title": true, "about": true, "kind": true, "confidence": true,
	"sources": true, "fitted": true, "published": true, "ranges": true, "members": true,
}

// parameters are the paths of all that Document writes as a parameter.
func (p *Profile) parameters() []string { return leaves(nil, "", reflect.ValueOf(p).Elem()) }

// leaves adds the paths of the values below the struct v. Another profile within it
// has sources of its own.
func leaves(paths []string, prefix string, v reflect.Value) []string {
	for i := range v.NumField() {
		key, f := keyOf(v.Type().Field(i)), v.Field(i)
		if f.IsZero() && strings.HasSuffix(v.Type().Field(i).Tag.Get("yaml"), ",omitzero") {
			continue
		}
		if key == "" || prefix == "" && described[key] || f.Type() == reflect.TypeFor[*Profile]() {
			continue
		}
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct {
			paths = leaves(paths, prefix+key+".", f)
			continue
		}
		if k := f.Kind(); (k == reflect.String || k == reflect.Map || k == reflect.Slice) && f.Len() == 0 {
			continue
		}
		paths = append(paths, prefix+key)
	}
	return paths
}

// filled has the defaults of package ssd.
func (s *SSD) filled() *SSD {
	if s == nil {
		return nil
	}
	q := *s
	q.Servers, q.FlushMode = max(q.Servers, 1), s.flushMode()
	if q.Flush != nil {
		q.Flush = copied(q.Flush)
		q.Flush.Servers = s.flushServers()
	}
	if q.FUAPrograms > 0 {
		q.FUABatch = max(q.FUABatch, 1)
	}
	if q.Flash != nil {
		q.Flash = q.Flash.filled()
		return &q
	}
	if q.Drain > 0 {
		q.Precondition = cmp.Or(q.Precondition, "none")
	}
	q.Dies, q.Stripe, q.Page = max(q.Dies, 1), cmp.Or(q.Stripe, 1<<20), cmp.Or(q.Page, 4096)
	if q.Program > 0 {
		q.ProgramSize = cmp.Or(q.ProgramSize, q.Page)
	}
	return &q
}

func (f *Flash) filled() *Flash {
	q := *f
	q.MappingUnit, q.Reserve, q.Depth = cmp.Or(q.MappingUnit, 4096), max(q.Reserve, 2), cmp.Or(q.Depth, 2)
	q.Victim, q.Precondition = cmp.Or(q.Victim, "greedy"), cmp.Or(q.Precondition, "none")
	return &q
}

// filled has the defaults of package hdd.
func (h *HDD) filled() *HDD {
	if h == nil {
		return nil
	}
	q := *h
	q.Scheduler, q.PhysicalBlock = cmp.Or(q.Scheduler, "sptf"), cmp.Or(q.PhysicalBlock, 512)
	return &q
}

// filled has the defaults of package volume, and the disk.
func (r *RAID) filled() (*RAID, error) {
	if r == nil {
		return nil, nil
	}
	q := *r
	q.QueueDepth, q.Order = cmp.Or(q.QueueDepth, 32), cmp.Or(q.Order, "sweep")
	disk, err := r.disk()
	if err != nil {
		return nil, err
	}
	q.Disk = disk.Name
	q.Profile, err = disk.resolved()
	return &q, err
}

// disk is the profile of the disk behind the controller.
func (r *RAID) disk() (*Profile, error) {
	if r.Profile == nil {
		return Load(r.Disk)
	}
	q := *r.Profile
	if q.Name != r.Disk {
		return nil, conf.At("name", "expected %q as raid.disk is, got %q", r.Disk, q.Name)
	}
	return &q, q.Validate()
}

// Label is how the profile is called where results are shown: by its name where it is
// the one that comes with the program; as modified where it is another of that
// name; and with the file that it is from, where the program has none of that name.
func (p *Profile) Label(from string) (string, error) {
	if !isShipped(p.Name) {
		if from == "" || from == p.Name {
			return p.Name, nil
		}
		return p.Name + " (" + from + ")", nil
	}
	mine, err := p.Document()
	if err != nil {
		return "", err
	}
	shipped, err := shippedDocument(p.Name)
	if err != nil {
		return "", err
	}
	if bytes.Equal(mine, shipped) {
		return p.Name, nil
	}
	return p.Name + Modified, nil
}

// Called is Label's name for a profile, by the file that it was read from.
func (p *Profile) Called() string {
	if label, err := p.Label(p.file); err == nil {
		return label
	}
	return p.Name
}

// Modified follows the name of a profile that is not the one that comes with the
// program under that name.
const Modified = " (modified)"

func isShipped(name string) bool {
	_, err := profiles.Open("profiles/" + name + ".yaml")
	return err == nil && !strings.ContainsRune(name, '/')
}

var documents sync.Map // of what comes with the program, by name

func shippedDocument(name string) ([]byte, error) {
	if text, ok := documents.Load(name); ok {
		return text.([]byte), nil
	}
	p, err := Load(name)
	if err != nil {
		return nil, err
	}
	text, err := p.Document()
	if err == nil {
		documents.Store(name, text)
	}
	return text, err
}
