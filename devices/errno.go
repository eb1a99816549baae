package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Errno is a request's result: 0, or one of the error values that the NBD
// protocol allows on the wire.
type Errno uint32

// The errors of the NBD protocol.
const (
	OK        Errno = 0
	EPERM     Errno = 1
	EIO       Errno = 5
	ENOMEM    Errno = 12
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	EOVERFLOW Errno = 75
	ENOTSUP   Errno = 95
	ESHUTDOWN Errno = 108
)

var errnoNames = map[Errno]string{
	OK: "OK", EPERM: "EPERM", EIO: "EIO", ENOMEM: "ENOMEM", EINVAL: "EINVAL", ENOSPC: "ENOSPC",
	EOVERFLOW: "EOVERFLOW", ENOTSUP: "ENOTSUP", ESHUTDOWN: "ESHUTDOWN",
}

func (e Errno) String() string {
	if s, ok := errnoNames[e]; ok {
		return s
	}
	return fmt.Sprintf("errno(%d)", uint32(e))
}

// Error makes a nonzero Errno an error.
func (e Errno) Error() string { return e.String() }

// Err is nil for OK, else e.
func (e Errno) Err() error {
	if e == OK {
		return nil
	}
	return e
}

// ErrnoOf maps an error of the host to the protocol's, as nbdkit does
// (server/protocol.c): what has no value of its own on the wire is EINVAL.
func ErrnoOf(err error) Errno {
	if err == nil {
		return OK
	}
	var e Errno
	if errors.As(err, &e) {
		return e
	}
	var s syscall.Errno
	if !errors.As(err, &s) {
		if errors.Is(err, fs.ErrPermission) {
			return EPERM
		}
		return EIO
	}
	switch s {
	case syscall.EROFS, syscall.EPERM:
		return EPERM
	case syscall.EIO:
		return EIO
	case syscall.ENOMEM:
		return ENOMEM
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
		return ENOSPC
	case syscall.ESHUTDOWN:
		return ESHUTDOWN
	default:
		return EINVAL
	}
}
