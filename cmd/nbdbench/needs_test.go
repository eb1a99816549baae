package main

import (
	"fmt"
	"testing"

	"nbdbench/nbd/kernel"
)

// TestWhatNeedsLinuxIsACapability: a command that another system cannot run exits
// with 3.
func TestWhatNeedsLinuxIsACapability(t *testing.T) {
	if code := codeOf(fmt.Errorf("attach: %w", kernel.NeedsLinux("/dev/nbdN"))); code != exitCapability {
		t.Errorf("exit code %d, expected %d", code, exitCapability)
	}
}
