package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// qemuValues are qemu-nbd's options that take a value, by their short names.
var qemuValues = map[string]string{
	"--format": "-f", "--export-name": "-x", "--description": "-D", "--socket": "-k", "--shared": "-e", "--bind": "-b", "--port": "-p",
	"--pid-file": "--pid-file", "--object": "--object", "--tls-creds": "--tls-creds", "--cache": "--cache", "--aio": "--aio", "--bitmap": "-B",
	"--discard": "--discard", "--offset": "-o", "--image-opts": "--image-opts", "--tls-hostname": "--tls-hostname",
}

// parseQemuNBD reads qemu-nbd's command line.
func parseQemuNBD(p *plan, args []string) error {
	for _, q := range []string{"--version", "-V", "--help", "-h", "--list", "-L"} {
		if slices.Contains(args, q) {
			return errReal
		}
	}
	p.activated, p.quiet = listenFDs(), true
	x, persistent, files, err := p.qemuOptions(args)
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return refusal("an export of " + strings.Join(files, " "))
	}
	f, err := file(x, files[0])
	if err != nil {
		return err
	}
	if f.size%block != 0 && p.readOnly {
		if f, err = p.pad(f); err != nil {
			return err
		}
	}
	p.exports = []export{f}
	switch {
	case p.activated:
		return nil
	case !persistent:
		return refusal("an end with its last client")
	case p.unix == "":
		p.port = firstOf(p.port, "10809")
	}
	return nil
}

// pad copies a small file to whole blocks, as QEMU shows a raw image.
func (p *plan) pad(x export) (export, error) {
	if x.size > maxPattern {
		return x, nil
	}
	data, err := os.ReadFile(x.image)
	if err != nil {
		return x, err
	}
	x.size = (x.size/block + 1) * block
	x.image = filepath.Join(p.dir, "padded")
	return x, os.WriteFile(x.image, append(data, make([]byte, x.size-int64(len(data)))...), 0o600)
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// qemuOptions sorts the arguments.
func (p *plan) qemuOptions(args []string) (name string, persistent bool, files []string, err error) {
	format := ""
	for i := 0; i < len(args); i++ {
		a, value, joined := strings.Cut(args[i], "=")
		short, ok := qemuValues[a]
		if !ok {
			short = a
			ok = slices.Contains([]string{"-f", "-x", "-D", "-k", "-e", "-b", "-p", "-B", "-o"}, a)
		}
		if ok && !joined {
			if i++; i < len(args) {
				value = args[i]
			}
		}
		switch short {
		case "-t", "--persistent":
			persistent = true
		case "-f":
			format = value
		case "-x":
			name = value
		default:
			if !strings.HasPrefix(args[i], "-") && !ok {
				files = append(files, args[i])
			} else if err = p.qemuOption(short, value); err != nil {
				return name, persistent, files, err
			}
		}
	}
	if format != "raw" {
		return name, persistent, files, refusal("the format " + firstOf(format, "that is probed"))
	}
	return name, persistent, files, nil
}

// qemuOption takes one option.
func (p *plan) qemuOption(short, value string) error {
	switch short {
	case "-v", "--verbose", "-e", "--cache", "--aio", "--tls-creds":
	case "-k":
		p.unix = value
	case "-b":
		p.host = value
	case "-p":
		p.port = value
	case "-r", "--read-only":
		p.readOnly = true
	case "--fork":
		p.background = true
	case "--pid-file":
		p.pidFile = value
	case "--object":
		return p.qemuCredentials(value)
	case "-D":
		return refusal("a description that an operator chooses")
	case "-B", "-A", "--allocation-depth":
		return refusal("contexts of qemu")
	default:
		return refusal("qemu-nbd's " + short)
	}
	return nil
}

// qemuCredentials reads TLS's certificates from --object.
func (p *plan) qemuCredentials(value string) error {
	kind, rest, _ := strings.Cut(value, ",")
	if kind != "tls-creds-x509" {
		return refusal("TLS by a shared key")
	}
	for _, part := range strings.Split(rest, ",") {
		switch name, v, _ := strings.Cut(part, "="); name {
		case "dir":
			p.cert, p.key = filepath.Join(v, "server-cert.pem"), filepath.Join(v, "server-key.pem")
		case "verify-peer":
			if v == "on" || v == "yes" {
				p.ca = "ca-cert.pem"
			}
		}
	}
	if p.ca != "" {
		p.ca = filepath.Join(filepath.Dir(p.cert), p.ca)
	}
	return nil
}
