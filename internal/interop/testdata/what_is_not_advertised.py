"""What the export does not advertise is refused, and all the rest is taken."""

import errno
import sys

from peer import FUA, block, connect, expect, refused

h = connect(sys.argv[1], strict=False)
not_advertised = set(sys.argv[2:])
read_only = "write" in not_advertised

commands = {
    "write": (h.pwrite, block(1), 0),
    "fua": (h.pwrite, block(1), 0, FUA),
    "trim": (h.trim, 4096, 8192),
    "zero": (h.zero, 4096, 16384),
    "flush": (h.flush,),
}
advertised = {
    "write": not h.is_read_only(), "fua": h.can_fua(), "trim": h.can_trim(), "zero": h.can_zero(), "flush": h.can_flush(),
}
for name, call in commands.items():
    expect(f"{name} is advertised", bool(advertised[name]), name not in not_advertised)
    if name in not_advertised:
        refused(name, errno.EPERM if read_only else errno.EINVAL, *call)
    else:
        call[0](*call[1:])

if "fua" in not_advertised and not read_only:
    refused("zero with FUA", errno.EINVAL, h.zero, 4096, 16384, FUA)
    refused("read with FUA", errno.EINVAL, h.pread, 4096, 0, FUA)
expect("what is there", h.pread(4096, 0), block(0 if read_only else 1))
h.shutdown()
