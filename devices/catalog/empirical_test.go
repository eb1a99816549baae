package catalog_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/devices/catalog"
	"nbdbench/internal/conf"
)

const example = "../../docs/testdata/"

// example copies a file of the documentation.
func exampleText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(example + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAnErrorOfAMeasuredDeviceNamesFileLineAndColumn(t *testing.T) {
	text := exampleText(t, "empirical.yaml")
	for _, c := range []struct{ name, old, new, want string }{
		{"no log", "log: latency.hlog", "log: nosuch.hlog", ":14:8: empirical.log: expected an HdrHistogram log: open "},
		{"no name of a log", "log: latency.hlog", `log: ""`, ":14:8: empirical.log: expected the path of an HdrHistogram log"},
		{"damaged log", "log: latency.hlog", "log: damaged.hlog", ":14:8: empirical.log: "},
		{"other cell", "select: nvme-990pro/probe/pass", "select: ram/probe/pass", ":15:11: empirical.select: expected latencies of read as ram/probe/pass/read, which the log has not"},
		{"no such operation", "parallel: 32", "operations: {fsync: a/b}", ":16:23: empirical.operations.fsync: expected an operation that the device offers, of read, write,"},
		{"not in the log", "parallel: 32", "operations: {flush: a/flush}", ":16:23: empirical.operations.flush: expected latencies of flush as a/flush, which the log has not"},
		{"parallel", "parallel: 32", "parallel: 2000", ":16:13: empirical.parallel: expected 0, which is no bound, to 1024, got 2000"},
		{"no section", "empirical:\n", "ram:\n", ":13:1: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(text, c.old) {
				t.Fatalf("%q is not in the profile", c.old)
			}
			dir := t.TempDir()
			log := exampleText(t, "latency.hlog")
			file(t, dir, "latency.hlog", log)
			damaged := file(t, dir, "damaged.hlog", log[:len(log)-20])
			path := file(t, dir, "mine.yaml", strings.Replace(text, c.old, c.new, 1))
			_, err := catalog.Load(path)
			var e *conf.Error
			if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), path+c.want) {
				t.Errorf("got  %v\nwant %s", err, path+c.want)
			}
			if c.name == "damaged log" && !strings.Contains(err.Error(), damaged+": line ") {
				t.Errorf("%v does not name the log's line", err)
			}
		})
	}
}

// The log is beside the profile that names it, wherever that is extended.
func TestALogIsFoundFromTheProfileThatNamesIt(t *testing.T) {
	whole, err := filepath.Abs(example + "empirical.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := catalog.Load(file(t, t.TempDir(), "child.yaml", "extends: "+whole+"\nname: child\nempirical: {parallel: 4, operations: {read: nvme-990pro/probe/pass/write}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Empirical.Parallel != 4 || p.Empirical.Select != "nvme-990pro/probe/pass" || !strings.Contains(p.Describe(), "as long as one of 4000 that were measured") {
		t.Errorf("%+v\n%s", p.Empirical, p.Describe())
	}
}
