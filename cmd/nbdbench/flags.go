package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

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
