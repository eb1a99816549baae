package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// parseNbdkit reads nbdkit's command line: options, a plugin, and its parameters,
// of which those of filters may come anywhere.
func parseNbdkit(p *plan, args []string) error {
	for _, q := range []string{"--version", "--dump-plugin", "--dump-config", "--help"} {
		if slices.Contains(args, q) {
			return errReal
		}
	}
	k := nbdkit{plan: p, parameters: map[string]string{}}
	if err := k.read(args); err != nil {
		return err
	}
	x, err := k.filters()
	if err != nil {
		return err
	}
	p.activated = listenFDs()
	return k.plugin(x)
}

// nbdkit is a command line while it is read.
type nbdkit struct {
	*plan
	name       string // the plugin
	export     string
	bare       []string          // parameters without a name
	parameters map[string]string // and with one
	filter     []string
}

// flags take no value and change nothing that a client sees.
var nbdkitFlags = []string{"-s", "--single", "-f", "--foreground", "-v", "--verbose", "-fv", "-sv", "-n", "--newstyle"}

// nbdkitValues take a value.
var nbdkitValues = []string{
	"-U", "--unix", "-p", "--port", "-P", "--pidfile", "-e", "--exportname", "--run", "-D", "--debug", "--filter", "--tls",
	"--tls-certificates", "--tls-psk", "--mask-handshake",
}

// read sorts the arguments.
func (k *nbdkit) read(args []string) error {
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, value, joined := strings.Cut(a, "=")
		if slices.Contains(nbdkitFlags, a) {
			continue
		}
		if !strings.HasPrefix(a, "-") {
			k.parameter(a)
			continue
		}
		if slices.Contains(nbdkitValues, name) && !joined {
			if i++; i == len(args) {
				return fmt.Errorf("%s: expected a value", a)
			}
			value = args[i]
		}
		if err := k.option(name, value); err != nil {
			return err
		}
	}
	return nil
}

// option takes one option.
func (k *nbdkit) option(name, value string) error {
	switch name {
	case "-U", "--unix":
		k.unix = value
	case "-p", "--port":
		k.port = value
	case "-P", "--pidfile":
		k.pidFile = value
	case "-e", "--exportname":
		k.export = value
	case "--run":
		k.command = value
	case "-D", "--debug":
	case "--exit-with-parent":
		return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	case "-r", "--readonly":
		k.readOnly = true
	case "--filter":
		k.filter = append(k.filter, value)
	case "--tls":
		k.tls = map[string]string{"require": "require", "on": "allow", "off": ""}[value]
	case "--tls-certificates":
		k.cert, k.key = filepath.Join(value, "server-cert.pem"), filepath.Join(value, "server-key.pem")
	case "--tls-verify-peer":
		k.ca = "verify" // the CA's file is with the certificates
	case "--tls-psk":
		return refusal("TLS by a shared key")
	case "-o", "--oldstyle":
		return refusal("the oldstyle handshake")
	default:
		return refusal("nbdkit's " + name)
	}
	return nil
}

// parameter takes the plugin's name first, and then what is for it.
func (k *nbdkit) parameter(a string) {
	name, value, ok := strings.Cut(a, "=")
	switch {
	case k.name == "":
		k.name = a
	case ok:
		k.parameters[name] = value
	default:
		k.bare = append(k.bare, a)
	}
}

// filters are what a device, its profile or serve's options do as well.
func (k *nbdkit) filters() (x export, err error) {
	if k.ca != "" {
		k.ca = filepath.Join(filepath.Dir(k.cert), "ca-cert.pem")
	}
	if k.tls == "" {
		k.cert, k.key, k.ca = "", "", ""
	}
	x.name = k.export
	for _, f := range k.filter {
		switch f {
		case "cow": // of a pattern that is a file of ours
		case "nozero":
			x.noZero = true
		case "delay":
			k.delay = k.parameters["delay-read"] + "s"
		default:
			return x, refusal("the filter " + f)
		}
	}
	return x, nil
}

// plugin makes the content.
func (k *nbdkit) plugin(x export) (err error) {
	switch k.name {
	case "null", "memory", "pattern":
		if x.size, err = k.size(); err != nil {
			return err
		}
		if k.name == "pattern" {
			x.image, err = k.pattern(x.size)
		}
	case "file":
		if dir := k.parameters["dir"]; dir != "" {
			return k.directory(dir)
		}
		name := k.parameters["file"]
		if len(k.bare) > 0 {
			name = k.bare[0]
		}
		var f export
		f, err = file(x.name, name)
		x.size, x.image = f.size, f.image
	case "eval":
		err = k.eval(&x)
	case "sh":
		if len(k.bare) == 0 || filepath.Base(k.bare[0]) != "eflags-plugin.sh" {
			return refusal("a plugin that is a script")
		}
		err = k.flags(&x)
	default:
		return refusal("the plugin " + k.name)
	}
	k.exports = []export{x}
	return err
}

// directory exports each file of a directory, with content of its own.
func (k *nbdkit) directory(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		k.exports = append(k.exports, export{name: e.Name()})
	}
	return nil
}

// eval is a device of which nothing is said but its size, so that it does no
// more than read and write.
func (k *nbdkit) eval(x *export) (err error) {
	for name, value := range k.parameters {
		size, ok := strings.CutPrefix(value, "echo ")
		switch {
		case name == "get_size" && ok:
			if x.size, err = parseSize(size); err != nil {
				return err
			}
		case name == "can_write" && value == "exit 0":
		default:
			return refusal("a plugin that is a script")
		}
	}
	x.noFlush, x.noFUA, x.noTrim, x.noZero = true, true, true, true
	return nil
}

// flags is what libnbd's eflags-plugin.sh answers for one key: a flag by its
// exit code, FUA and the cache by what it prints.
func (k *nbdkit) flags(x *export) error {
	key, no := k.parameters["key"], k.parameters["rc"] == "3" || k.parameters["print"] == "none"
	switch key {
	case "can_flush":
		x.noFlush, x.noFUA = no, no
	case "can_fua":
		x.noFUA = no
	case "can_trim":
		x.noTrim = no
	case "can_zero":
		x.noZero = no
	case "is_rotational":
		x.rotational = !no
	case "can_df":
	case "can_fast_zero", "can_cache", "can_multi_conn":
		if no {
			return refusal("a device of memory without " + strings.TrimPrefix(key, "can_"))
		}
	default:
		return refusal("the flag " + key)
	}
	return nil
}

// size is the size of null, memory and pattern, named or not.
func (k *nbdkit) size() (int64, error) {
	text := k.parameters["size"]
	if len(k.bare) > 0 {
		text = k.bare[0]
	}
	if text == "" {
		return 0, nil
	}
	return parseSize(text)
}

// parseSize reads a size as nbdkit writes it: 512, 1m, 64M.
func parseSize(text string) (int64, error) {
	shift := 0
	if i := strings.IndexByte("kmgt", text[len(text)-1]|0x20); i >= 0 {
		shift, text = 10*(i+1), text[:len(text)-1]
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<50>>shift {
		return 0, fmt.Errorf("size: expected up to 1 PiB, got %q", text)
	}
	return n << shift, nil
}
