package target

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"nbdbench/internal/fork"
)

// Nbdkit is nbdkit with a plugin. Make it with ParseNbdkit.
type Nbdkit struct {
	text   string
	words  []string // options, filters, the plugin and its parameters
	plugin string
}

// ours are the options of nbdkit that this package gives itself, or that would keep
// the server from listening where it is expected.
var ours = []string{"U", "P", "p", "s", "o", "unix", "pidfile", "pid-file", "port", "single", "run", "vsock", "oldstyle"}

// takeWord are the options of nbdkit that take the next word, if nothing is joined
// to them.
var takeWord = []string{
	"D", "e", "g", "i", "t", "u", "debug", "export", "export-name", "exportname", "filter", "group", "ip-addr", "ipaddr",
	"log", "mask-handshake", "selinux-label", "swap", "threads", "tls", "tls-certificates", "tls-psk", "user",
}

// ParseNbdkit reads nbdkit's arguments, options first: "--filter=delay file ./disk.img
// wdelay=1ms". It refuses what is for the strategy to say, the fua filter and its
// fuamode, and options about where and how long nbdkit listens.
func ParseNbdkit(text string) (*Nbdkit, error) {
	words, err := Split(text)
	if err != nil {
		return nil, err
	}
	n := &Nbdkit{text: text, words: words}
	taken := false // by the option before it
	for i, w := range words {
		name, value, joined := option(w)
		switch {
		case taken:
			taken = false
			if words[i-1] == "--filter" && isFUA(w) {
				return nil, errFilter
			}
		case name == "" && strings.HasPrefix(w, "fuamode="):
			return nil, fmt.Errorf("expected no fuamode, which the strategy decides, got %q", w)
		case name == "" && n.plugin == "":
			n.plugin = w
		case name == "":
		case slices.Contains(ours, name):
			return nil, fmt.Errorf("expected a plugin with its filters and parameters, got %q: where nbdkit listens and when it ends is nbdbench's to say", w)
		case name == "filter" && isFUA(value):
			return nil, errFilter
		default:
			taken = !joined && slices.Contains(takeWord, name)
		}
	}
	if n.plugin == "" {
		return nil, errors.New("expected a plugin with its parameters, such as 'file ./disk.img'")
	}
	return n, nil
}

var errFilter = errors.New("expected no fua filter: nbdbench adds it as the strategy needs it")

// option splits an option: name without dashes, and the value that is joined to it.
// The name is empty for other words.
func option(w string) (name, value string, joined bool) {
	switch {
	case strings.HasPrefix(w, "--"):
		name, value, joined = strings.Cut(w[2:], "=")
		return name, value, joined
	case len(w) > 1 && w[0] == '-':
		return w[1:2], w[2:], len(w) > 2
	}
	return "", "", false
}

// isFUA reports whether a filter's name or path is that of the fua filter.
func isFUA(filter string) bool {
	base := filepath.Base(filter)
	return base == "fua" || base == "nbdkit-fua-filter.so"
}

// String is what the user gave.
func (n *Nbdkit) String() string { return "nbdkit " + n.text }

// maxName bounds Name, in bytes.
const maxName = 40

var (
	soName   = regexp.MustCompile(`^nbdkit-(.+)-plugin\.so$`)
	unnamely = regexp.MustCompile(`[^A-Za-z0-9._+-]`)
)

// Name is the plugin's name, without the directory that it is in: letters, digits,
// dots, dashes, at most 40 bytes.
func (n *Nbdkit) Name() string {
	name := filepath.Base(n.plugin)
	if m := soName.FindStringSubmatch(name); m != nil {
		name = m[1]
	}
	name = unnamely.ReplaceAllString(name, "_")
	return name[:min(len(name), maxName)]
}

// fuamodes are the strategies that nbdkit's fua filter has, with its parameter; the
// empty one is none, which nbdkit 1.32 takes as its default and refuses by name.
var fuamodes = map[string]string{
	"native": "native", "emulate": "emulate", "force": "force", "discard": "discard",
	"none": "", "none-unsafe": "", "none-grouped": "",
}

// NbdkitStrategies are those that nbdkit can serve.
func NbdkitStrategies() []string {
	return []string{"native", "emulate", "none", "none-grouped", "none-unsafe", "force", "discard", "pass"}
}

// Server is nbdkit as it serves a strategy, one of NbdkitStrategies.
func (n *Nbdkit) Server(strategy string) Server {
	mode, filtered := fuamodes[strategy]
	var filters, last []string
	if filtered {
		filters = []string{"--filter=fua"}
	}
	if mode != "" {
		last = []string{"fuamode=" + mode}
	}
	return n.server(filters, last)
}

// Asking is nbdkit as it writes to logFile, for each connection, what ReadPromises
// reads. A log filter of the user's stays away: nbdkit loads a filter once, and ends
// with an error where it is there twice.
func (n *Nbdkit) Asking(logFile string) Server {
	var words []string
	for i := 0; i < len(n.words); i++ {
		switch w := n.words[i]; {
		case w == "--filter=log":
		case w == "--filter" && i+1 < len(n.words) && n.words[i+1] == "log":
			i++
		default:
			words = append(words, w)
		}
	}
	asked := Nbdkit{words: words}
	return asked.server([]string{"--filter=log"}, []string{"logfile=" + logFile})
}

func (n *Nbdkit) server(filters, last []string) Server {
	return Server{name: "nbdkit", pidFile: true, args: func(socket, pidFile string) []string {
		return slices.Concat([]string{"nbdkit", "-f", "--exit-with-parent", "-U", socket, "-P", pidFile}, filters, n.words, last)
	}}
}

// FUA is what a plugin's can_fua comes to, by nbdkit's log filter.
type FUA int

// The answers of can_fua. nbdkit takes all others for FUAEmulate.
const (
	FUANone FUA = iota
	FUAEmulate
	FUANative
)

// String is the constant's name in nbdkit, after NBDKIT_FUA_.
func (f FUA) String() string {
	switch f {
	case FUANone:
		return "NONE"
	case FUANative:
		return "NATIVE"
	}
	return "EMULATE"
}

// Promises are what a plugin, with its filters, says of a connection.
type Promises struct {
	CanWrite, CanFlush bool
	FUA                FUA
}

// connectLine is what the log filter of nbdkit writes once it has asked the plugin
// everything.
var connectLine = regexp.MustCompile(`(?m) Connect export=.* write=([01]) flush=([01]) .* fua=(\d+) `)

// ReadPromises reads what the log filter has written about the first connection.
func ReadPromises(log []byte) (Promises, error) {
	m := connectLine.FindSubmatch(log)
	if m == nil {
		return Promises{}, errors.New("nbdkit's log filter has written no line about the connection with write=, flush= and fua=")
	}
	p := Promises{CanWrite: string(m[1]) == "1", CanFlush: string(m[2]) == "1", FUA: FUAEmulate}
	switch string(m[3]) {
	case "0":
		p.FUA = FUANone
	case "2":
		p.FUA = FUANative
	}
	return p, nil
}

// Cannot says why nbdkit cannot serve a strategy over such a plugin, as that strategy
// and not silently as another one; empty if it can.
func (p Promises) Cannot(strategy string) string {
	switch strategy {
	case "native", "force", "emulate":
		if !p.CanWrite {
			return "the plugin is read-only"
		}
	}
	switch {
	case strategy == "native" && p.FUA == FUAEmulate:
		return "the plugin's can_fua is EMULATE: nbdkit would serve native as a write, then a flush"
	case strategy == "force" && p.FUA == FUAEmulate:
		return "the plugin's can_fua is EMULATE: nbdkit would serve force as a write, then a flush, for every write"
	case (strategy == "native" || strategy == "force") && p.FUA == FUANone:
		return "the plugin's can_fua is NONE"
	case strategy == "emulate" && !p.CanFlush:
		return "the plugin's can_flush is false: there is no flush to emulate FUA with"
	}
	return ""
}

// WhoDurable says in words who makes a write durable under a strategy; empty where
// the strategy's own word holds.
func (p Promises) WhoDurable(strategy string) string {
	switch {
	case strategy == "force":
		return "plugin: NATIVE, every write"
	case strategy == "native", strategy == "pass" && p.FUA == FUANative:
		return "plugin: NATIVE"
	case strategy == "emulate", strategy == "pass" && p.FUA == FUAEmulate:
		return "nbdkit: write+flush each"
	}
	return ""
}

// versionTimeout bounds asking for a version.
const versionTimeout = 5 * time.Second

// version matches the version of a program, such as nbdkit 1.32.5.
var version = regexp.MustCompile(`^nbdkit [0-9][0-9A-Za-z.+-]{0,40}`)

// NbdkitVersion is the name and version of the nbdkit that Start starts; empty if it
// does not say them.
func NbdkitVersion(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, "nbdkit", "--version")
	var out head
	c.Stdout = &out
	if err := fork.Start(c); err != nil {
		return ""
	}
	_ = c.Wait() // what it printed is looked at
	return version.FindString(string(out))
}

// head keeps the beginning of what is written to it.
type head []byte

// Write never fails.
func (h *head) Write(b []byte) (int, error) {
	*h = append(*h, b[:min(len(b), maxSaid-len(*h))]...)
	return len(b), nil
}
