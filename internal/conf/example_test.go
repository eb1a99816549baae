package conf_test

import (
	"fmt"

	"nbdbench/internal/conf"
	"nbdbench/internal/units"
)

type region struct {
	Name string     `yaml:"name"`
	Size units.Size `yaml:"size"`
}

func (r *region) validate() error {
	if r.Size%512 != 0 {
		return conf.At("size", "expected a multiple of 512, got %v", r.Size)
	}
	return nil
}

func Example() {
	var plan struct {
		Regions []region `yaml:"regions"`
	}
	data := []byte("regions:\n  - {name: log, size: 64MiB}\n  - {name: data, size: 1000}\n")
	doc, err := conf.Parse("plan.yaml", data)
	if err == nil {
		err = doc.Decode(&plan)
	}
	for i := range plan.Regions {
		if err == nil {
			err = doc.Locate(conf.Under(fmt.Sprintf("regions[%d]", i), plan.Regions[i].validate()))
		}
	}
	fmt.Println(err)
	fmt.Println(conf.Decode("plan.yaml", []byte("regoins: []\n"), &plan))
	// Output:
	// plan.yaml:3:24: regions[1].size: expected a multiple of 512, got 1kB
	// plan.yaml:1:1: unknown key "regoins", expected regions
}
