package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxConfig bounds the lines of a configuration.
const maxConfig = 1000

// section is one [name] of nbd-server's configuration.
type section struct {
	name   string
	values map[string]string
}

func (s section) on(key string) bool {
	return slices.Contains([]string{"true", "1"}, s.values[key])
}

// parseNbdServer reads nbd-server's command line and the configuration that it names.
func parseNbdServer(p *plan, args []string) error {
	if slices.Contains(args, "--version") || slices.Contains(args, "-V") {
		return errReal
	}
	var config, content string
	p.background = true
	for i := 0; i < len(args); i++ {
		switch a := args[i]; a {
		case "-C", "-p":
			if i++; i == len(args) {
				return fmt.Errorf("%s: expected a value", a)
			}
			if a == "-C" {
				config = args[i]
			} else {
				p.pidFile = args[i]
			}
		case "-d":
			p.background = false
		case "0": // the port: stdin is the connection
		default:
			if strings.HasPrefix(a, "-") {
				return refusal("nbd-server's " + a)
			}
			content = a
		}
	}
	sections, err := readConfig(config)
	if err != nil {
		return err
	}
	return p.nbdServer(sections, content)
}

// readConfig reads sections, also of an includedir.
func readConfig(path string) (sections []section, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 0; lines.Scan() && n < maxConfig; n++ {
		line := strings.TrimSpace(lines.Text())
		if name, ok := strings.CutPrefix(line, "["); ok {
			sections = append(sections, section{strings.TrimSuffix(name, "]"), map[string]string{}})
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || len(sections) == 0 {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		sections[len(sections)-1].values[key] = value
		if key != "includedir" {
			continue
		}
		more, err := filepath.Glob(filepath.Join(value, "*.conf"))
		if err != nil {
			return nil, err
		}
		for _, m := range more {
			s, err := readConfig(m)
			if err != nil {
				return nil, err
			}
			sections = append(sections, s...)
		}
	}
	return sections, lines.Err()
}

// nbdServer takes the sections; content is a file of the command line's own.
func (p *plan) nbdServer(sections []section, content string) error {
	readOnly := 0
	for _, s := range sections {
		if s.name == "generic" {
			p.generic(s)
			continue
		}
		x, err := s.export()
		if err != nil {
			return err
		}
		if s.on("readonly") {
			readOnly++
		}
		p.exports = append(p.exports, x)
	}
	if content != "" {
		x, err := file("", content)
		if err != nil {
			return err
		}
		p.exports = append(p.exports, x)
	}
	if p.readOnly = readOnly > 0; p.readOnly && readOnly < len(p.exports) {
		return refusal("read-only for one of several exports")
	}
	if p.unix == "" && p.background {
		p.port = firstOf(p.port, "10809")
	} else {
		p.port = ""
	}
	return nil
}

// generic is where and how to listen.
func (p *plan) generic(s section) {
	p.unix, p.port = s.values["unixsock"], s.values["port"]
	p.cert, p.key, p.ca = s.values["certfile"], s.values["keyfile"], s.values["cacertfile"]
	if p.cert != "" && !s.on("force_tls") {
		p.tls = "allow"
	}
}

// export is one export's section.
func (s section) export() (x export, err error) {
	path := s.values["exportname"]
	switch {
	case s.on("treefiles"):
		return x, refusal("an export that is a tree of files")
	case s.on("temporary") || s.on("copyonwrite") || path == "/dev/null":
		x.name = s.name
		if info, err := os.Stat(path); err == nil {
			x.size = info.Size()
		}
	default:
		if x, err = file(s.name, path); err != nil {
			return x, err
		}
	}
	if size := s.values["filesize"]; size != "" {
		if x.size, err = strconv.ParseInt(size, 10, 64); err != nil {
			return x, err
		}
	}
	x.noFlush, x.noFUA, x.rotational = !s.on("flush"), !s.on("fua"), s.on("rotational")
	return x, nil
}
