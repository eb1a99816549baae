package fiojob

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nbdbench/internal/conf"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var environment = map[string]string{"ENGINE": "psync", "SIZE": "64", "WHAT": "write", "BS": "8"}

func lookup(name string) (string, bool) {
	v, ok := environment[name]
	return v, ok
}

// outcome is what a job file comes to: its report, then its plan or why there is none.
func outcome(name string) string {
	f, err := Reader{os.ReadFile, lookup}.Read(name)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	m := Map(f)
	if err := m.Report(&b); err != nil {
		return err.Error()
	}
	if err := m.Refused(); err != nil {
		return b.String() + "error: " + err.Error() + "\n"
	}
	return b.String() + "\n" + m.Plan()
}

// Each job file of testdata maps onto the plan beside it, or is refused where that
// says.
func TestJobFiles(t *testing.T) {
	t.Chdir("testdata")
	files, err := filepath.Glob("*.fio")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d job files, %v: expected at least 40", len(files), err)
	}
	for _, f := range files {
		t.Run(f, func(t *testing.T) {
			got, golden := outcome(f), strings.TrimSuffix(f, ".fio")+".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// mapText maps a job file of that text.
func mapText(text string) (*Mapping, error) {
	open := func(name string) ([]byte, error) {
		if name != "f" {
			return nil, os.ErrNotExist
		}
		return []byte(text), nil
	}
	f, err := Reader{open, lookup}.Read("f")
	if err != nil {
		return nil, err
	}
	return Map(f), nil
}

func TestBadFilesAreRefusedAtTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no section", "rw=read\n", `f:1:1: expected a section [NAME] first, got "rw=read"`},
		{"open section", "\n  [job\n", `f:2:3: expected [NAME], got "[job"`},
		{"empty section", "[ ]\n", `f:1:1: expected [NAME]`},
		{"only global", "[global]\nrw=read\n", `f: expected at least one job`},
		{"long line", "[j]\n" + strings.Repeat("x", MaxLine+1), `f:2:1: 4096 bytes: expected a line of at most 4095`},
		{"control character", "[j]\nrw=re\x1bad\n", `f:2:1: expected text, got a control character`},
		{"unset variable", "[j]\nbs=${NOTSET}k\n", `f:2:1: ${NOTSET}: expected an environment variable that is set`},
		{"machine", "[j]\nsize=$mb_memory*2\n", `f:2:1: expected a value, got $mb_memory`},
		{"blank before a value", "[j]\nrw= read\n", `f:2:1: rw: expected the value right after =`},
		{"missing include", "[j]\ninclude g\n", `g: expected a job file of fio`},
		{"include of itself", "[j]\ninclude f\n", `expected no section in an included file`},
		{"many sections", strings.Repeat("[j]\n", MaxJobs+1), `f:1025:1: expected at most 1024 sections`},
		{"too long", strings.Repeat("\n", MaxBytes+1), `f: 1048577 bytes: expected at most 1048576`},
		{"bare key that has a value", "[j]\ndirect\nfsync\n", `f:3:1: fsync: expected a value`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := mapText(c.text)
			if err == nil {
				err = m.Refused()
			}
			if e, ok := errors.AsType[*conf.Error](err); !ok || !strings.HasPrefix(e.Error(), c.want) && !strings.Contains(e.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// What fio 3.33 was seen to make of values: --parse-only --debug=parse.
func TestUnitsAreFios(t *testing.T) {
	for _, c := range []struct {
		text string
		want uint64
	}{{"4k", 4096}, {"4kb", 4096}, {"4ki", 4096}, {"4kib", 4000}, {"4kB", 4096}, {"0x1000", 4096}, {"512b", 512}, {"1T", 1 << 40}, {"010", 10}} {
		if got, err := parseSize(c.text); err != nil || got != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, bad := range []string{"1.5k", "4 k", "4q", "", "k", "-1", "99999999999999999999", "9000000t", `"4k"`} {
		if got, err := parseSize(bad); err == nil {
			t.Errorf("%q: got %d, want an error", bad, got)
		}
	}
}

func TestALaterSettingIsInForce(t *testing.T) {
	m, err := mapText("[global]\nbs=4k\nrwmixread=70\n[j]\nrw=randrw\nsize=1m\nbs=8k\nrwmixwrite=80\n")
	if err != nil || m.Refused() != nil {
		t.Fatal(err, m.Refused())
	}
	if want := "{op: mix, mix: {read: 20, write: 80}, size: 8KiB,"; !strings.Contains(m.Plan(), want) {
		t.Errorf("got\n%s\nwant %s", m.Plan(), want)
	}
	if f := m.Findings[0]; f.Verdict != Ignored {
		t.Errorf("%v: got %v, want ignored", f.Setting, f.Verdict)
	}
}

// FuzzJobFile looks for a file that panics, takes long, or has a plan without every
// setting reported.
func FuzzJobFile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.fio")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := mapText(text)
		if err != nil {
			return
		}
		if len(m.Findings) < len(m.File.Settings) {
			t.Errorf("%d of %d settings are reported", len(m.Findings), len(m.File.Settings))
		}
		if (m.Plan() == "") != (m.Refused() != nil) {
			t.Errorf("refused %v, but the plan is %q", m.Refused(), m.Plan())
		}
	})
}
