package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"nbdbench/devices"
	"nbdbench/devices/history"
	"nbdbench/internal/input"
	"nbdbench/internal/trace"
)

// newImportHistory stores the requests of a log of serve.
func newImportHistory() *cobra.Command {
	c := transfer("history FILE", "The requests that serve --log has written", importHistory)
	c.Long = `Store the requests of a history, such as serve --log has written, compressed, for a
workload of op replay: when they came, with FUA. Requests that are neither read, write,
flush, trim nor write_zeroes are left out.`
	return c
}

var historyOps = map[devices.Op]trace.Op{
	devices.OpRead: trace.Read, devices.OpWrite: trace.Write, devices.OpFlush: trace.Flush,
	devices.OpTrim: trace.Trim, devices.OpWriteZeroes: trace.WriteZeroes,
}

func importHistory(c *cobra.Command, to *os.File, from string) error {
	in, err := input.Open(from, math.MaxInt64)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	defer in.Close() // it was only read
	d, w := history.NewDecoder(interruptible{c, in}), trace.NewWriter(to)
	var e history.Event
	var first, count, left int64
	for {
		err := d.Next(&e)
		if err == io.EOF {
			break
		}
		if err != nil {
			if exit, ok := errors.AsType[*exitError](err); ok {
				return exit
			}
			return &exitError{exitUsage, fmt.Errorf("%s: %w", from, err)}
		}
		if e.Kind != history.Submit {
			continue
		}
		op, ok := historyOps[e.Op]
		if !ok {
			left++
			continue
		}
		if count == 0 {
			first = int64(e.Time)
		}
		count++
		r := trace.Record{At: time.Duration(int64(e.Time) - first), Op: op, Offset: e.Offset, Length: e.Length, FUA: e.Flags&devices.FUA != 0}
		if err := w.Write(r); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
	}
	if count == 0 {
		return &exitError{exitUsage, fmt.Errorf("%s: expected requests, got none", from)}
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.ErrOrStderr(), "%d records, %d requests of other kinds left out\n", count, left)
	return err
}
