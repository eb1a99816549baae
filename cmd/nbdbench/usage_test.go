package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"nbdbench/devices/catalog"
	"nbdbench/devices/layer"
	"nbdbench/internal/bench"
	"nbdbench/nbd/kernel"
	"nbdbench/results"
	"nbdbench/workloads"
)

func TestHelpIsTheGoldenOne(t *testing.T) {
	var all strings.Builder
	for _, command := range []string{
		"", "run", "serve", "attach", "detach", "report", "devices", "devices list", "devices show", "devices fit",
		"workloads", "workloads list", "workloads show", "workloads check", "resolve", "doctor", "version", "completion",
	} {
		args := append(strings.Fields(command), "--help")
		all.WriteString("$ nbdbench " + strings.Join(args, " ") + "\n" + must(t, args...) + "\n")
	}
	golden(t, "help.txt", all.String())
}

func TestACommandWithoutArgumentsShowsItsHelp(t *testing.T) {
	for _, command := range []string{"", "devices", "workloads", "completion"} {
		words := strings.Fields(command)
		if got, want := must(t, words...), must(t, append(words, "--help")...); got != want {
			t.Errorf("nbdbench %s shows %q, want its help", command, got)
		}
	}
}

func TestWrongUseExitsWith2AndNamesWhatWasExpected(t *testing.T) {
	for args, want := range map[string]string{
		"nosuch":                            `unknown command "nosuch" for "nbdbench"`,
		"devices nosuch":                    `unknown command "nosuch" for "nbdbench devices"`,
		"completion nosuch":                 `unknown command "nosuch" for "nbdbench completion"`,
		"version now":                       `unknown command "now"`,
		"run --nosuch":                      "unknown flag: --nosuch (see nbdbench run --help)",
		"run --runs many":                   `invalid argument "many" for "--runs"`,
		"run --runs 0":                      "runs: expected 1 to 1000, got 0",
		"run --cuts -1":                     "cuts: expected 0 to 100000, got -1",
		"run --connections 0":               "--connections: expected a number from 1 to 1024, got",
		"run --commits 0":                   "commits: expected a number of commits, or a duration",
		"run --duration -1s":                "duration: expected at least 0",
		"run --warmup -1s":                  "expected auto or a duration such as 2s",
		"run --clock atomic":                `clock: expected virtual or real, got "atomic"`,
		"run --clock real --cuts 1":         "cuts: expected 0 in real time",
		"run --link far":                    "--link: expected none, unix, lan, wan or LATENCY,BANDWIDTH",
		"run --rate fast":                   `invalid argument "fast" for "--rate" flag`,
		"run --queue-depth deep":            "expected a number from 1 to 16384, or a range such as 1..256*2",
		"run --queue-depth a=1,2":           "expected STREAM=VALUE",
		"run --rate =5/s":                   "expected STREAM=VALUE",
		"run --arrival late":                `arrival: expected closed, constant or poisson, got "late"`,
		"run --via pigeon":                  `via: expected userspace or kernel, got "pigeon"`,
		"run --via kernel --clock virtual":  "clock: expected real, got virtual",
		"run --via kernel --connections 17": "connections: expected at most 16 through the kernel",
		"run --via kernel --target nbd://localhost:1 --destroy": "via: expected userspace for a target",
		"run --format xml":                                                              "--format: expected table, md, csv, json or html",
		"run --device nosuch":                                                           `devices[0]: unknown device "nosuch": expected ` + strings.Join(catalog.List(), ", "),
		"run --device ram,ram":                                                          `devices[1]: expected each once, got "ram" again`,
		"run --device ./nosuch.yaml":                                                    "nosuch.yaml: expected a profile",
		"run --workload nosuch":                                                         `workloads[0]: workload "nosuch": expected one of ` + strings.Join(workloads.List(), ", "),
		"run --strategy native,nosuch":                                                  "strategies[1]: expected one of " + strings.Join(layer.Names(), ", "),
		"run a.yaml b.yaml":                                                             "accepts at most 1 arg(s), received 2",
		"run ./nosuch.yaml":                                                             "nosuch.yaml: expected a plan",
		"run --target nosuch --destroy":                                                 `target: expected an NBD URI such as nbd://localhost:10809, got "nosuch"`,
		"run --target nbd://localhost:1 --device ram --destroy":                         "target: expected devices or a target, got both",
		"run --nbdkit memory":                                                           "--nbdkit: this would start nbdkit memory and overwrite what it serves; give --destroy to allow it",
		"run --nbdkit memory --device ram --destroy":                                    "nbdkit: expected devices or nbdkit, got both",
		"run --nbdkit memory --target nbd://localhost:1":                                "--nbdkit: expected one of --target, --nbdkit and --target-command",
		"run --nbdkit memory --target-command x":                                        "--target-command: expected one of --target, --nbdkit and --target-command",
		"run --nbdkit memory --clock virtual --destroy":                                 "clock: expected real for nbdkit, got virtual",
		"run --nbdkit memory --via kernel --destroy":                                    "via: expected userspace for nbdkit",
		"run --nbdkit memory --strategy native,emulate-grouped --destroy":               "strategies[1]: expected one of native, emulate, none, none-grouped, none-unsafe, force, discard, pass for nbdkit",
		"run --nbdkit=fuamode=native --destroy":                                         "nbdkit: expected no fuamode",
		"run --nbdkit=--run --destroy":                                                  `nbdkit: expected a plugin with its filters and parameters, got "--run"`,
		"run --nbdkit=memory'64M --destroy":                                             "nbdkit: expected a closing '",
		"run --nbdkit= --destroy":                                                       "--nbdkit: expected how a server is started",
		"run --target-command= --destroy":                                               "--target-command: expected how a server is started",
		"run --target-command serve --destroy":                                          `target_command: expected a shell command that uses $unixsocket`,
		"run --target-command serve$unixsocket":                                         "--target-command: this would run serve$unixsocket and overwrite what it serves",
		"run --target-command serve$unixsocket --strategy none,native --destroy":        "strategies[1]: expected one of pass, none, none-grouped, none-unsafe for a target command, or one that uses $strategy or $fuamode",
		"run --target-command $unixsocket$fuamode --strategy emulate-grouped --destroy": "strategies[0]: expected one of pass, none,",
		"resolve --format xml":                                                          "--format: expected text or json",
		"resolve --can-fua maybe":                                                       "expected none, emulate, native, other or error",
		"resolve --can-flush 1":                                                         "expected yes, no or error",
		"resolve --api 3":                                                               "expected 1 or 2",
		"resolve --fuamode absent":                                                      "expected none, emulate, native, force, pass or discard",
		"resolve nbd://localhost:1 --timeout 0s":                                        "--timeout: expected more than 0",
		"resolve nosuch":                                                                "want nbd://",
		"resolve nbd://localhost:1 --flush":                                             "--flush: expected declarations or a URI, got both",
		"resolve nbd://localhost:1 nbd://localhost:1":                                   "accepts at most 1 arg(s)",
		"report":                                             "accepts 1 arg(s), received 0",
		"report ./nosuch":                                    "no such file or directory",
		"report ./nosuch --format xml":                       "--format: expected table, md, csv, json or html",
		"devices show":                                       "accepts 1 arg(s), received 0",
		"devices show nosuch":                                `unknown device "nosuch"`,
		"workloads show nosuch":                              `workload "nosuch": expected one of`,
		"workloads show wal --picture x.gif":                 `--picture: expected a file that ends in one of .svg, .png, .pdf, got "x.gif"`,
		"workloads check nosuch":                             "no such file or directory",
		"attach":                                             "accepts 1 arg(s), received 0",
		"attach nosuch":                                      `unknown device "nosuch"`,
		"attach ram --strategy nosuch":                       "--strategy: expected one of",
		"attach ram --device /dev/sda":                       "expected a device such as /dev/nbd0",
		"attach ram --timeout 0s":                            "without a timeout a dead server hangs",
		"attach ram --connections 17":                        "connections: expected 1 to 16",
		"attach ram --block-size 1000":                       "block size: expected 512",
		"attach nbd://localhost:1 --size 1MiB":               "--size: expected a simulated device",
		"attach nbds://localhost:1":                          "the kernel's client has neither TLS nor vsock",
		"attach nbd+vsock://2":                               "neither TLS nor vsock",
		"attach http://localhost:1":                          "want nbd://",
		"detach":                                             "accepts 1 arg(s), received 0",
		"detach /dev/sda":                                    "expected a device such as /dev/nbd0",
		"serve":                                              "accepts 1 arg(s), received 0",
		"serve nosuch":                                       `unknown device "nosuch"`,
		"serve ram --strategy nosuch":                        "--strategy: expected one of",
		"serve ram --size huge":                              "--size:",
		"serve ram --advertise speed":                        "--advertise:",
		"serve ram --listen tcp:10809":                       "--listen:",
		"serve ram --listen nbds://[::]":                     "TLS",
		"serve ram --delay -1s":                              "expected a duration",
		"serve ram --delay 2562047h":                         "at most 8760h",
		"serve ram --depth -1":                               "expected a number from 0",
		"crash --jobs -1":                                    "expected a number from 0",
		"run --jobs -1":                                      "jobs: expected 0, which is one for each core, to",
		"run --warmup 2562047h --duration 2562047h":          "expected auto or a duration",
		"run --duration 2562047h":                            "duration: expected at least 0 and at most 720h",
		"run --link 2562047h,1GB/s":                          "at most 8760h",
		"run --rate 1e-300/s":                                "expected a rate",
		"run --timeout 0s":                                   "--timeout: expected more than 0",
		"run --timeout 48h":                                  "timeout: expected more than 0 and at most 24h",
		"run --allow-errors 1.5":                             "allow_errors: expected a share from 0 to 1",
		"run --allow-errors NaN":                             "allow_errors: expected a share from 0 to 1",
		"run /dev/zero":                                      "expected a regular file, got a character device",
		"devices show /dev/zero":                             "expected a regular file, got a character device",
		"workloads show /dev/zero":                           "expected a regular file, got a character device",
		"crash --history /dev/zero":                          "expected a regular file, got a character device",
		"serve ram --log-format xml":                         "--log-format: expected text or json, got \"xml\"",
		"serve ram --tls-cert /dev/zero --tls-key /dev/zero": "expected a regular file, got a character device",
		"devices fit nbd://localhost:1 --timeout 0s":         "--timeout: expected more than 0",
		"serve testdata/no-fua.yaml --strategy native":       "device has no FUA",
		"serve ram key=value":                                `ram: expected no more words after a device that is no script, got "key=value"`,
		"serve sh:":                                          "sh:: expected the path of a script",
		"serve sh:./nosuch.sh":                               "./nosuch.sh: expected a script: no such file",
		"serve sh:testdata":                                  "testdata: expected a script, which is a file",
		"serve sh:testdata/help.txt":                         "testdata/help.txt: expected an executable script",
		"serve sh:testdata/help.txt?key":                     `expected key=value, got "key"`,
		"serve sh:testdata/help.txt --image x":               "--image: expected only simulated devices, got the plugin sh:testdata/help.txt",
		"serve sh:/bin/false":                                "/bin/false: load: the script failed with exit status 1 and no message",
		"run --device sh:./plugin.sh":                        "devices[0]: ./plugin.sh: expected a script: no such file",
		"run --device sh:/bin/true":                          "--device: this would run sh:/bin/true",
		"run --device sh:/bin/true --clock virtual":          "clock: expected real for sh:/bin/true, got virtual",
		"crash --device sh:/bin/true":                        "got a script, whose power cannot be cut",
		"serve ram --memory much":                            "--memory:",
		"serve ram --memory 127MiB":                          "--memory: expected at least 128MiB, got 127MiB",
	} {
		o := invoke(strings.Fields(args)...)
		if o.code != exitUsage || !strings.Contains(o.stderr, want) || o.stdout != "" {
			t.Errorf("nbdbench %s: exit %d, stdout %q, stderr %q; want exit 2 and, on stderr, %q", args, o.code, o.stdout, o.stderr, want)
		}
	}
}

func TestABadPlanIsNamedWithFileLineAndColumn(t *testing.T) {
	for text, want := range map[string]string{
		"runs: lots\n":       ":1:7: runs: expected a whole number",
		"seed: 1\nrunz: 3\n": `:2:1: unknown key "runz", expected devices,`,
		"runs: 3\nruns: 4\n": ":2:1: ",
		"\truns: 3\n":        ":1:5: expected YAML",
		"clock: virtual\nstrategies: [native, nosuch]\n":       ":2:22: strategies[1]: expected one of native,",
		"devices:\n  - ram\n  - nosuch\n":                      `:3:5: devices[1]: unknown device "nosuch"`,
		"workloads: [{name: sync-4k, queue_depth: deep}]\n":    ":1:42: workloads[0].queue_depth: expected a whole number",
		"workloads:\n  - nosuch\n":                             `:2:5: workloads[0]: workload "nosuch"`,
		"link: far\n":                                          ":1:7: link: expected none, unix, lan, wan",
		"duration: soon\n":                                     ":1:11: duration: ",
		"rate: 5/s\narrival: late\n":                           ":2:10: arrival: expected closed, constant or poisson",
		"target: nosuch\n":                                     ":1:9: target: expected an NBD URI",
		"target: nbd://localhost:1\ndevices: [ram]\n":          ":1:9: target: expected devices or a target, got both",
		"target: nbd://localhost:1\nclock: virtual\ncuts: 0\n": ":2:8: clock: expected real for a target",
		"clock: real\ncuts: 3\n":                               ":2:7: cuts: expected 0 in real time",
		"nbdkit: memory 64M fuamode=force\n":                   ":1:9: nbdkit: expected no fuamode",
		"nbdkit: memory\ntarget: nbd://localhost:1\n":          ":1:9: nbdkit: expected one of target, nbdkit and target_command, got target, too",
		"nbdkit: memory\nstrategies: [emulate-grouped]\n":      ":2:14: strategies[0]: expected one of native,",
		"target_command: serve\n":                              ":1:17: target_command: expected a shell command that uses $unixsocket",
		"target_command: serve $unixsocket\ndevices: [ram]\n":  ":1:17: target_command: expected devices or a target command, got both",
		"devices: []\n":                                        ":1:1: devices: expected at least one device",
	} {
		path := file(t, "bad.yaml", text)
		o := invoke("run", path)
		if o.code != exitUsage || !strings.HasPrefix(o.stderr, "nbdbench: "+path+want) {
			t.Errorf("plan %q: exit %d, %q; want exit 2 and %q", text, o.code, o.stderr, path+want)
		}
	}
}

func TestABadProfileIsNamedWithFileLineAndColumn(t *testing.T) {
	device := file(t, "drive.yaml", "extends: hdd-7200\nname: slow\nhdd: {rpm: 5}\n")
	workload := file(t, "load.yaml", "name: load\ntransaction:\n  - {op: writ, size: 4k}\n")
	for _, args := range [][]string{
		{"devices", "show", device},
		{"run", "--device", device},
		{"workloads", "show", workload},
		{"workloads", "check", workload},
		{"run", "--workload", workload},
	} {
		o := invoke(args...)
		if o.code != exitUsage || !strings.Contains(o.stderr, ".yaml:3:") {
			t.Errorf("nbdbench %v: exit %d, %q; want exit 2 and a place in line 3", args, o.code, o.stderr)
		}
	}
}

func TestDevicesAreListedAndShownWithTheirSources(t *testing.T) {
	list := must(t, "devices", "list")
	for _, name := range catalog.List() {
		if !strings.Contains(list, "\n"+name+" ") {
			t.Errorf("devices list lacks %s:\n%s", name, list)
		}
		if show := must(t, "devices", "show", name); !strings.HasPrefix(show, name+": ") || !strings.Contains(show, "figures and their sources:") {
			t.Errorf("devices show %s:\n%s", name, show)
		}
	}
}

func TestWorkloadsAreListedShownAndChecked(t *testing.T) {
	list := must(t, "workloads", "list")
	for _, name := range workloads.List() {
		if !strings.Contains("\n"+list, "\n"+name+" ") {
			t.Errorf("workloads list lacks %s:\n%s", name, list)
		}
		if show := must(t, "workloads", "show", name); !strings.HasPrefix(show, name+"\n") {
			t.Errorf("workloads show %s:\n%s", name, show)
		}
	}
	own := file(t, "own.yaml", "name: own\ndescription: One write.\ntransaction:\n  - {op: write, durable: true, size: 4k}\n")
	if got, want := must(t, "workloads", "check", own), own+": ok (own)\n"; got != want {
		t.Errorf("workloads check: got %q, want %q", got, want)
	}
}

func TestAWorkloadIsDrawn(t *testing.T) {
	dir := t.TempDir()
	picture := filepath.Join(dir, "innodb.svg")
	must(t, "workloads", "show", "innodb", "--picture", picture)
	svg, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "innodb: who waits for what", "commit 2: waits for binlog", "redo: flush", "for 2, 3", "2, 3 done", "write with FUA"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("%q is not in the chart", want)
		}
	}
	for _, not := range []string{"the power is cut", "left out", ">other<"} {
		if strings.Contains(string(svg), not) {
			t.Errorf("%q is in the chart", not)
		}
	}
	must(t, "workloads", "show", "sync-4k", "--picture", picture)
	if svg, err = os.ReadFile(picture); err != nil || !strings.Contains(string(svg), "One commit alone") || strings.Contains(string(svg), ">waits<") {
		t.Errorf("%v, %s", err, svg)
	}
}

func TestCompletionIsAScriptForTheShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := must(t, "completion", shell); !strings.Contains(got, "nbdbench") {
			t.Errorf("completion %s: %.100q", shell, got)
		}
	}
}

func TestVersionIsOneLine(t *testing.T) {
	tool := bench.Tool()
	want := "nbdbench " + tool.Version + " " + tool.Go + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for _, arg := range []string{"version", "--version"} {
		if got := must(t, arg); got != want { // a test is built without a revision
			t.Errorf("%s: got %q, want %q", arg, got, want)
		}
	}
}

func TestVersionNamesTheRevision(t *testing.T) {
	tool := results.Tool{Version: "devel", Go: "go1.26", Revision: "0123abc", Modified: true}
	if got, want := versionLine(tool), "nbdbench devel (0123abc, modified) go1.26 "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q first", got, want)
	}
}

func TestDoctorNamesWhatItLookedFor(t *testing.T) {
	got := invoke("doctor").stdout
	want := []string{"virtual time ", "real time", "kernel nbd"}
	for _, p := range peers {
		want = append(want, "\n"+p.command+" ")
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("doctor says nothing of %q:\n%s", w, got)
		}
	}
}

func TestAMissingPeerComesWithItsRemedy(t *testing.T) {
	got := peer{"no-such-program", "its-package"}.find()
	if got.state != "missing" || got.fix != "apt-get install its-package" {
		t.Errorf("got %+v", got)
	}
}

// Where there is no nbd module, or no right to it, as on most machines that run
// these tests.
func TestWithoutTheKernelsNBDTheExitCodeIs3WithARemedy(t *testing.T) {
	err := kernel.Load()
	if err == nil {
		err = kernel.Permitted()
	}
	var lacks *kernel.Missing
	if !errors.As(err, &lacks) {
		t.Skipf("this machine lacks nothing: %v", err)
	}
	for _, args := range []string{"attach ram", "attach nbd+unix:///?socket=/nosuch", "run --via kernel --device ram"} {
		o := invoke(strings.Fields(args)...)
		if o.code != exitCapability || !strings.Contains(o.stderr, lacks.What) || !strings.Contains(o.stderr, "fix: "+lacks.Fix) || o.stdout != "" {
			t.Errorf("nbdbench %s: exit %d, %q, %q; want exit 3, %q and its fix", args, o.code, o.stdout, o.stderr, lacks.What)
		}
	}
	o := invoke("doctor")
	if o.code != exitCapability || !strings.Contains(o.stdout, lacks.What) || !strings.Contains(o.stdout, lacks.Fix) || o.stderr != "" {
		t.Errorf("doctor: exit %d, %q; want exit 3 and %q:\n%s", o.code, o.stderr, lacks.What, o.stdout)
	}
}

func TestWithoutNbdkitTheExitCodeIs3(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	o := invoke("run", "--nbdkit", "memory 64M", "--destroy", "--no-save")
	if o.code != exitCapability || !strings.Contains(o.stderr, "nbdkit is not installed: ") || !strings.Contains(o.stderr, "apt-get install nbdkit") || o.stdout != "" {
		t.Errorf("exit %d, %q, %q; want exit 3", o.code, o.stdout, o.stderr)
	}
}

func TestDetachOfWhatIsNotAttachedFails(t *testing.T) {
	if o := invoke("detach", "/dev/nbd1048575"); o.code != exitFailure || !strings.Contains(o.stderr, "no export is attached") {
		t.Errorf("exit %d, %q", o.code, o.stderr)
	}
}
