//go:build !linux

package torture

import (
	"context"
	"io"

	"nbdbench/nbd/kernel"
)

// Run is for Linux only.
func Run(context.Context, Config, io.Writer, io.Writer) (*Document, int, error) {
	return nil, 0, kernel.NeedsLinux("torture")
}
