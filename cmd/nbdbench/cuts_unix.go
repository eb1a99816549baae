//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyCuts has SIGUSR1 sent to cuts.
func notifyCuts(cuts chan<- os.Signal) { signal.Notify(cuts, syscall.SIGUSR1) }
