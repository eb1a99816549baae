package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of a workload that fails.
const (
	// maxFailures is how often in a row it may fail with nothing acknowledged between.
	maxFailures  = 3
	restartPause = 20 * time.Millisecond
)

// workload is the user's program, which is started again whenever it ends.
type workload struct {
	words, env []string
	acks       *channel
	stop       context.CancelFunc
	failed     chan error // of one that does not run
	ended      chan struct{}
}

// startWorkload starts the program. Its file descriptor 3 is the channel.
func startWorkload(ctx context.Context, words, env []string, acks *channel) (*workload, error) {
	if _, err := exec.LookPath(words[0]); err != nil {
		return nil, fmt.Errorf("the workload: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &workload{
		words: words, acks: acks, failed: make(chan error, 1), ended: make(chan struct{}),
		env: append([]string{"NBDBENCH_ACK=3", "NBDBENCH_ACK_PATH=" + acks.path}, env...),
	}
	w.stop = func() {
		cancel()
		<-w.ended
	}
	go w.keepRunning(ctx)
	return w, nil
}

// keepRunning runs the program again and again until ctx ends.
func (w *workload) keepRunning(ctx context.Context) {
	defer close(w.ended)
	failures, before := 0, 0
	for ctx.Err() == nil {
		err := w.once(ctx)
		acked, _, _ := w.acks.drain() // its error is that of the next cut
		if len(acked.data) > before || err == nil {
			failures = 0
		}
		before = len(acked.data)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if failures++; failures == maxFailures {
			w.failed <- fmt.Errorf("the workload failed %d times in a row: %w", failures, err)
			return
		}
		time.Sleep(restartPause)
	}
}

// once runs the program until it ends.
func (w *workload) once(ctx context.Context) error {
	fd, err := unix.Open(w.acks.path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", w.acks.path, err)
	}
	acks := os.NewFile(uintptr(fd), w.acks.path)
	defer acks.Close() // nothing was written to it here
	var said tail
	c := exec.CommandContext(ctx, w.words[0], w.words[1:]...)
	c.Env = append(os.Environ(), w.env...)
	c.Stdout, c.Stderr, c.ExtraFiles = &said, &said, []*os.File{acks}
	inGroup(c)
	err = c.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return fmt.Errorf("%s: %w%s", w.words[0], err, quoted(said.String()))
}
