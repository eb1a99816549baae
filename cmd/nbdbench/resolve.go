package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nbdbench/devices"
	"nbdbench/devices/fua"
	"nbdbench/internal/text"
	"nbdbench/nbd"
	"nbdbench/nbd/socket"
)

const resolveHelp = `Show what a backend's declarations lead to, or what a server's flags require of a
client.

A backend declares its capabilities as an nbdkit plugin does: which of .flush, .trim
and .zero exist, and the answers of its can_* callbacks. These and a fuamode, that of
nbdkit's fua filter, determine what is advertised, which backend calls each command
becomes, and what a client must send to make a write durable. A callback without a
flag does not exist.

  nbdbench resolve --flush --can-flush no         FUA is emulated, FLUSH not advertised
  nbdbench resolve --can-fua native --format json
  nbdbench resolve --flush --fuamode force
  nbdbench resolve nbd://localhost                what this server requires of clients

The exit code is 2 if the connection would be refused; the result is printed as well.`

// resolveFlags are what the command is given.
type resolveFlags struct {
	b        fua.Backend
	mode     fua.Mode
	readOnly bool
	format   string
	tls      socket.TLSFiles
	timeout  time.Duration
}

// resolveTimeout bounds asking a server.
const resolveTimeout = 30 * time.Second

// choice is a flag with a few values, each with a name.
type choice[T comparable] struct {
	to     *T
	values []named[T]
}

type named[T comparable] struct {
	name  string
	value T
}

func (c choice[T]) Set(s string) error {
	for _, v := range c.values {
		if v.name == s {
			*c.to = v.value
			return nil
		}
	}
	return fmt.Errorf("expected %s", c.names())
}

// names is "a, b or c".
func (c choice[T]) names() string {
	var names []string
	for _, v := range c.values {
		names = append(names, v.name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func (c choice[T]) String() string {
	for _, v := range c.values {
		if c.to != nil && v.value == *c.to {
			return v.name
		}
	}
	return ""
}

func (choice[T]) Type() string { return "string" }

// What callbacks answer. A plugin's can_zero of no has zeroes written.
var (
	booleans = []named[fua.Answer]{{"yes", fua.Yes}, {"no", fua.No}, {"error", fua.Failed}}
	zeroings = []named[fua.Answer]{{"yes", fua.Native}, {"no", fua.Emulate}, {"error", fua.Failed}}
	levels   = []named[fua.Answer]{{"none", fua.No}, {"emulate", fua.Emulate}, {"native", fua.Native}, {"other", fua.Other}, {"error", fua.Failed}}
	apis     = []named[int]{{"1", 1}, {"2", 2}}
)

func fuamodes() (all []named[fua.Mode]) {
	for m := fua.ModeNone; m <= fua.ModeDiscard; m++ {
		all = append(all, named[fua.Mode]{m.String(), m})
	}
	return all
}

// declarations adds the flags that describe a backend.
func (f *resolveFlags) declarations(fl *pflag.FlagSet) {
	f.b.API = 2
	fl.Var(choice[int]{&f.b.API, apis}, "api", "the API version, 1 or 2: calls of version 1 have no flags")
	fl.BoolVar(&f.b.Flush, "flush", false, ".flush exists")
	fl.BoolVar(&f.b.Trim, "trim", false, ".trim exists")
	fl.BoolVar(&f.b.Zero, "zero", false, ".zero exists")
	fl.Var(choice[fua.Answer]{&f.b.CanFlush, booleans}, "can-flush", "yes, no or error (absent: whether .flush exists)")
	fl.Var(choice[fua.Answer]{&f.b.CanFUA, levels}, "can-fua", "none, emulate, native, other or error (absent: emulate if .flush exists, otherwise none)")
	fl.Var(choice[fua.Answer]{&f.b.CanTrim, booleans}, "can-trim", "yes, no or error (absent: whether .trim exists)")
	fl.Var(choice[fua.Answer]{&f.b.CanZero, zeroings}, "can-zero", "yes, no or error (absent: whether .zero exists); if no, zeroes are written")
	fl.Var(choice[fua.Mode]{&f.mode, fuamodes()}, "fuamode", "mode of the fua filter: none, emulate, native, force, pass or discard (absent: no filter)")
	fl.BoolVar(&f.readOnly, "read-only", false, "the connection is read-only")
}

func newResolve() *cobra.Command {
	var f resolveFlags
	c := &cobra.Command{
		Use: "resolve [URI]", Short: "Show what a backend's declarations lead to", Long: resolveHelp, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	f.declarations(c.Flags())
	c.Flags().StringVar(&f.format, "format", "text", "text or json")
	targetTLS(c.Flags(), &f.tls)
	durationVar(c.Flags(), &f.timeout, "timeout", resolveTimeout, "limit for the replies of a URI's server")
	return c
}

// resolveURIFlags are the flags that fit a URI as well.
var resolveURIFlags = map[string]bool{"format": true, "timeout": true, "tls-ca": true, "tls-cert": true, "tls-key": true, "tls-hostname": true}

func (f *resolveFlags) run(c *cobra.Command, args []string) error {
	write, ok := map[string]func(io.Writer, *resolveDocument) error{"text": writeResolved, "json": writeResolvedJSON}[f.format]
	if !ok {
		return usage("--format: expected text or json, got %q", f.format)
	}
	if len(args) == 0 {
		doc := f.resolve()
		if err := write(c.OutOrStdout(), doc); err != nil {
			return err
		}
		if doc.Refused != "" {
			return usage("refused: %s", doc.Refused)
		}
		return nil
	}
	var err error
	c.Flags().Visit(func(flag *pflag.Flag) {
		if !resolveURIFlags[flag.Name] && err == nil {
			err = usage("--%s: expected declarations or a URI, got both", flag.Name)
		}
	})
	if err != nil {
		return err
	}
	doc, err := f.ask(c.Context(), args[0])
	if err != nil {
		return err
	}
	return write(c.OutOrStdout(), doc)
}

// resolveDocument is nbdbench/resolve/v1. FUA and Calls are nil where they are not
// known: for a refused connection, and for a URI.
type resolveDocument struct {
	Schema     string          `json:"schema"`
	FUA        *string         `json:"fua"`
	Advertised resolveFlagsSet `json:"advertised"`
	Refused    string          `json:"refused"`
	Calls      *resolveCalls   `json:"calls"`
	Client     string          `json:"client"`
	Rule       string          `json:"rule"`
	Warnings   []string        `json:"warnings"`
}

// resolveFlagsSet are transmission flags.
type resolveFlagsSet struct {
	Flush     bool `json:"flush"`
	FUA       bool `json:"fua"`
	ReadOnly  bool `json:"read_only"`
	Trim      bool `json:"trim"`
	Zero      bool `json:"zero"`
	FastZero  bool `json:"fast_zero"`
	MultiConn bool `json:"multi_conn"`
}

// resolveCalls are the calls that each command becomes, in order; the last word may
// be an errno.
type resolveCalls struct {
	Write    []string `json:"write"`
	WriteFUA []string `json:"write_fua"`
	ZeroFUA  []string `json:"zero_fua"`
	TrimFUA  []string `json:"trim_fua"`
	Flush    []string `json:"flush"`
}

func newResolveDocument() *resolveDocument {
	return &resolveDocument{Schema: "nbdbench/resolve/v1", Warnings: []string{}}
}

// resolve decides what the declarations come to.
func (f *resolveFlags) resolve() *resolveDocument {
	doc := newResolveDocument()
	r, err := fua.Resolve(f.b, f.mode, f.readOnly)
	if err != nil {
		doc.Refused = err.Error()
		if refused, ok := errors.AsType[*fua.Refused](err); ok {
			doc.Rule = refused.Rule
		}
		return doc
	}
	level := r.Level().String()
	doc.FUA = &level
	doc.Advertised = resolveFlagsSet{Flush: r.Flush, FUA: r.FUA, ReadOnly: r.ReadOnly, Trim: r.Trim, Zero: r.Zero, FastZero: r.FastZero}
	doc.Calls = &resolveCalls{
		Write: wordsOf(r.Write), WriteFUA: wordsOf(r.WriteFUA), TrimFUA: wordsOf(r.TrimFUA), Flush: wordsOf(r.FlushAction),
		ZeroFUA: wordsOf(r.WriteZeroesFUA(1, devices.OK, false)),
	}
	x := fua.Explain(&r, f.b, f.mode, f.readOnly)
	doc.Client, doc.Rule, doc.Warnings = x.Client, x.Rule, append(doc.Warnings, x.Warnings...)
	return doc
}

// wordsOf is a's calls, and its errno.
func wordsOf(a fua.Action) []string {
	words := []string{}
	for _, c := range a.Calls {
		words = append(words, c.String())
	}
	if a.Errno != devices.OK {
		words = append(words, a.Errno.String())
	}
	return words
}

// ask asks the server that the URI names what it advertises.
func (f *resolveFlags) ask(ctx context.Context, uri string) (*resolveDocument, error) {
	u, err := socket.ParseURI(uri)
	if err != nil {
		return nil, usage("%w", err)
	}
	var d socket.Dialer
	if u.TLS {
		if d.TLS, err = f.tls.Client(u); err != nil {
			return nil, usage("%w", err)
		}
	}
	if f.timeout <= 0 {
		return nil, usage("--timeout: expected more than 0")
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	x, _, err := d.Ask(ctx, u, nbd.OptInfo)
	if err != nil || x.Size == 0 { // there are servers that know no INFO, or say little before GO
		x, _, err = d.Ask(ctx, u, nbd.OptGo)
	}
	if err != nil {
		return nil, err
	}
	return resolveExport(x.Flags), nil
}

// resolveExport says what the flags of an export ask of its clients.
func resolveExport(flags nbd.TransmissionFlags) *resolveDocument {
	doc := newResolveDocument()
	has := func(f nbd.TransmissionFlags) bool { return flags&f != 0 }
	a := resolveFlagsSet{
		Flush: has(nbd.SendFlush), FUA: has(nbd.SendFUA), ReadOnly: has(nbd.ReadOnly), Trim: has(nbd.SendTrim),
		Zero: has(nbd.SendWriteZeroes), FastZero: has(nbd.SendFastZero), MultiConn: has(nbd.CanMultiConn),
	}
	doc.Advertised = a
	doc.Client = fua.ClientSends(a.ReadOnly, a.Flush, a.FUA, a.MultiConn)
	doc.Rule = `NBD protocol, "Transmission flags": a client sends FUA only with NBD_FLAG_SEND_FUA, FLUSH only with NBD_FLAG_SEND_FLUSH; how the server makes a write durable cannot be seen`
	if !a.FUA {
		none := devices.FUANone.String()
		doc.FUA = &none
	}
	if a.FUA && !a.Flush {
		doc.Warnings = append(doc.Warnings, fua.WithoutFlush)
	}
	return doc
}

func writeResolvedJSON(w io.Writer, doc *resolveDocument) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

// writeResolved prints doc for people.
func writeResolved(w io.Writer, doc *resolveDocument) error {
	if doc.Refused != "" {
		return writeFields(w, [][2]string{{"refused", doc.Refused}, {"rule", doc.Rule}})
	}
	level := "unknown: a client cannot see how the server serves it"
	if doc.FUA != nil {
		level = *doc.FUA
	}
	fields := [][2]string{{"FUA", level}, {"advertised", doc.Advertised.String()}}
	if c := doc.Calls; c != nil {
		for _, x := range []struct {
			name  string
			words []string
		}{
			{"write", c.Write}, {"write, FUA", c.WriteFUA}, {"zero, FUA", c.ZeroFUA}, {"trim, FUA", c.TrimFUA}, {"flush", c.Flush},
		} {
			words := strings.Join(x.words, ", ")
			if words == "" {
				words = "no call: it succeeds at once"
			}
			fields = append(fields, [2]string{x.name, words})
		}
	}
	fields = append(fields, [2]string{"durable", doc.Client}, [2]string{"rule", doc.Rule})
	for _, warning := range doc.Warnings {
		fields = append(fields, [2]string{"warning", warning})
	}
	return writeFields(w, fields)
}

// writeFields prints a name and what it is on each line, wrapped.
func writeFields(w io.Writer, fields [][2]string) error {
	for _, f := range fields {
		name := f[0]
		for line := range strings.SplitSeq(text.Wrap(f[1]), "\n") {
			if _, err := fmt.Fprintf(w, "%-11s  %s\n", name, line); err != nil {
				return err
			}
			name = ""
		}
	}
	return nil
}

// String lists the flags by their names in the protocol.
func (a resolveFlagsSet) String() string {
	var yes []string
	for _, x := range []struct {
		on   bool
		name string
	}{
		{a.ReadOnly, "READ_ONLY"},
		{a.Flush, "FLUSH"},
		{a.FUA, "FUA"},
		{a.Trim, "TRIM"},
		{a.Zero, "WRITE_ZEROES"},
		{a.FastZero, "FAST_ZERO"},
		{a.MultiConn, "MULTI_CONN"},
	} {
		if x.on {
			yes = append(yes, x.name)
		}
	}
	if len(yes) == 0 {
		return "nothing"
	}
	return strings.Join(yes, ", ")
}
