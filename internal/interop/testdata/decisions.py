"""Says what an export advertises, and which calls of the backend, which logs
them, each command becomes."""

import errno
import sys

from peer import FUA, block, connect, nbd

uri, log = sys.argv[1:]
try:
    h = connect(uri, strict=False)
except nbd.Error:
    print("refused")
    sys.exit()


def say(what, call, *args):
    open(log, "w").close()
    error = []
    try:
        call(*args)
    except nbd.Error as e:
        error = [errno.errorcode[e.errnum]]
    with open(log) as f:
        print(f"{what}:", *(f.read().split() + error or ["nop"]))


flags = {"flush": h.can_flush(), "fua": h.can_fua(), "trim": h.can_trim(), "zero": h.can_zero()}
print(", ".join(f"{name} {str(bool(on)).lower()}" for name, on in flags.items()))
say("write", h.pwrite, block(1), 0)
say("write with FUA", h.pwrite, block(1), 0, FUA)
say("trim with FUA", h.trim, 4096, 0, FUA)
say("zero with FUA", h.zero, 4096, 0, FUA)
say("flush", h.flush)
h.shutdown()
