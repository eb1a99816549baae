package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"nbdbench/internal/bench"
	"nbdbench/internal/units"
)

// maxCount bounds what flags count.
const maxCount = 1 << 20

// durationFlag is a flag of a span of time: not negative, and not so long that the
// sum of several overflows.
type durationFlag struct{ d *time.Duration }

// durationVar defines one.
func durationVar(fl *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string) {
	*d = value
	fl.Var(durationFlag{d}, name, usage)
}

func (f durationFlag) Set(s string) error {
	d, err := units.ParseDuration(s)
	if err == nil {
		*f.d = d.Std()
	}
	return err
}

func (f durationFlag) String() string {
	if f.d == nil || *f.d == 0 {
		return "" // no default to print
	}
	return f.d.String()
}

func (durationFlag) Type() string { return "duration" }

// countFlag is a flag of a number of things.
type countFlag struct{ n *int }

// countVar defines one.
func countVar(fl *pflag.FlagSet, n *int, name string, value int, usage string) {
	*n = value
	fl.Var(countFlag{n}, name, usage)
}

func (f countFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxCount {
		return fmt.Errorf("expected a number from 0 to %d", maxCount)
	}
	*f.n = n
	return nil
}

func (f countFlag) String() string {
	if f.n == nil {
		return "0"
	}
	return strconv.Itoa(*f.n)
}

func (countFlag) Type() string { return "int" }

// ofStream is a value, or a range of them, for one of a workload's streams, or if it has
// no name a list for all.
type ofStream struct{ stream, value string }

// axis is the axis of a sweep that the value is of.
func (v *ofStream) axis(name string) string {
	if v.stream == "" {
		return name
	}
	return name + "." + v.stream
}

// streamsFlag is a flag of one value or a list for all streams, or of STREAM=VALUE, of
// which there may be several with commas between them.
type streamsFlag struct {
	axis   string
	values *[]ofStream
}

func (f streamsFlag) Set(s string) error {
	parts := []string{s}
	if strings.Contains(s, "=") {
		parts = strings.Split(s, ",")
	}
	var values []ofStream
	for _, part := range parts {
		v := ofStream{value: part}
		if stream, value, ok := strings.Cut(part, "="); ok {
			v = ofStream{stream, value}
		}
		if v.stream == "" && part != s || strings.HasPrefix(part, "=") {
			return fmt.Errorf("expected STREAM=VALUE, got %q", part)
		}
		if err := new(bench.Plan).UseAxis(v.axis(f.axis), v.value); err != nil { // what is wrong with a value is said at once
			return err
		}
		values = append(values, v)
	}
	*f.values = values
	return nil
}

func (f streamsFlag) String() string {
	var parts []string
	if f.values != nil {
		for _, v := range *f.values {
			if v.stream != "" {
				v.value = v.stream + "=" + v.value
			}
			parts = append(parts, v.value)
		}
	}
	return strings.Join(parts, ",")
}

func (streamsFlag) Type() string { return "string" }
