package tidy

// House are the rules of this module.
var House = Rules{
	Module: "nbdbench",
	Ranks: map[string]int{
		"internal/wake":            -2, // how sim wakes who sleeps, and all above it
		"internal/interleave":      -1, // tests of what uses internal/wake
		"sim":                      0,
		"internal/units":           0,
		"internal/pool":            0,
		"internal/text":            0,
		"internal/fork":            0,
		"internal/host":            0,
		"internal/hlog":            0,
		"internal/input":           0,
		"internal/testcerts":       0,
		"internal/vm":              0,
		"internal/buffer":          0,
		"internal/sparse":          0, // tables of blocks, of packages that do not know each other
		"internal/atomicfile":      0,
		"internal/conf":            1,
		"results/chart":            1, // drawing and layout, without what is drawn
		"results/table":            1,
		"internal/fiojob":          2, // its errors are conf's
		"internal/trace":           2, // as fiojob
		"internal/target":          1, // starts programs by internal/fork, and knows no protocol
		"devices":                  1,
		"devices/drive":            2,
		"internal/ordered":         1, // writes to a file for a loop, and knows no device
		"internal/aio":             2, // serves requests on a file, and knows no device
		"devices/ssd/ftl":          2,
		"devices/array":            3, // over members that it knows as devices alone
		"devices/empirical":        3,
		"devices/fault":            3,
		"devices/fua":              3,
		"devices/hdd":              3,
		"devices/history":          3,
		"devices/layer":            4, // its server halves are devices/fua
		"devices/ssd":              3,
		"devices/volume":           3,
		"devices/image":            3,
		"devices/host":             3, // on the engine of internal/aio
		"internal/capture":         4, // sums up devices/history
		"devices/catalog":          4,
		"devices/plugin":           4,
		"devices/plugin/file":      5, // plugins, beside what serves them
		"devices/plugin/memory":    5,
		"devices/plugin/lossy":     6, // a filter of memory
		"devices/plugin/sh":        5,
		"nbd":                      5,
		"nbd/nbdtest":              3, // a device for tests of nbd, and of what is above
		"nbd/socket":               6, // the real-time shell of nbd
		"results":                  5,
		"workloads":                5,
		"nbd/kernel":               7,
		"internal/stack":           7, // wires devices, nbd and workloads
		"internal/tracefit":        6, // makes profiles of workloads from traces
		"internal/serve":           8,
		"internal/bench":           8,
		"internal/calibrate":       9, // measures a socket's round trip by a run of bench
		"internal/crash":           8,
		"internal/fusefile":        3, // a device for the kernel, and knows no kind of it
		"internal/torture":         9, // on the devices of internal/serve
		"internal/honesty":         6, // writes to devices/host, and prints a table
		"cmd/nbdbench":             10,
		"internal/attack":          9,
		"internal/interop":         9,
		"internal/simtest":         9,
		"internal/tidy":            9,
		"internal/interop/kernel":  9,
		"internal/interop/standin": 9,
	},
	Reserved: map[string]string{
		"devices/array":     "devices/catalog",
		"devices/empirical": "devices/catalog",
		"devices/hdd":       "devices/catalog",
		"devices/ssd":       "devices/catalog",
		"devices/volume":    "devices/catalog",
	},
	Shells: map[string]string{
		"sim/":                                 "owns the clock",
		"cmd/nbdbench/":                        "signals, progress and the host's clock",
		"internal/attack/":                     "attacks other programs",
		"internal/interop/":                    "drives other programs",
		"internal/interop/standin/":            "drives other programs",
		"internal/interop/kernel/":             "drives a kernel, and real-time devices below it",
		"internal/vm/":                         "runs a virtual machine",
		"internal/fork/":                       "starts programs",
		"internal/target/":                     "starts servers, and waits for them",
		"devices/plugin/sh/":                   "runs scripts, each with a deadline",
		"internal/serve/attach.go":             "serves what it attaches",
		"nbd/socket/":                          "sockets in real time",
		"nbd/kernel/":                          "blocking system calls on worker threads",
		"devices/plugin/worker.go":             "calls of plugins, which may block, on workers",
		"internal/calibrate/fit_file_linux.go": "a file's blocking system calls on worker threads",
		"internal/bench/real.go":               "runs in real time",
		"internal/bench/plugged.go":            "runs plugins in real time",
		"internal/serve/serve.go":              "serves a device in real time",
		"internal/stack/watch.go":              "waits for runs in real time",
		"internal/stack/dial.go":               "dials an external server",
		"devices/host/":                        "blocking system calls on worker threads, and a file's fill",
		"internal/ordered/":                    "writes and fdatasync, which block, on a worker for each file",
		"internal/aio/":                        "asynchronous I/O: its events are taken by a goroutine",
		"internal/pool/":                       "independent work on many cores",
		"internal/fusefile/":                   "requests of the kernel, each on a goroutine",
		"internal/torture/":                    "drives other programs, and cuts their power in real time",
		"internal/honesty/":                    "sockets, and a real drive",
		"internal/serve/control.go":            "the control socket of a served device",
		"internal/serve/metrics.go":            "replies to scrapers of a served device",
		"internal/serve/ready.go":              "begins to serve metrics",
	},
	Without: map[string][]string{
		"nbd": {"net", "os", "syscall", "crypto/tls", "golang.org/x/sys/unix", "github.com/mdlayher/vsock"}, // sockets are nbd/socket's
	},
	MaxFunction: 70,
	Long:        map[string]int{},
}
