"""What the programs here share: connections, and requests that must fail."""

import errno
import os

import nbd

assert nbd  # for those that import it from here
FUA = nbd.CMD_FLAG_FUA


def connect(uri, strict=True):
    """Connects; without strict, libnbd sends even what it knows to be wrong."""
    h = nbd.NBD()
    if not strict:
        h.set_strict_mode(0)
    h.set_uri_allow_local_file(True)  # for certificates
    h.connect_uri(uri)
    return h


def block(byte, size=4096):
    return bytearray([byte]) * size


def expect(what, got, want):
    if got != want:
        raise SystemExit(f"{what}: got {got!r:.200}, expected {want!r:.200}")


def refused(what, number, call, *args):
    """Checks that call(*args) fails with the errno number."""
    try:
        call(*args)
    except nbd.Error as e:
        if e.errnum != number:
            got = errno.errorcode.get(e.errnum, e.errnum)
            raise SystemExit(f"{what}: got {got}, expected {os.strerror(number)}")
        return
    raise SystemExit(f"{what}: succeeded, expected {os.strerror(number)}")
