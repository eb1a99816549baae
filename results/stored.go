package results

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MaxStored is how many entries of a directory StoredRuns looks at.
const MaxStored = 1 << 14

// A StoredRun is a run directory.
type StoredRun struct {
	Dir    string
	Saved  time.Time // when its document was written, in UTC; zero without one
	Labels *Labels   // not nil
	// Run is the document without its histograms, once it is read; nil with an Err.
	Run *Run
	// Err is why the document or its labels cannot be read: a run that is not finished
	// among others.
	Err error
}

// StoredRuns are the run directories in parent, the newest first, with their labels; no
// document is read, of which there may be many and long ones. A directory that has
// neither a document nor the mark of a run that is not finished is not one of them. A
// parent that does not exist has none.
func StoredRuns(parent string) ([]StoredRun, error) {
	d, err := os.Open(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(MaxStored)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if rest, _ := d.ReadDir(1); len(rest) > 0 {
		return nil, fmt.Errorf("%s: expected at most %d entries", parent, MaxStored)
	}
	var out []StoredRun
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if e.IsDir() && (exists(filepath.Join(dir, FileRun)) || exists(filepath.Join(dir, FileUnfinished))) {
			out = append(out, labelled(dir))
		}
	}
	slices.SortFunc(out, func(a, b StoredRun) int {
		return cmp.Or(b.Saved.Compare(a.Saved), strings.Compare(b.Dir, a.Dir))
	})
	return out, nil
}

// ReadStored reads the labels and the document of the run directory dir.
func ReadStored(dir string) StoredRun {
	s := labelled(dir)
	s.Read()
	return s
}

// Read reads the document.
func (s *StoredRun) Read() {
	if s.Err == nil {
		s.Run, s.Err = ReadDocument(s.Dir)
	}
}

// labelled is the run directory dir with its labels.
func labelled(dir string) StoredRun {
	s := StoredRun{Dir: dir, Labels: &Labels{Schema: SchemaLabels}}
	if info, err := os.Stat(filepath.Join(dir, FileRun)); err == nil {
		s.Saved = info.ModTime().UTC()
	}
	labels, err := ReadLabels(dir)
	switch {
	case err != nil:
		s.Err = err
	case exists(filepath.Join(dir, FileUnfinished)):
		s.Err = &FileError{Path: dir, Err: errors.New("the run is not finished, or was killed")}
	default:
		s.Labels = labels
	}
	return s
}

// files are those that a run directory may have, besides its charts.
var files = []string{FileRun, FileLog, FileIntervals, FileHeat, FileReport, FileRaw, FileLabels}

// Removable refuses what Remove would.
func Removable(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return &FileError{Path: dir, Err: errors.New("expected a run directory")}
	}
	if _, err := ReadDocument(dir); err != nil {
		return err
	}
	if _, err := removable(os.DirFS(dir)); err != nil {
		return &FileError{Path: dir, Err: err}
	}
	return nil
}

// Remove deletes the run directory dir, if it has a valid document and nothing that a
// run does not store. It deletes nothing else, and follows no symbolic link.
func Remove(dir string) error {
	if err := Removable(dir); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	all, err := removable(root.FS())
	if err != nil {
		return &FileError{Path: dir, Err: err}
	}
	for _, name := range all { // the document goes last, so that another try is possible
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}

// removable are the paths in a run directory, in the order in which they can go.
func removable(dir fs.FS) (out []string, err error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == DirCharts && e.IsDir():
			charts, err := fs.ReadDir(dir, DirCharts)
			if err != nil {
				return nil, err
			}
			for _, c := range charts {
				if !c.Type().IsRegular() || filepath.Ext(c.Name()) != ".svg" {
					return nil, fmt.Errorf("%s/%s is not a run's: nothing is removed", DirCharts, c.Name())
				}
				out = append(out, DirCharts+"/"+c.Name())
			}
			out = append(out, DirCharts)
		case name == FileRun:
		case e.Type().IsRegular() && slices.Contains(files, name):
			out = append(out, name)
		default:
			return nil, fmt.Errorf("%s is not a run's: nothing is removed", name)
		}
	}
	return append(out, FileRun), nil
}
