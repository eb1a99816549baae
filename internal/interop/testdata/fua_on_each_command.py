"""FUA is taken with WRITE, TRIM and WRITE_ZEROES, and ignored with the rest."""

import sys

from peer import FUA, block, connect, expect, nbd

h = connect(sys.argv[1])
h.pwrite(block(1, 65536), 0)
h.pwrite(block(2), 0, FUA)
h.pwrite(block(3, 8192), 8192, FUA)
expect("FUA write", h.pread(4096, 0), block(2))
expect("beside it", h.pread(4096, 4096), block(1))
expect("the longer one", h.pread(8192, 8192), block(3, 8192))

h.trim(4096, 0, FUA)
expect("beside the trim", h.pread(4096, 4096), block(1))
h.zero(4096, 8192, FUA)
expect("FUA zero", h.pread(4096, 8192), block(0))
h.zero(4096, 16384, FUA | nbd.CMD_FLAG_NO_HOLE)
expect("FUA zero without a hole", h.pread(4096, 16384), block(0))
expect("beside the zeroes", h.pread(4096, 12288), block(3))

h.flush()
h.pwrite(block(4, 512), 512, FUA)
expect("one sector", h.pread(512, 512), block(4, 512))
h.shutdown()

# The protocol: FUA has no meaning with other commands, and SHOULD be accepted.
h = connect(sys.argv[1], strict=False)
expect("READ with FUA", h.pread(512, 512, FUA), block(4, 512))
cookie = h.aio_flush(flags=FUA)
while not h.aio_command_completed(cookie):
    h.poll(-1)
h.shutdown()
