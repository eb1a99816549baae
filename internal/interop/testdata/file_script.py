"""Writes, zeroes, trims and reads a disk with and without FUA, on two connections, and
says what it finds."""

import hashlib
import sys

from peer import FUA, block, connect, expect, nbd

(uri,) = sys.argv[1:]
a, b = connect(uri), connect(uri)
print(a.get_size(), a.can_fua(), a.can_flush(), a.can_zero(), a.can_trim(), a.can_multi_conn(), a.can_cache())
a.pwrite(block(1, 100_000), 512)
a.pwrite(block(2, 4096), 8192, FUA)
a.zero(4096, 16384, FUA)
a.zero(4096, 32768, nbd.CMD_FLAG_NO_HOLE)
a.trim(4096, 65536, FUA)
a.cache(4096, 0)
a.flush()
data = bytes(b.pread(a.get_size(), 0))
expect("a write", data[512:8192], bytes(block(1, 7680)))
expect("a write with FUA", data[8192:12288], bytes(block(2)))
expect("zeroes", data[16384:20480], bytes(4096))
expect("zeroes without a hole", data[32768:36864], bytes(4096))
print(hashlib.sha256(data).hexdigest())
a.shutdown()
b.shutdown()
