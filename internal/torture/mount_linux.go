package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mkfs has the quiet form of each file system's mkfs. What ext4 would else do after the
// mount is done at once.
var mkfs = map[string][]string{
	"ext4":  {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"},
	"xfs":   {"mkfs.xfs", "-q", "-f"},
	"btrfs": {"mkfs.btrfs", "-q", "-f"},
}

// fsck has the form of each file system's fsck that changes nothing.
var fsck = map[string][]string{
	"ext4":  {"e2fsck", "-fn"},
	"xfs":   {"xfs_repair", "-n"},
	"btrfs": {"btrfs", "check", "--readonly"},
}

// cloneOptions are the mount options without which a copy does not mount beside its
// original.
var cloneOptions = map[string]string{"xfs": "nouuid"}

// makeFS makes a file system.
func makeFS(ctx context.Context, fs, dev, options string) error {
	words := append(append([]string(nil), mkfs[fs]...), strings.Fields(options)...)
	out, err := exec.CommandContext(ctx, words[0], append(words[1:], dev)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w%s", words[0], err, quoted(string(out)))
	}
	return nil
}

// mount mounts dev on dir, which it makes. An error of mount(8) is a *mountError.
func mount(ctx context.Context, fs, dev, dir string, options ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	words := []string{"-n", "-t", fs}
	options = append([]string(nil), options...)
	for i := len(options) - 1; i >= 0; i-- {
		if options[i] == "" {
			options = append(options[:i], options[i+1:]...)
		}
	}
	if len(options) > 0 {
		words = append(words, "-o", strings.Join(options, ","))
	}
	out, err := exec.CommandContext(ctx, "mount", append(words, dev, dir)...).CombinedOutput()
	if err != nil {
		return &mountError{fmt.Errorf("mount %s: %w%s", fs, err, quoted(string(out))), string(out)}
	}
	return nil
}

// mountError is a file system that does not mount, and what mount(8) wrote.
type mountError struct {
	error
	said string
}

// The bounds of an unmount that something keeps busy.
const (
	unmountTries = 100
	unmountPause = 10 * time.Millisecond
)

// unmount unmounts dir. It reports whether dir was still in use after a second: then the
// file system ends when its last user does.
func unmount(dir string) (busy bool, err error) {
	for range unmountTries {
		err := unix.Unmount(dir, 0)
		if !errors.Is(err, unix.EBUSY) {
			return false, err
		}
		time.Sleep(unmountPause)
	}
	return true, unix.Unmount(dir, unix.MNT_DETACH)
}

// complains reports whether the file system's own check finds errors on dev.
func complains(ctx context.Context, fs, dev string) bool {
	words, ok := fsck[fs]
	if !ok {
		return false
	}
	err := exec.CommandContext(ctx, words[0], append(words[1:], dev)...).Run()
	return errors.As(err, new(*exec.ExitError)) && ctx.Err() == nil
}

// syncFS writes back all that a file system holds and waits until it is durable.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// sh runs a command in a process group of its own, which is killed when ctx ends. It
// returns the status, and the end of what was written.
func sh(ctx context.Context, words []string, env []string) (int, []byte, error) {
	var said tail
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = &said, &said
	inGroup(c)
	err := c.Run()
	b := said.Bytes()
	b = b[max(0, len(b)-maxSaid):]
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay): // a daemon of its has the output open
		return 0, b, nil
	case errors.As(err, &exit) && ctx.Err() == nil:
		return exit.ExitCode(), b, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return -1, b, fmt.Errorf("%s: %w", words[0], err)
}

// inGroup has a command run in a process group that is killed as a whole.
func inGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return unix.Kill(-c.Process.Pid, unix.SIGKILL) }
	c.WaitDelay = time.Second
}
