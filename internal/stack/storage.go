package stack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nbdbench/devices/catalog"
)

// IsStorage reports whether a device's name means storage of the host: the path of a
// block device, a file or a directory that is there. A path that ends in .yaml or .yml
// is a profile's, and so is the name of one that the program has.
func IsStorage(name string) bool {
	if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" || slices.Contains(catalog.List(), name) {
		return false
	}
	if strings.HasPrefix(name, "go:") || strings.HasPrefix(name, "sh:") {
		return false
	}
	_, err := os.Stat(name)
	return err == nil
}
