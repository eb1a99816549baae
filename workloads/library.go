package workloads

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"nbdbench/internal/conf"
	"nbdbench/internal/input"
	"nbdbench/internal/text"
)

//go:embed profiles/*.yaml
var shipped embed.FS

// List returns the names of the profiles that come with the package, sorted.
func List() []string {
	entries, err := shipped.ReadDir("profiles")
	if err != nil {
		panic("workloads: " + err.Error())
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Get returns a profile that comes with the package.
func Get(name string) (Profile, error) {
	file := path.Join("profiles", name+".yaml")
	data, err := shipped.ReadFile(file)
	if err != nil || strings.ContainsAny(name, "/\\") {
		return Profile{}, fmt.Errorf("workload %q%s: expected one of %s, or the path of a YAML file", name, text.DidYouMean(name, List()), strings.Join(List(), ", "))
	}
	return Parse(file, data)
}

// LoadFile reads a profile from a file.
func LoadFile(file string) (Profile, error) {
	data, err := input.Read(file, conf.MaxBytes)
	if err != nil {
		return Profile{}, &conf.Error{File: file, Msg: fmt.Sprintf("expected a workload: %v", err)}
	}
	if err := conf.Recognise(file, data, "a workload", "name", "transaction", "streams", "regions", "description"); err != nil {
		return Profile{}, err
	}
	return Parse(file, data)
}

// Parse reads a profile from YAML and validates it; file is for errors, which
// are *conf.Error.
func Parse(file string, data []byte) (Profile, error) {
	doc, err := conf.Parse(file, data)
	if err != nil {
		return Profile{}, err
	}
	var p Profile
	if err := doc.Decode(&p); err != nil {
		return Profile{}, err
	}
	p, err = p.loaded()
	return p, doc.Locate(err)
}

// Open takes a shipped profile's name, or the path of a file: what has a slash
// or ends in .yaml or .yml.
func Open(nameOrPath string) (Profile, error) {
	if IsPath(nameOrPath) {
		return LoadFile(nameOrPath)
	}
	return Get(nameOrPath)
}

// IsPath reports whether a workload's name means a file.
func IsPath(name string) bool {
	return strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// Ref names a profile in a plan, where it is either a name alone or a mapping
// of the name and what it overrides: {name: sync-4k, queue_depth: 8}, and of several
// streams {name: mixed, streams: {readers: {queue_depth: 8}}}.
//
// In place of a name there may be a profile, as a file of one has it:
// {profile: {name: mine, transaction: [...]}}.
type Ref struct {
	Name     string   `yaml:"name"`
	Profile  *Profile `yaml:"profile"`
	Override `yaml:",inline"`
	Streams  map[string]Override `yaml:"streams"`
}

// UnmarshalNode reads either spelling.
func (r *Ref) UnmarshalNode(n conf.Node) error {
	switch n.Kind() {
	case conf.Scalar:
		return n.Decode(&r.Name)
	case conf.Mapping:
		type spelledOut Ref
		if err := n.Decode((*spelledOut)(r)); err != nil || r.Profile == nil {
			return err
		}
		if r.Name != "" {
			return conf.At("name", "expected none beside a profile, which has one")
		}
		r.Name = r.Profile.Name
		return nil
	}
	return fmt.Errorf("expected a workload's name, or a mapping with name and overrides, got %v", n.Kind())
}

// Open opens the profile, without what the reference overrides.
func (r Ref) Open() (Profile, error) {
	if r.Profile != nil {
		p, err := r.Profile.loaded()
		return p, conf.Under("profile", err)
	}
	return Open(r.Name)
}

// Resolve opens the profile and applies the override.
func (r Ref) Resolve() (Profile, error) {
	p, err := r.Open()
	if err != nil {
		return p, err
	}
	p = p.With(r.Override)
	if p, err = p.WithStreams(r.Streams); err != nil {
		return p, fmt.Errorf("workload %s: %w", r.Name, err)
	}
	if err := p.Validate(); err != nil {
		return p, fmt.Errorf("workload %s: %w", r.Name, err)
	}
	return p, nil
}
