package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nbdbench/devices/catalog"
	"nbdbench/internal/calibrate"
)

func newDevices() *cobra.Command {
	c := &cobra.Command{
		Use: "devices", Short: "List and show device profiles, check them and fit them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "List the device profiles", Args: cobra.NoArgs, RunE: listDevices},
		&cobra.Command{Use: "show NAME", Short: "Show a device profile, by name or path", Args: cobra.ExactArgs(1), RunE: showDevice},
		newDevicesCheck(), newDevicesFit(),
	)
	return c
}

func listDevices(c *cobra.Command, _ []string) error {
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCACHE\tFUA\tSIZE\tCONFIDENCE\tDEVICE")
	for _, name := range catalog.List() {
		p, err := catalog.Load(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%s\n", p.Name, p.Cache.Mode, p.Advertise.FUA, p.Size, p.Confidence, p.Title)
	}
	return w.Flush()
}

func showDevice(c *cobra.Command, args []string) error {
	p, err := catalog.Load(args[0])
	if err != nil {
		return &exitError{exitUsage, err}
	}
	chart, err := calibrate.FlushChart(c.Context(), p)
	switch {
	case c.Context().Err() != nil:
		return &exitError{exitInterrupted, err}
	case err != nil:
		return err
	}
	_, err = fmt.Fprint(c.OutOrStdout(), p.Describe()+"\n"+chart)
	return err
}
