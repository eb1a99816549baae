package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// guideBlocks are the commands of docs/SURVIVAL.md, a block each.
func guideBlocks(t *testing.T) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/SURVIVAL.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```\n")
		blocks = append(blocks, block)
	}
	return blocks
}

// TestTheGuideIsPastedLineByLine runs the commands of docs/SURVIVAL.md in a shell that
// reads them as a terminal's would, with fewer cuts, and checks the exit code of each
// nbdbench.
func TestTheGuideIsPastedLineByLine(t *testing.T) {
	needsTorture(t, "python3")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	codes := filepath.Join(dir, "codes")
	if err := os.Mkdir(bin, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"sudo":     "#!/bin/sh\nexec \"$@\"\n",
		"nbdbench": fmt.Sprintf("#!/bin/sh\n%s=1 %s \"$@\"\ncode=$?\necho $code >> %s\nexit $code\n", asProgram, self, codes),
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	var said []byte
	for _, block := range guideBlocks(t) {
		block = strings.Replace(block, "--cuts 20 --device adversary", "--cuts 10 --device adversary", 1) // see TestSQLiteWithoutDurableCommitsIsFound
		c := exec.CommandContext(t.Context(), "sh", "-s")
		c.Dir, c.Stdin = dir, strings.NewReader(strings.ReplaceAll(block, "--cuts 20", "--cuts 3"))
		c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, _ := c.CombinedOutput() // the codes are in the file
		said = append(said, out...)
	}
	// Too early an acknowledgement, as the guide says, is found.
	load, err := os.ReadFile(filepath.Join(dir, "workload.sh"))
	if err != nil {
		t.Fatal(err)
	}
	early := strings.Replace(strings.Replace(string(load), "    echo $n >&3\n", "", 1), "    echo $n > new", "    echo $n >&3\n    echo $n > new", 1)
	if err := os.WriteFile(filepath.Join(dir, "workload.sh"), []byte(early), 0o777); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), filepath.Join(bin, "nbdbench"), strings.Fields("torture --device nvme-990pro --cuts 6 --reduce 0 --setup ./init.sh --check ./check.sh -- ./workload.sh")...)
	c.Dir = dir
	out, _ := c.CombinedOutput()
	said = append(said, out...)
	b, err := os.ReadFile(codes)
	if want := []string{"0", "4", "0", "4"}; err != nil || !slices.Equal(strings.Fields(string(b)), want) {
		t.Errorf("exit codes %q, %v, expected %v\n%s", b, err, want, said)
	}
}
