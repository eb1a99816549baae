package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nbdbench/internal/fork"
	"nbdbench/nbd/kernel"
)

// stageVariable in the environment says which of the processes this one is.
const stageVariable = "NBDBENCH_TORTURE_STAGE"

// The stages; none is the command itself.
const (
	stageInit   = "init"
	stageRun    = "run"
	stageDevice = "device"
)

// stopTimeout is how long the processes may take to end after SIGTERM.
const stopTimeout = 20 * time.Second

// Run runs c, which is valid. The process that ran it returns the document; the others
// return its exit code.
func Run(ctx context.Context, c Config, stdout, talk io.Writer) (*Document, int, error) {
	stage := os.Getenv(stageVariable)
	_ = os.Unsetenv(stageVariable) // no program of the user's gets it
	switch stage {
	case stageInit:
		code, err := c.initProcess(ctx)
		return nil, code, err
	case stageRun:
		d, err := c.run(ctx, talk)
		return d, 0, err
	case stageDevice:
		return nil, 0, c.serveDevice(os.Stdin, os.Stdout)
	}
	if err := c.missing(); err != nil {
		return nil, 0, err
	}
	code, err := c.command(ctx, stdout, talk)
	return nil, code, err
}

// again is this program with the same arguments, as another stage.
func (c *Config) again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", c.Again...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"="+stage)
	return cmd
}

// command starts the init process in namespaces of its own and waits for it.
func (c *Config) command(ctx context.Context, stdout, talk io.Writer) (int, error) {
	cmd := c.again(stageInit)
	cmd.Stdout, cmd.Stderr = stdout, talk
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL, // of the thread of internal/fork, which never ends
		Setpgid:    true,            // a terminal's signals are for this process
	}
	if err := fork.Start(cmd); err != nil {
		if errors.Is(err, unix.EPERM) {
			return 0, &kernel.Missing{What: "not permitted to make mount and PID namespaces", Fix: "run as root with CAP_SYS_ADMIN", Err: err}
		}
		return 0, err
	}
	stopped := context.AfterFunc(ctx, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		time.AfterFunc(stopTimeout, func() { _ = cmd.Process.Kill() })
	})
	defer stopped()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	}
	return 0, fmt.Errorf("the run's first process: %w", err)
}

// initProcess makes the mounts that only the run has, starts the run, reaps orphans, and
// returns the run's exit code. With it the kernel kills all that is left.
func (c *Config) initProcess(ctx context.Context) (int, error) {
	if err := privateMounts(); err != nil {
		return 0, err
	}
	cmd := c.again(stageRun)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	stopped := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stopped()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("waiting for the run: %w", err)
		case pid == cmd.Process.Pid && status.Signaled():
			return 0, fmt.Errorf("the run was ended by signal %v", status.Signal())
		case pid == cmd.Process.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// privateMounts has no mount of this namespace seen elsewhere, mounts the namespace's own
// /proc, and a file system in memory on Dir.
func privateMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("nbdbench", Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", Dir, err)
	}
	return nil
}

// missing is what this machine lacks for c, or nil.
func (c *Config) missing() error {
	switch c.Via {
	case "vm":
		return &kernel.Missing{What: "--via vm: this version has no virtual machine for torture", Fix: "--via fuse on a machine with /dev/fuse and loop devices"}
	case "nbd":
		return &kernel.Missing{What: "--via nbd: this version gives torture's device to the kernel only by FUSE", Fix: "--via fuse"}
	}
	if os.Geteuid() != 0 {
		return &kernel.Missing{What: "not root: torture mounts file systems", Fix: "sudo"}
	}
	for _, need := range []struct{ path, fix string }{
		{"/dev/fuse", "modprobe fuse"}, {"/dev/loop-control", "modprobe loop"},
	} {
		if f, err := os.OpenFile(need.path, os.O_RDWR, 0); err != nil {
			return &kernel.Missing{What: "no " + need.path, Fix: need.fix, Err: err}
		} else if err := f.Close(); err != nil {
			return err
		}
	}
	fs := c.FS
	if c.Replay != "" {
		k, err := readKept(c.Replay)
		if err != nil {
			return err
		}
		fs = k.FS
	}
	if err := missingPrograms(c.App); err != nil {
		return err
	}
	return missingFS(fs)
}

// missingPrograms is what the machine lacks for a preset; Debian has PostgreSQL's
// programs in a directory of their own.
func missingPrograms(app string) error {
	p := presets[app]
	if p == nil {
		return nil
	}
	for _, program := range p.needs {
		_, err := exec.LookPath(program)
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program) // the pattern is good
		if err != nil && len(found) == 0 {
			return &kernel.Missing{What: "no " + program, Fix: "apt install " + p.debian, Err: errors.Unwrap(err)}
		}
	}
	if p.module != "" {
		if err := exec.Command(debianPython, "-c", "import "+p.module).Run(); err != nil {
			return &kernel.Missing{What: "no module " + p.module + " of " + debianPython, Fix: "apt install " + p.debian, Err: err}
		}
	}
	return nil
}

// missingFS is what the machine lacks for a file system.
func missingFS(fs string) error {
	words, ok := mkfs[fs]
	if !ok {
		return nil
	}
	for _, program := range []string{words[0], "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			return &kernel.Missing{What: "no " + program, Fix: "apt install " + packages[program], Err: errors.Unwrap(err)}
		}
	}
	if fs == "btrfs" && release() < btrfsClones {
		return &kernel.Missing{What: fmt.Sprintf("Linux %d.%d mounts no copy of a btrfs beside its original, 6.7 does", release()>>8, release()&0xff), Fix: "--fs ext4 or --fs xfs"}
	}
	return nil
}

// packages are Debian's packages of programs.
var packages = map[string]string{
	"mkfs.ext4": "e2fsprogs", "mkfs.xfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs", "mount": "mount",
}

// btrfsClones is the first release of Linux with temp_fsid.
const btrfsClones = 6<<8 | 7

// release is the kernel's release, major<<8 | minor.
func release() int {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return 0
	}
	if _, err := fmt.Sscanf(strings.TrimRight(string(u.Release[:]), "\x00"), "%d.%d", &major, &minor); err != nil {
		return 0
	}
	return major<<8 | min(minor, 0xff)
}
