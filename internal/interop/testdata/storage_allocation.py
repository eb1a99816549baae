"""What was never written to a file is a hole, and what is trimmed becomes one."""

import sys

from peer import FUA, block, expect, nbd

h = nbd.NBD()
h.add_meta_context("base:allocation")
h.connect_uri(sys.argv[1])


def status(n, off):
    got = []
    h.block_status(n, off, lambda metacontext, offset, entries, err: got.extend(entries))
    return got


expect("nothing written", status(65536, 0), [65536, 3])
h.pwrite(block(1, 65536), 65536, FUA)
expect("written in the middle", status(196608, 0), [65536, 3, 65536, 0, 65536, 3])
h.trim(65536, 65536, FUA)
expect("trimmed", h.pread(65536, 65536), block(0, 65536))
expect("a hole again", status(196608, 0), [196608, 3])
h.pwrite(block(2, 65536), 0)
h.zero(65536, 0, FUA | nbd.CMD_FLAG_NO_HOLE)
expect("zeroed", h.pread(65536, 0), block(0, 65536))
h.flush()
h.shutdown()
