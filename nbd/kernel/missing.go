package kernel

import (
	"fmt"
	"runtime"
)

// Missing is what this machine lacks.
type Missing struct {
	What string // "not permitted to load nbd.ko"
	Fix  string // what to do, a command where there is one
	Err  error  // the kernel's word, if any
}

func (m *Missing) Error() string {
	s := m.What
	if m.Err != nil {
		s = fmt.Sprintf("%s: %v", s, m.Err)
	}
	if m.Fix != "" {
		s += "; fix: " + m.Fix
	}
	return s
}

// Unwrap returns the kernel's word.
func (m *Missing) Unwrap() error { return m.Err }

// NeedsLinux says that what is asked for is on Linux only. It is a *Missing.
func NeedsLinux(what string) error {
	return &Missing{What: fmt.Sprintf("%s needs Linux, this is %s", what, runtime.GOOS)}
}
