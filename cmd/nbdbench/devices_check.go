package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"nbdbench/devices/catalog"
	"nbdbench/internal/calibrate"
)

// exitDeviation is the exit code of a row out of tolerance.
const exitDeviation = 4

const checkHelp = `Compare simulated devices with published figures, row by row.

Without names it checks all profiles. A row is fitted if a parameter was set from it,
derived if its reference is a formula of our own, and predicted otherwise.
docs/DEVICES.md describes the operations. Your own profile, given by its path, may
have figures under "published"; it is also compared with those of its name.

  nbdbench devices check
  nbdbench devices check nvme-970pro ./my-drive.yaml --format json

The exit code is 4 if a row is out of tolerance.`

// checkFormats write a check as text.
var checkFormats = map[string]func(w io.Writer, c *calibrate.Check) error{
	"table": func(w io.Writer, c *calibrate.Check) error { return c.WriteText(w, widthOf(w)) },
	"md":    func(w io.Writer, c *calibrate.Check) error { return c.Table().Markdown(w) },
	"json":  func(w io.Writer, c *calibrate.Check) error { return c.WriteJSON(w) },
}

func newDevicesCheck() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "check [NAME...]", Short: "Compare simulated devices with published figures", Long: checkHelp, Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return checkDevices(c, args, format) },
	}
	c.Flags().StringVar(&format, "format", "table", "table, md or json")
	return c
}

func checkDevices(c *cobra.Command, names []string, format string) error {
	write, ok := checkFormats[format]
	if !ok {
		return usage("--format: expected table, md or json, got %q", format)
	}
	if len(names) == 0 {
		names = catalog.List()
	}
	var profiles []*catalog.Profile
	for _, name := range names {
		p, err := catalog.Load(name)
		if err != nil {
			return &exitError{exitUsage, err}
		}
		profiles = append(profiles, p)
	}
	check, err := calibrate.CheckDevices(c.Context(), profiles)
	switch {
	case c.Context().Err() != nil:
		return &exitError{exitInterrupted, err}
	case err != nil:
		return err
	}
	if err := write(c.OutOrStdout(), check); err != nil {
		return err
	}
	if n := check.Out(); n > 0 {
		return &exitError{exitDeviation, fmt.Errorf("%d of %d rows are out of tolerance", n, len(check.Rows))}
	}
	return nil
}
