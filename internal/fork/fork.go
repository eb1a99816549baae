// Package fork starts programs from one thread that never ends.
//
// nbdkit in the foreground asks for SIGTERM when its parent ends, which for Linux
// is the thread that started it (PR_SET_PDEATHSIG), and Go ends a thread with the
// goroutine that is locked to it, as the pacer of a sim.Real is: a program that
// was started by any goroutine ends at any time.
package fork

import (
	"os/exec"
	"runtime"
	"sync"
)

type job struct {
	cmd *exec.Cmd
	err chan<- error
}

var jobs = sync.OnceValue(func() chan<- job {
	jobs := make(chan job)
	go func() {
		runtime.LockOSThread()
		for j := range jobs {
			j.err <- j.cmd.Start()
		}
	}()
	return jobs
})

// Start is c.Start.
func Start(c *exec.Cmd) error {
	err := make(chan error, 1)
	jobs() <- job{c, err}
	return <-err
}
