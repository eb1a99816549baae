package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"nbdbench/devices/history"
	"nbdbench/internal/serve"
)

// filePaths are the files of the first export. Those of another one have its name
// too.
type filePaths struct{ image, log, logWrites string }

// of are an export's. What a path would take for more than a part of a name is
// escaped.
func (p filePaths) of(export string) filePaths {
	add := func(path string) string {
		if path == "" {
			return ""
		}
		return path + "." + url.PathEscape(export)
	}
	return filePaths{add(p.image), add(p.log), add(p.logWrites)}
}

// fileSet are the files of all exports, of which none is used twice.
type fileSet struct {
	used map[string]bool
	open []*os.File
}

// all opens the logs of all exports and says which their images are.
func (s *fileSet) all(config *serve.Config, p *filePaths) (err error) {
	if config.Files, err = s.files(p); err != nil {
		return err
	}
	for i := range config.More {
		m := &config.More[i]
		its := p.of(m.Name)
		if m.Files, err = s.files(&its); err != nil {
			return err
		}
	}
	return nil
}

// files are those of one export.
func (s *fileSet) files(p *filePaths) (f serve.Files, err error) {
	if f.Image = p.image; f.Image != "" {
		if err := s.take("--image", f.Image); err != nil {
			return f, err
		}
	}
	if p.log != "" {
		if f.Log, err = s.log("--log", p.log); err != nil {
			return f, err
		}
	}
	if p.logWrites == "" {
		return f, nil
	}
	if f.LogWrites, err = s.log("--log-writes", p.logWrites); err != nil {
		return f, err
	}
	if _, err := f.LogWrites.(io.Seeker).Seek(0, io.SeekCurrent); err != nil { // its first sector is written again
		return f, usage("--log-writes: %w", err)
	}
	return f, nil
}

// take refuses a path that has another use.
func (s *fileSet) take(flag, path string) error {
	if name := filepath.Clean(path); s.used[name] {
		return usage("%s: %s is used for something else: expected a file of its own for each export and flag", flag, path)
	} else {
		s.used[name] = true
	}
	return nil
}

// log opens the file of a log.
func (s *fileSet) log(flag, path string) (history.LogFile, error) {
	if err := s.take(flag, path); err != nil {
		return nil, err
	}
	f, err := newLog(path)
	if err != nil {
		return nil, usage("%s: %w", flag, err)
	}
	s.open = append(s.open, f)
	return f, nil
}

// close closes the logs. What is wrong with them has been said by who writes them.
func (s *fileSet) close() {
	for _, f := range s.open {
		_ = f.Close()
	}
}

// newLog opens a log. A log is written in place, as a kill must leave what was
// recorded, so it takes no other one's place.
func newLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		err = fmt.Errorf("%s has %d bytes: expected a new file, or an empty one", path, info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
