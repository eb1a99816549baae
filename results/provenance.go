package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"nbdbench/internal/input"
)

// Stored is a profile in a document: all that was simulated, so that nothing but the
// document is needed to know it, or to have it again.
type Stored struct {
	// Digest is Digest's of Profile.
	Digest string `json:"digest"`
	// From is the file that it was read from, as the plan names it; empty for one
	// that comes with the program.
	From string `json:"from,omitempty"`
	// Profile is a JSON object with the keys of a profile's file.
	Profile json.RawMessage `json:"profile"`

	line, column int // of Profile, in the document that it was read from
}

// NewStored is the profile of a document that is being made.
func NewStored(from string, profile json.RawMessage) (*Stored, error) {
	digest, err := Digest(profile)
	return &Stored{Digest: digest, From: from, Profile: profile}, err
}

// Place is where Profile begins in the document that it was read from, from 1.
func (s *Stored) Place() (line, column int) { return s.line, s.column }

// Digest is the SHA-256 of a JSON value in its canonical form: keys sorted, no
// blanks, as jq -cSj writes it.
func Digest(value json.RawMessage) (string, error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	sum := sha256.Sum256(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// LoadAverage is the machine's load average over 1, 5 and 15 minutes.
type LoadAverage [3]float64

// Target is an NBD server that is not ours.
type Target struct {
	URI   string   `json:"uri"` // without a password
	Size  uint64   `json:"size_bytes"`
	Flags []string `json:"flags"` // transmission flags, as it sent them
	// Server is the version of nbdkit where the run started it, and CanFUA what its
	// plugin's can_fua comes to: none, emulate or native. Empty for other targets.
	Server string `json:"server,omitempty"`
	CanFUA string `json:"can_fua,omitempty"`
}

// Storage is the host's storage as the run found it.
type Storage struct {
	Path       string `json:"path"`
	Kind       string `json:"kind"` // file, block device or scratch file
	Size       uint64 `json:"size_bytes"`
	Disk       string `json:"disk,omitempty"`        // the kernel's name of the disk under it
	Model      string `json:"model,omitempty"`       // the disk's
	FileSystem string `json:"file_system,omitempty"` // of a file
	// WriteCache and FUA are the queue's: without a volatile cache the kernel sends no
	// FLUSH, without FUA a write and a FLUSH.
	WriteCache bool `json:"write_cache"`
	FUA        bool `json:"fua"`
	// Before and After are what the drive said of itself before and after the runs.
	Before *Health `json:"health_before,omitempty"`
	After  *Health `json:"health_after,omitempty"`
}

// Health is what a drive says of itself.
type Health struct {
	Celsius *float64 `json:"temperature_c"`   // null where there is no sensor
	SMART   *SMART   `json:"smart,omitempty"` // of NVMe, read as root
}

// SMART is a part of an NVMe drive's log. Counters are over its life.
type SMART struct {
	Critical        int           `json:"critical_warning"`      // bits
	Spare           int           `json:"available_spare"`       // percent
	Used            int           `json:"percentage_used"`       // of its life
	Written         uint64        `json:"host_written_bytes"`    // in steps of 512,000
	MediaErrors     uint64        `json:"media_errors"`          //
	UnsafeShutdowns uint64        `json:"unsafe_shutdowns"`      //
	Warm            time.Duration `json:"warm_ns"`               // above its warning temperature
	Hot             time.Duration `json:"hot_ns"`                // above its critical temperature
	Throttles       uint64        `json:"thermal_transitions"`   // into thermal management
	ThrottledFor    time.Duration `json:"thermal_management_ns"` // in it
}

// ReadDocument reads the document of a run directory, or of a file, without the
// histograms. An error names the file and the place in it.
func ReadDocument(path string) (*Run, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileRun)
	}
	doc, err := input.Read(path, MaxDocument)
	if dir := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && exists(filepath.Join(dir, FileUnfinished)) {
		return nil, &FileError{Path: dir, Err: fmt.Errorf("the run is not finished, or was killed: %w", err)}
	}
	if err != nil {
		return nil, err
	}
	r, err := Decode(doc)
	if err != nil {
		if e, ok := errors.AsType[*FileError](err); ok {
			e.Path = path
			return nil, e
		}
		return nil, &FileError{Path: path, Err: err}
	}
	r.path = path
	return r, nil
}

// PlanPlace is where the plan begins in the document that it was read from, from 1.
func (r *Run) PlanPlace() (line, column int) { return r.planLine, r.planColumn }

// Path is the file that the document was read from; empty for another.
func (r *Run) Path() string { return r.path }

// locateProfiles notes where the plan and the stored profiles are in the text of the document, and
// checks that each is what its digest says.
func (r *Run) locateProfiles(text []byte) error {
	plan := at(text, offsetOf(text, "plan"), nil)
	r.planLine, r.planColumn = plan.Line, plan.Column
	for _, section := range []struct {
		key      string
		profiles map[string]*Stored
	}{{"devices", r.Devices}, {"workloads", r.Workloads}} {
		for _, name := range slices.Sorted(maps.Keys(section.profiles)) {
			if err := section.profiles[name].locate(text, section.key, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Stored) locate(text []byte, section, name string) error {
	path := section + "." + name
	if s == nil || len(s.Profile) == 0 || s.Profile[0] != '{' {
		return at(text, offsetOf(text, section, name), fmt.Errorf("%s: want an object with a profile", path))
	}
	place := at(text, offsetOf(text, section, name, "profile"), nil)
	s.line, s.column = place.Line, place.Column
	digest, err := Digest(s.Profile)
	if err != nil {
		return err
	}
	if digest != s.Digest {
		return at(text, offsetOf(text, section, name, "digest"),
			fmt.Errorf("%s.digest: want that of the profile beside it, %s, got %q: one of them was changed", path, digest, s.Digest))
	}
	return nil
}

// offsetOf is where the value of a path of keys begins in a JSON text that has it;
// where it does not, the nearest value around it.
func offsetOf(text []byte, path ...string) int {
	d := json.NewDecoder(bytes.NewReader(text))
	offset := 0
	for _, key := range path {
		if _, err := d.Token(); err != nil { // the object's brace
			return offset
		}
		for found := false; !found; {
			token, err := d.Token()
			if err != nil || token == json.Delim('}') {
				return offset
			}
			if found = token == key; !found {
				var skipped json.RawMessage
				if err := d.Decode(&skipped); err != nil {
					return offset
				}
			}
		}
		offset = int(d.InputOffset())
		offset += bytes.IndexFunc(text[offset:], func(c rune) bool { return c != ':' && c > ' ' })
	}
	return offset
}

// IsDocument reports whether a file is meant to be a document of this package's and
// not a plan, which may be written in JSON, too.
func IsDocument(path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return filepath.Base(path) == FileRun
	case info.IsDir() || filepath.Base(path) == FileRun:
		return true
	case !info.Mode().IsRegular():
		return false
	}
	f, err := input.Open(path, MaxDocument)
	if err != nil {
		return false
	}
	defer f.Close()
	return hasSchema(f)
}

// hasSchema reports whether a JSON object begins with the key schema.
func hasSchema(in io.Reader) bool {
	d := json.NewDecoder(in)
	brace, err1 := d.Token()
	key, err2 := d.Token()
	return err1 == nil && err2 == nil && brace == json.Delim('{') && key == "schema"
}
