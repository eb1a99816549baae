package main

import (
	"os"

	"github.com/spf13/cobra"

	"nbdbench/internal/fiojob"
	"nbdbench/internal/input"
)

const importFioHelp = `Make a plan of a job file of fio, and say what became of each setting:

  nbdbench import fio-job job.fio --output plan.yaml
  nbdbench run plan.yaml

The report on stderr has a line for each setting: exact if the plan has it,
ignored if it concerns the host, the output or the processor, and refused if it
changes the requests and the plan cannot have it, or if it is not known. If one is
refused, no plan is written and the exit code is 2.

Values mean what they mean for fio 3.33; what it reads as something that nobody
means, as 1.5k for 1 byte, is refused. ${NAME} is a variable of the environment.
Nothing of a job file is run. docs/IMPORT.md has the keys.`

func newImportFio() *cobra.Command {
	c := transfer("fio-job FILE", "A job file of fio, as a plan", importFio)
	c.Long = importFioHelp
	return c
}

func importFio(c *cobra.Command, to *os.File, from string) error {
	open := func(name string) ([]byte, error) { return input.Read(name, fiojob.MaxBytes) }
	file, err := fiojob.Reader{Open: open, Environment: os.LookupEnv}.Read(from)
	if err != nil {
		return err
	}
	m := fiojob.Map(file)
	if err := m.Report(c.ErrOrStderr()); err != nil {
		return err
	}
	if err := m.Refused(); err != nil {
		return err
	}
	_, err = to.WriteString(m.Plan())
	return err
}
