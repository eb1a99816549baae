package plugin

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Prefix begins the device name of a registered plugin: go:NAME?key=value&...
const Prefix = "go:"

// An Opener makes a plugin of the arguments in its device name. It refuses keys that
// it does not know; see CheckKeys.
type Opener func(args url.Values) (Plugin, error)

var registered = struct {
	sync.Mutex
	openers map[string]Opener
}{openers: map[string]Opener{}}

// Register makes a plugin available as go:NAME. It panics if the name is taken, empty
// or has a "?", or if open is nil. It is for init functions and main.
func Register(name string, open func(args url.Values) (Plugin, error)) {
	registered.Lock()
	defer registered.Unlock()
	switch {
	case open == nil:
		panic("plugin: Register: open is nil")
	case name == "" || strings.Contains(name, "?"):
		panic(fmt.Sprintf("plugin: Register: the name %q: expected one that is not empty and has no ?", name))
	case registered.openers[name] != nil:
		panic(fmt.Sprintf("plugin: Register called twice for %q", name))
	}
	registered.openers[name] = open
}

// Registered lists the names of all registered plugins, sorted.
func Registered() []string {
	registered.Lock()
	defer registered.Unlock()
	return slices.Sorted(maps.Keys(registered.openers))
}

// IsDevice reports whether a device name is that of a registered plugin, known or
// not: whether it begins with Prefix.
func IsDevice(device string) bool { return strings.HasPrefix(device, Prefix) }

// Lookup makes the plugin of a device name, go:NAME?key=value&... Of keys and values
// %XX is the byte XX; a + is a +.
func Lookup(device string) (Plugin, error) {
	name, query, _ := strings.Cut(strings.TrimPrefix(device, Prefix), "?")
	registered.Lock()
	open := registered.openers[name]
	registered.Unlock()
	if open == nil {
		return Plugin{}, fmt.Errorf("%s: no plugin is registered as %q: expected one of %s", device, name, strings.Join(Registered(), ", "))
	}
	args, err := parseArgs(query)
	if err != nil {
		return Plugin{}, fmt.Errorf("%s: %w", device, err)
	}
	p, err := open(args)
	switch {
	case err != nil:
		return Plugin{}, fmt.Errorf("%s: %w", device, err)
	case p.Open == nil:
		return Plugin{}, fmt.Errorf("%s: the plugin has no Open", device)
	}
	if p.Name == "" {
		p.Name = name
	}
	return p, nil
}

// parseArgs reads key=value&..., of which the empty string is none.
func parseArgs(query string) (url.Values, error) {
	args := url.Values{}
	if query == "" {
		return args, nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("expected key=value, got %q", pair)
		}
		key, err := url.PathUnescape(key)
		if err != nil {
			return nil, err
		}
		if value, err = url.PathUnescape(value); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		args.Add(key, value)
	}
	return args, nil
}

// CheckKeys refuses arguments with a key that is not among known, or with a key that
// is given twice.
func CheckKeys(args url.Values, known ...string) error {
	for _, key := range slices.Sorted(maps.Keys(args)) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("unknown key %q: expected one of %s", key, strings.Join(known, ", "))
		}
		if n := len(args[key]); n > 1 {
			return fmt.Errorf("%s is given %d times, expected once", key, n)
		}
	}
	return nil
}
