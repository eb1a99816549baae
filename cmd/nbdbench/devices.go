package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nbdbench/devices/catalog"
	"nbdbench/devices/layer"
	"nbdbench/internal/bench"
	"nbdbench/internal/calibrate"
	"nbdbench/internal/stack"
)

func newDevices() *cobra.Command {
	c := &cobra.Command{
		Use: "devices", Short: "List and show device profiles, check them and fit them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "List the device profiles", Args: cobra.NoArgs, RunE: listDevices},
		newDevicesShow(), newDevicesCheck(), newDevicesFit(),
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

func newDevicesShow() *cobra.Command {
	var hops []string
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a device profile, by name or path", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return showDevice(c, args[0], hops) },
	}
	c.Flags().StringArrayVar(&hops, "hop", nil, "LINK:STRATEGY of a proxy before its server: draw where a write is made durable; may be repeated, the one next to the client first")
	return c
}

// drawChain draws where a device behind proxies has its writes made durable, under each
// strategy.
func drawChain(p *catalog.Profile, texts []string) (string, error) {
	if len(texts) == 0 {
		return "", nil
	}
	plan := bench.Default()
	if err := plan.UseHops(texts); err != nil {
		return "", usage("--hop: %w", err)
	}
	var paths []stack.Path
	for _, s := range layer.Strategies() {
		paths = append(paths, stack.PathOf(p.Info(), s, plan.Hops))
	}
	return "\nOne durable write, by strategy of the server; * makes it durable:\n\n" + stack.DrawPaths(p.Name, plan.Hops, plan.Link, paths), nil
}

func showDevice(c *cobra.Command, name string, hops []string) error {
	p, err := catalog.Load(name)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	chain, err := drawChain(p, hops)
	if err != nil {
		return err
	}
	chart, err := calibrate.FlushChart(c.Context(), p)
	switch {
	case c.Context().Err() != nil:
		return &exitError{exitInterrupted, err}
	case err != nil:
		return err
	}
	_, err = fmt.Fprint(c.OutOrStdout(), p.Describe()+"\n"+chart+chain)
	return err
}
