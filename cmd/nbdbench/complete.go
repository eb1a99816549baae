package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nbdbench/devices/catalog"
	"nbdbench/devices/layer"
	"nbdbench/internal/bench"
	"nbdbench/internal/serve"
	"nbdbench/internal/text"
	"nbdbench/results"
	"nbdbench/workloads"
)

// values are what may stand for an argument or a flag's value. With list, several do,
// separated by commas; with files, a path does, too.
type values struct {
	words func() []string
	list  bool
	files bool
}

func words(w ...string) values { return values{words: func() []string { return w }} }

// flagValues are the values of flags, by the path of the command and the flag, or of
// any command that has the flag.
var flagValues = map[string]values{
	"device":       {words: catalog.List, list: true, files: true},
	"workload":     {words: workloads.List, list: true, files: true},
	"strategy":     {words: layer.Names, list: true},
	"clock":        words("virtual", "real"),
	"link":         words("none", "unix", "lan", "wan"),
	"via":          words(bench.ViaUserspace, bench.ViaKernel),
	"arrival":      words("closed", "constant", "poisson"),
	"decide":       {words: results.DecideNames},
	"warmup":       words("auto", "0"),
	"color":        words(colorAuto, colorAlways, colorNever),
	"chart-format": words("svg", "png", "pdf"),
	"match":        words("id", "device"),
	"tls":          words("require", "allow", "off"),
	"fuamode":      words("none", "emulate", "native", "force", "pass", "discard"),
	"stop":         words(stopFlush, stopPowerCut),
	"log-format":   {words: serve.LogFormats},
	"baseline":     {words: runNames, files: true},
	"advertise":    {words: func() []string { return []string{"flush", "fua"} }, list: true},
	"durable":      words("none", "all", "every:"),

	"nbdbench run format":           {words: formatNames},
	"nbdbench report format":        {words: formatNames},
	"nbdbench compare format":       {words: func() []string { return names(compareFormats) }},
	"nbdbench merge format":         {words: formatNames},
	"nbdbench runs list format":     words("table", "json"),
	"nbdbench runs show format":     words("table", "json"),
	"nbdbench crash format":         {words: func() []string { return names(crashFormats) }},
	"nbdbench devices check format": {words: func() []string { return names(checkFormats) }},
	"nbdbench crash workload":       {words: func() []string { return append(workloads.List(), "all") }, list: true, files: true},
	"nbdbench crash device":         {words: func() []string { return append(catalog.List(), "all") }, list: true, files: true},
}

// argumentValues are the values of a command's arguments.
var argumentValues = map[string]values{
	"nbdbench serve":              {words: catalog.List, files: true},
	"nbdbench attach":             {words: catalog.List, files: true},
	"nbdbench devices show":       {words: catalog.List, files: true},
	"nbdbench devices check":      {words: catalog.List, files: true},
	"nbdbench workloads show":     {words: workloads.List, files: true},
	"nbdbench report":             {words: runNames, files: true},
	"nbdbench compare":            {words: runNames, files: true},
	"nbdbench export benchfmt":    {words: runNames, files: true},
	"nbdbench export openmetrics": {words: runNames, files: true},
	"nbdbench export csv":         {words: runNames, files: true},
	"nbdbench merge":              {words: runNames, files: true},
	"nbdbench runs show":          {words: runNames, files: true},
	"nbdbench runs rm":            {words: runNames, files: true},
}

func formatNames() []string { return names(formats) }

func names[V any](m map[string]V) (out []string) {
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// runNames are the names of stored runs in runsDir, the directories of those without
// one, and latest.
func runNames() []string {
	runs, err := results.StoredRuns(runsDir)
	if err != nil || len(runs) == 0 {
		return nil
	}
	out := []string{latestRun}
	for i := range runs {
		if name := runs[i].Labels.Name; name != "" {
			out = append(out, name)
		} else {
			out = append(out, runs[i].Dir)
		}
	}
	return out
}

// completeValues has the shell complete values of flags and arguments, for c and the
// commands below it.
func completeValues(c *cobra.Command) {
	if v, ok := argumentValues[c.CommandPath()]; ok {
		c.ValidArgsFunction = func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return v.complete(typed)
		}
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		v, ok := flagValues[c.CommandPath()+" "+f.Name]
		if !ok {
			v, ok = flagValues[f.Name]
		}
		if !ok {
			return
		}
		err := c.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return v.complete(typed)
		})
		if err != nil { // of a flag that is not there, or twice
			panic(err)
		}
	})
	for _, sub := range c.Commands() {
		completeValues(sub)
	}
}

// complete are the values that begin as typed. In a list that is its last one, and
// those that are there already do not come again.
func (v *values) complete(typed string) (out []string, directive cobra.ShellCompDirective) {
	directive = cobra.ShellCompDirectiveNoFileComp
	if v.files {
		directive = cobra.ShellCompDirectiveDefault
	}
	before, last := "", typed
	if i := strings.LastIndexByte(typed, ','); v.list && i >= 0 {
		before, last = typed[:i+1], typed[i+1:]
	}
	for _, w := range v.words() {
		if strings.HasPrefix(w, last) && !slices.Contains(strings.Split(before, ","), w) {
			out = append(out, before+w)
		}
	}
	if v.list {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return out, directive
}

// flagNames are all flags of c, with their dashes.
func flagNames(c *cobra.Command) (out []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) { out = append(out, "--"+f.Name) })
	return out
}

// didYouMean says which flag an unknown one was probably meant to be.
func didYouMean(c *cobra.Command, err error) string {
	_, name, ok := strings.Cut(err.Error(), "unknown flag: ")
	if !ok {
		return ""
	}
	return text.DidYouMean(name, flagNames(c))
}

// subcommand says which command an unknown one was probably meant to be.
func subcommand(c *cobra.Command, args []string) string {
	if len(args) == 0 || !c.HasSubCommands() {
		return ""
	}
	var all []string
	for _, sub := range c.Commands() {
		all = append(all, sub.Name())
	}
	return text.DidYouMean(args[0], all)
}
