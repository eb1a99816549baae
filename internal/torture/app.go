package torture

import (
	_ "embed"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"nbdbench/internal/conf"
)

// program is what runs on the file system, and how it is checked.
type program struct {
	name     string // as a table has it
	setup    []string
	workload []string
	check    []string
	env      []string
}

// preset is a program of the distribution with a workload and a check.
type preset struct {
	script string   // for python3, called with setup, workload or check
	module string   // of Debian's python3 that it needs, which then runs it
	needs  []string // programs
	debian string   // the packages that have them
	// settings are those that --set knows, with their defaults.
	settings map[string]string
	values   map[string][]string // what a setting may be, if not anything
}

//go:embed apps/sqlite.py
var sqliteScript string

//go:embed apps/postgres.py
var postgresScript string

// bankScript has what all share; theirs follow it.
//
//go:embed apps/bank.py
var bankScript string

//go:embed apps/mariadb.py
var mariadbScript string

//go:embed apps/etcd.py
var etcdScript string

//go:embed apps/redis.py
var redisScript string

//go:embed apps/rocksdb.py
var rocksdbScript string

//go:embed apps/lmdb.py
var lmdbScript string

// debianPython is the interpreter that has Debian's modules.
const debianPython = "/usr/bin/python3"

var presets = map[string]*preset{
	"sqlite": {
		script: bankScript + sqliteScript, needs: []string{"python3"}, debian: "python3",
		settings: map[string]string{"synchronous": "FULL", "journal_mode": "WAL"},
		values: map[string][]string{
			"synchronous":  {"OFF", "NORMAL", "FULL", "EXTRA"},
			"journal_mode": {"WAL", "DELETE", "TRUNCATE", "PERSIST"},
		},
	},
	"postgres": {
		script: bankScript + postgresScript, needs: []string{"python3", "initdb", "psql"}, debian: "python3 postgresql",
		settings: map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "wal_sync_method": "fdatasync"},
		values: map[string][]string{
			"fsync": {"on", "off"}, "synchronous_commit": {"on", "off"}, "full_page_writes": {"on", "off"},
			"wal_sync_method": {"fdatasync", "fsync", "open_datasync", "open_sync"},
		},
	},
	"mariadb": {
		script: bankScript + mariadbScript, needs: []string{"python3", "mariadbd", "mariadb"}, debian: "python3 mariadb-server mariadb-client",
		settings: map[string]string{"flush_log_at_trx_commit": "1", "doublewrite": "ON"},
		values:   map[string][]string{"flush_log_at_trx_commit": {"0", "1", "2"}, "doublewrite": {"ON", "OFF"}},
	},
	"etcd": {script: bankScript + etcdScript, needs: []string{"python3", "etcd"}, debian: "python3 etcd-server"},
	"redis": {
		script: bankScript + redisScript, needs: []string{"python3", "redis-server"}, debian: "python3 redis-server",
		settings: map[string]string{"appendfsync": "always"}, values: map[string][]string{"appendfsync": {"always", "everysec", "no"}},
	},
	"rocksdb": {
		script: bankScript + rocksdbScript, needs: []string{"python3", "db_bench"}, debian: "python3 rocksdb-tools",
		settings: map[string]string{"sync": "on"}, values: map[string][]string{"sync": {"on", "off"}},
	},
	"lmdb": {
		script: bankScript + lmdbScript, module: "lmdb", needs: []string{debianPython}, debian: "python3-lmdb",
		settings: map[string]string{"sync": "on"}, values: map[string][]string{"sync": {"on", "off"}},
	},
}

// Apps are the presets of --app.
func Apps() []string { return slices.Sorted(maps.Keys(presets)) }

// program is what c runs.
func (c *Config) program() (program, error) {
	if c.App != "" {
		return c.preset()
	}
	p := program{workload: c.Workload, check: []string{"sh", "-c", c.Check}}
	if len(c.Workload) > 0 {
		p.name = filepath.Base(c.Workload[0])
	}
	if c.Setup != "" {
		p.setup = []string{"sh", "-c", c.Setup}
	}
	return p, nil
}

// preset is the program of --app with the settings of --set.
func (c *Config) preset() (program, error) {
	a := presets[c.App]
	settings := maps.Clone(a.settings)
	for _, set := range c.Set {
		key, value, ok := strings.Cut(set, "=")
		if _, known := settings[key]; !ok || !known {
			if len(settings) == 0 {
				return program{}, conf.At("--set", "expected none: %s has no settings here, got %q", c.App, set)
			}
			return program{}, conf.At("--set", "expected KEY=VALUE with KEY one of %s, got %q", strings.Join(slices.Sorted(maps.Keys(settings)), ", "), set)
		}
		if of := a.values[key]; !slices.Contains(of, value) {
			return program{}, conf.At("--set", "%s: expected one of %s, got %q", key, strings.Join(of, ", "), value)
		}
		settings[key] = value
	}
	p := program{name: c.App}
	if len(c.Set) > 0 {
		p.name += " " + strings.Join(c.Set, " ")
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		p.env = append(p.env, fmt.Sprintf("SET_%s=%s", strings.ToUpper(key), settings[key]))
	}
	python := "python3"
	if a.module != "" {
		python = debianPython
	}
	words := func(what string) []string { return []string{python, "-c", a.script, what} }
	p.setup, p.workload, p.check = words("setup"), words("workload"), words("check")
	return p, nil
}
