"""Reads, writes and trims each block of a disk on which some fail, and says how."""

import errno
import sys

from peer import block, connect, nbd

(uri,) = sys.argv[1:]
h = connect(uri)
for offset in range(0, 20 * 4096, 4096):
    for call in (lambda: h.pread(4096, offset), lambda: h.pwrite(block(1), offset), lambda: h.trim(4096, offset)):
        try:
            call()
            print("OK", end=" ")
        except nbd.Error as e:
            print(errno.errorcode[e.errnum], end=" ")
    print(offset)
h.shutdown()
