package results

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"nbdbench/internal/atomicfile"

	"nbdbench/internal/host"
)

// FileUnfinished is in a run directory until all of the run is stored.
const FileUnfinished = "UNFINISHED"

const unfinishedText = `nbdbench began this run and has not stored all of it: it is still at it, or was
killed, or the disk was full. What is here besides is whole.
`

// atStep is called after each step of storing a run. Tests kill the process there.
var atStep = func(string) {}

// A Pending is a run directory before its run is stored: reserved, so that what
// cannot be stored is found out before the run, and marked as unfinished.
type Pending struct {
	dir    string
	marker *os.File // locked for as long as this process lives
	labels *Labels  // nil is none
}

// Reserve makes the run directory dir, which must not exist, and marks it.
func Reserve(dir string) (p *Pending, err error) {
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	atStep("made the directory")
	p = &Pending{dir: dir}
	if p.marker, err = os.OpenFile(p.path(FileUnfinished), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	atStep("made the marker")
	err = host.Lock(p.marker)
	if err == nil {
		_, err = p.marker.WriteString(unfinishedText)
	}
	if err = errors.Join(err, p.marker.Sync(), host.SyncDir(dir), host.SyncDir(filepath.Dir(dir))); err != nil {
		return nil, errors.Join(err, p.Discard())
	}
	atStep("marked the directory")
	return p, nil
}

func (p *Pending) path(name string) string { return filepath.Join(p.dir, name) }

// Dir is the run directory.
func (p *Pending) Dir() string { return p.dir }

// Label has the run stored with labels.
func (p *Pending) Label(l *Labels) { p.labels = l }

// Discard removes the directory of a run that came to nothing.
func (p *Pending) Discard() error {
	err := os.Remove(p.path(DirCharts))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, p.marker.Close(), os.Remove(p.path(FileUnfinished)), os.Remove(p.dir))
}

// A SaveError says what of a run could not be stored. What could be is there.
type SaveError struct {
	Dir    string
	Stored []string // files
	Err    error
}

func (e *SaveError) Error() string {
	if len(e.Stored) == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("%v (%s has %s)", e.Err, e.Dir, strings.Join(e.Stored, ", "))
}

func (e *SaveError) Unwrap() error { return e.Err }

// Save stores the run: each file whole or not at all, whatever becomes of the
// others, and takes the mark away if all are there. The error is a *SaveError.
func (p *Pending) Save(r *Run) error {
	stored, err := r.saveFiles(p.dir)
	if err == nil && p.labels != nil {
		err = p.labels.Save(p.dir)
	}
	if err != nil {
		e := &SaveError{Dir: p.dir, Stored: stored, Err: err}
		if len(stored) == 0 {
			e.Err = errors.Join(err, p.Discard())
		} else {
			e.Err = errors.Join(err, p.marker.Close())
		}
		return e
	}
	atStep("stored all files")
	err = os.Remove(p.path(FileUnfinished))
	atStep("took the mark away")
	if err = errors.Join(err, host.SyncDir(p.dir), p.marker.Close()); err != nil {
		return &SaveError{Dir: p.dir, Stored: stored, Err: err}
	}
	return nil
}

// Save writes the run directory dir, which must not exist.
func Save(dir string, r *Run) error {
	p, err := Reserve(dir)
	if err != nil {
		return err
	}
	return p.Save(r)
}

// saveFiles writes the truth first, then what follows from it. It returns the
// names of the files that are stored, and why others are not.
func (r *Run) saveFiles(dir string) (stored []string, err error) {
	charts := r.Charts()
	type file struct {
		name  string
		write func(io.Writer) error
	}
	files := []file{
		{FileRun, r.WriteJSON},
		{FileLog, r.WriteLog},
		{FileIntervals, r.WriteIntervals},
		{FileHeat, r.WriteHeat},
		{FileReport, func(w io.Writer) error { return r.writeHTML(w, charts) }},
	}
	if r.raw() {
		files = append(files, file{FileRaw, r.WriteRaw})
	}
	for _, c := range charts {
		files = append(files, file{filepath.Join(DirCharts, c.Name+".svg"), func(w io.Writer) error { return c.Write(w, "svg") }})
	}
	errs := []error{os.Mkdir(filepath.Join(dir, DirCharts), 0o777)}
	for _, f := range files {
		e := atomicfile.WriteSteps(filepath.Join(dir, f.name), f.write, func(step string) { atStep(step) })
		if errs = append(errs, e); e == nil {
			stored = append(stored, f.name)
		}
	}
	errs = append(errs, host.SyncDir(filepath.Join(dir, DirCharts)), host.SyncDir(dir))
	return stored, errors.Join(errs...)
}

// Leftover is a run directory that was not finished, and whose process is gone.
type Leftover struct {
	Dir   string
	Files []string // those of a run that it has
}

// maxLeftovers bounds how many entries of a directory are looked at.
const maxLeftovers = 1 << 14

// beside is the name under which releases before this one wrote a run.
var beside = regexp.MustCompile(`^\..+\.\d+$`)

// Leftovers are those among the run directories in parent.
func Leftovers(parent string) (out []Leftover) {
	d, err := os.Open(parent)
	if err != nil {
		return nil
	}
	defer d.Close()
	entries, _ := d.ReadDir(maxLeftovers)
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if !e.IsDir() || !abandoned(dir) && !(beside.MatchString(e.Name()) && exists(filepath.Join(dir, DirCharts))) {
			continue
		}
		l := Leftover{Dir: dir}
		for _, name := range []string{FileRun, FileLog, FileIntervals, FileHeat, FileReport} {
			if exists(filepath.Join(dir, name)) {
				l.Files = append(l.Files, name)
			}
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Leftover) int { return strings.Compare(a.Dir, b.Dir) })
	return out
}

// String says what to do about it.
func (l Leftover) String() string {
	if slices.Contains(l.Files, FileRun) && slices.Contains(l.Files, FileLog) {
		return fmt.Sprintf("%s is of a run that was not stored to its end: nbdbench report %s shows what there is", l.Dir, l.Dir)
	}
	return fmt.Sprintf("%s is of a run that was not finished, without results: it can be removed", l.Dir)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// abandoned reports whether dir has a mark that no process holds.
func abandoned(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, FileUnfinished))
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(filepath.Join(dir, FileUnfinished))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return host.LockShared(f) == nil
}
