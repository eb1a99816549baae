package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nbdbench/workloads"
)

func newWorkloads() *cobra.Command {
	c := &cobra.Command{
		Use: "workloads", Short: "List, show and check workload profiles", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "List the workload profiles", Args: cobra.NoArgs, RunE: listWorkloads},
		&cobra.Command{Use: "show NAME", Short: "Show a workload profile, by name or path", Args: cobra.ExactArgs(1), RunE: showWorkload},
		&cobra.Command{Use: "check FILE", Short: "Check a workload profile of your own", Args: cobra.ExactArgs(1), RunE: checkWorkload},
	)
	return c
}

func listWorkloads(c *cobra.Command, _ []string) error {
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, name := range workloads.List() {
		p, err := workloads.Get(name)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(strings.TrimSpace(p.Description), ". ")
		fmt.Fprintf(w, "%s\t%s\n", name, strings.TrimSuffix(strings.Join(strings.Fields(first), " "), ".")) // a tabwriter keeps its error for Flush
	}
	return w.Flush()
}

func showWorkload(c *cobra.Command, args []string) error {
	p, err := workloads.Open(args[0])
	if err != nil {
		return &exitError{exitUsage, err}
	}
	_, err = fmt.Fprint(c.OutOrStdout(), p.Describe())
	return err
}

func checkWorkload(c *cobra.Command, args []string) error {
	p, err := workloads.LoadFile(args[0])
	if err != nil {
		return &exitError{exitUsage, err}
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok (%s)\n", args[0], p.Name)
	return err
}
