package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// NOTICE names each module that the program contains, with a licence, and no other.
func TestNoticeNamesEveryModule(t *testing.T) {
	text, err := os.ReadFile("../../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\n\n")
	named := map[string]bool{}
	for line := range strings.Lines(list) {
		module, licence, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.TrimSpace(licence) == "" {
			t.Errorf("%s has no licence", module)
		}
		named[module] = true
	}
	const format = "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}"
	out, err := exec.Command("go", "list", "-deps", "-f", format, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for _, m := range strings.Fields(string(out)) {
		linked[m] = true
		if !named[m] {
			t.Errorf("the program contains %s, which NOTICE does not name", m)
		}
	}
	for m := range named {
		if !linked[m] {
			t.Errorf("NOTICE names %s, which the program does not contain", m)
		}
	}
}
