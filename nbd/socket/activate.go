package socket

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// firstActivated is the first descriptor that systemd passes: after stdin,
// stdout and stderr (sd_listen_fds(3)).
const firstActivated = 3

// maxActivated is how many listening sockets a server is started with.
const maxActivated = 64

// Activated are the listening sockets that this process was started with, by
// the protocol of systemd's socket activation: LISTEN_PID is this process, and
// LISTEN_FDS how many there are. There are none without these. The variables
// are unset, so that a child does not take them for its own.
func Activated() ([]net.Listener, error) {
	pid, fds := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	if fds == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 1 || n > maxActivated {
		return nil, fmt.Errorf("LISTEN_FDS: expected 1 to %d, got %q", maxActivated, fds)
	}
	var ls []net.Listener
	for fd := firstActivated; fd < firstActivated+n; fd++ {
		f := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		l, err := listenerOf(f)
		_ = f.Close() // the listener has one of its own
		if err != nil {
			for _, l := range ls {
				_ = l.Close()
			}
			return nil, fmt.Errorf("descriptor %d, of LISTEN_FDS %d: %w", fd, n, err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// URIOf is where clients find a listening socket, without an export.
func URIOf(l net.Listener) URI {
	return URI{Network: l.Addr().Network(), Address: addressOf(l.Addr())}
}
