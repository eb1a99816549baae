package tidy

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheHouseIsTidy(t *testing.T) {
	files, err := Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 || files["internal/tidy/tidy_test.go"] == nil {
		t.Fatalf("only %d files were found", len(files))
	}
	for _, p := range House.Check(files) {
		t.Error(p)
	}
}

func TestRanksAndReservationsAreOfPackagesThatAreListed(t *testing.T) {
	for dir, only := range House.Reserved {
		if House.Ranks[only] <= House.Ranks[dir] {
			t.Errorf("%s is reserved to %s, which is not above it", dir, only)
		}
	}
	for shell, why := range House.Shells {
		if len(why) < 5 {
			t.Errorf("shell %s has no reason", shell)
		}
	}
}

// fixture are rules for the module of the tests below.
func fixture() *Rules {
	return &Rules{
		Module:      "m",
		Ranks:       map[string]int{"sim": 0, "devices": 1, "ssd": 2, "catalog": 3, "nbd": 4, "results": 4},
		Reserved:    map[string]string{"ssd": "catalog"},
		Without:     map[string][]string{"devices": {"net"}},
		Shells:      map[string]string{"sim/": "clock", "nbd/socket.go": "socket"},
		MaxFunction: 5,
		Long:        map[string]int{"nbd.T.Long": 8},
	}
}

// tidy is a module without a problem, by the fixture's rules.
func tidy() map[string]string {
	return map[string]string{
		"sim/a.go":          "// Package sim is.\npackage sim\nimport \"time\"\n// A is.\nvar A = time.Now()\n",
		"sim/a_test.go":     "package sim\nfunc TestA() {}\n",
		"devices/doc.go":    "// Package devices is.\npackage devices\nimport _ \"m/sim\"\n",
		"devices/a_test.go": "package devices\nimport \"math/rand/v2\"\nfunc ExampleA() { var r *rand.Rand = rand.New(rand.NewPCG(1, 2)); _ = r }\n",
		"ssd/a.go":          "// Package ssd is.\npackage ssd\nimport _ \"m/devices\"\n",
		"ssd/a_test.go":     "package ssd\nfunc FuzzA() {}\n",
		"catalog/a.go":      "// Package catalog is.\npackage catalog\nimport _ \"m/ssd\"\n",
		"catalog/a_test.go": "package catalog_test\nimport _ \"m/nbd\"\nfunc TestA() {}\n",
		"nbd/a.go":          "// Package nbd is.\npackage nbd\n// T is.\ntype T struct{}\nfunc (*T) String() string { return \"\" }\n// Long is.\nfunc (t *T) Long() {\n\n\n\n\n\n\n}\n",
		"nbd/socket.go":     "package nbd\nfunc f() { go f() }\n",
		"nbd/a_test.go":     "package nbd\nimport \"time\"\nfunc TestA() { time.Sleep(1); go f() }\nfunc long() {\n\n\n\n\n\n\n}\n",
		"results/a.go":      "// Package results is.\npackage results\nimport (\n\"time\"\n_ \"m/devices\"\n)\nconst second = time.Second\n// The numbers.\nconst (\nA = 1\nB = 2\n)\n",
		"only/a_test.go":    "package only\nfunc TestA() {}\n",
		"results/a_test.go": "package results\nfunc TestA() {}\n",
	}
}

func check(files map[string]string) []Problem {
	bytes := map[string][]byte{}
	for name, text := range files {
		if text != "" {
			bytes[name] = []byte(text)
		}
	}
	return fixture().Check(bytes)
}

func TestATidyModuleHasNoProblems(t *testing.T) {
	for _, p := range check(tidy()) {
		t.Error(p)
	}
}

func TestEachRuleFindsItsBreach(t *testing.T) {
	body := "package results\n"
	for _, c := range []struct{ name, file, text, want string }{
		{"syntax", "results/b.go", "package", "results/b.go: syntax: "},
		{"an import from above", "devices/b.go", "package devices\nimport _ \"m/nbd\"\n", "devices/b.go:2:8: imports: nbd is not below devices"},
		{"a sibling", "results/b.go", body + "import n \"m/nbd\"\nvar _ = n.X\n", "results/b.go:2:8: imports: nbd is not below results"},
		{"a model", "nbd/b.go", "package nbd\nimport _ \"m/ssd\"\n", "nbd/b.go:2:8: imports: ssd is imported only by catalog"},
		{"a socket in an engine", "devices/b.go", "package devices\nimport _ \"net\"\n", "devices/b.go:2:8: imports: devices does without net"},
		{"an unknown package", "only/b.go", "// Package only is.\npackage only\n", "only: imports: expected a package that has a rank"},
		{"no package comment", "devices/doc.go", "package devices\n", "devices: doc: expected a package comment"},
		{"no tests", "ssd/a_test.go", "package ssd\nfunc TestMain() {}\n", "ssd: tests: expected a test"},
		{"the clock", "results/b.go", body + "import \"time\"\nvar t = time.Now()\n", "results/b.go:3:9: clock: time.Now is for package sim"},
		{"the clock by another name", "results/b.go", body + "import c \"time\"\nvar t = c.After\n", "clock: time.After"},
		{"a sleep in a test", "results/b_test.go", body + "import \"time\"\nfunc f() { time.Sleep(1) }\n", "results/b_test.go:3:12: clock: time.Sleep"},
		{"a timer", "results/b.go", body + "import \"time\"\nvar t = time.NewTimer(1)\n", "clock: time.NewTimer"},
		{"a context's timeout", "results/b.go", body + "import \"context\"\nvar f = context.WithTimeout\n", "clock: context.WithTimeout"},
		{"a goroutine", "results/b.go", body + "func f() { go f() }\n", "results/b.go:2:12: clock: go is for"},
		{"a goroutine beside a shell", "nbd/b.go", "package nbd\nfunc g() { go g() }\n", "nbd/b.go:2:12: clock: go is for"},
		{"select", "results/b.go", body + "func f() { select {} }\n", "clock: select is for"},
		{"randomness", "results/b.go", body + "import _ \"math/rand\"\n", "clock: math/rand is for"},
		{"global randomness in a test", "results/b_test.go", body + "import \"math/rand/v2\"\nvar n = rand.IntN(3)\n", "clock: math/rand/v2.IntN is for"},
		{"a long function", "results/b.go", body + "func f() {\n\n\n\n\n}\n", "results/b.go:2:1: length: results.f has 6 lines, expected at most 5"},
		{"a long method of a generic type", "results/b.go", body + "type g[T any] struct{}\nfunc (*g[T]) f() {\n\n\n\n\n}\n", "results.g.f has 6 lines"},
		{"a function that grew", "nbd/a.go", strings.Replace(tidy()["nbd/a.go"], "\n\n", "\n\n\n", 1), "nbd.T.Long has grown from 8 to 9 lines"},
		{"a function that shrank", "nbd/a.go", strings.Replace(tidy()["nbd/a.go"], "\n\n", "\n", 1), "nbd.T.Long has shrunk from 8 to 7 lines"},
		{"a function that is long no more", "nbd/a.go", "// Package nbd is.\npackage nbd\n", "nbd.T.Long: length: is listed as long and no longer is"},
		{"a shell that is none", "nbd/socket.go", "package nbd\nfunc f() {}\n", "nbd/socket.go: clock: is listed as a real-time shell"},
		{"a shell that is gone", "nbd/socket.go", "", "nbd/socket.go: clock: is listed as a real-time shell"},
		{"an unfinished word", "results/b.go", body + "// TO" + "DO: more\n", "results/b.go:2: words: expected finished work"},
		{"an unfinished word in a test", "results/b_test.go", body + "var s = \"FIX" + "ME\"\n", "results/b_test.go:2: words"},
		{"a function without a comment", "results/b.go", body + "func F() {}\n", "results/b.go:2:1: comments: expected a comment on F"},
		{"a method without a comment", "results/b.go", body + "// T is.\ntype T int\nfunc (T) F() {}\n", "results/b.go:4:1: comments: expected a comment on T.F"},
		{"a type without a comment", "results/b.go", body + "type T int\n", "comments: expected a comment on T"},
		{"a constant without a comment", "results/b.go", body + "const (\na = 1\nC = 2\n)\n", "results/b.go:4:1: comments: expected a comment on C"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := tidy()
			files[c.file] = c.text
			problems := check(files)
			if len(problems) != 1 || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("got %v, want one problem: %s", problems, c.want)
			}
		})
	}
}

func TestWhatIsAllowedIsNotFound(t *testing.T) {
	for name, text := range map[string]string{
		"results/b.go":      "package results\nimport \"time\"\ntype t struct{}\nfunc (t) F(d time.Duration) {}\nfunc (t) Now() {}\nfunc g() { t{}.Now() }\nconst C = 1 // a line's comment\n",
		"results/b_test.go": "package results\nfunc F() {}\nfunc long() {\n\n\n\n\n\n\n}\n",
		"sim/b.go":          "package sim\nfunc f() { go f(); select {} }\n",
	} {
		files := tidy()
		files[name] = text
		for _, p := range check(files) {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestReadSkipsWhatIsNotTheModules(t *testing.T) {
	files, err := Read(fstest.MapFS{
		"a/a.go": {Data: []byte("a")}, "a/testdata/b.go": {}, ".git/c.go": {}, "_x/d.go": {}, "a/e.txt": {}, "f.go": {},
	})
	if err != nil || len(files) != 2 || string(files["a/a.go"]) != "a" {
		t.Errorf("got %v, %v", files, err)
	}
}
