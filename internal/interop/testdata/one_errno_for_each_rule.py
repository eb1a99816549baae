"""Each rule of the protocol has one errno, and the connection goes on."""

import errno
import sys

from peer import FUA, block, connect, expect, nbd, refused

h = connect(sys.argv[1], strict=False)
size = h.get_size()

refused("a write past the end", errno.ENOSPC, h.pwrite, block(1), size - 512)
refused("a write beyond the end", errno.ENOSPC, h.pwrite, block(1), size + 4096)
refused("a FUA write past the end", errno.ENOSPC, h.pwrite, block(1), size - 512, FUA)
refused("a zero past the end", errno.ENOSPC, h.zero, 4096, size - 512)
refused("a trim past the end", errno.EINVAL, h.trim, 4096, size - 512)
refused("a read past the end", errno.EINVAL, h.pread, 4096, size - 512)
refused("a write of nothing", errno.EINVAL, h.pwrite, bytearray(0), 0)
refused("a zero of nothing", errno.EINVAL, h.zero, 0, 0)
refused("a read of nothing", errno.EINVAL, h.pread, 0, 0)
refused("a trim of nothing", errno.EINVAL, h.trim, 0, 0)
refused("an unknown flag", errno.EINVAL, h.pwrite, block(1), 0, 1 << 9)
refused("NO_HOLE on a write", errno.EINVAL, h.pwrite, block(1), 0, nbd.CMD_FLAG_NO_HOLE)
refused("FAST_ZERO on a trim", errno.EINVAL, h.trim, 4096, 0, nbd.CMD_FLAG_FAST_ZERO)
refused("a cache past the end", errno.EINVAL, h.cache, 4096, size)
refused("DF on a write", errno.EINVAL, h.pwrite, block(1), 0, nbd.CMD_FLAG_DF)
refused("BLOCK_STATUS without a context", errno.EINVAL, h.block_status, 4096, 0, lambda *_: 0)
refused("a payload beyond what was advertised", errno.EINVAL, h.pwrite, block(1, 48 << 20), 0)
refused("a read beyond what was advertised", errno.EINVAL, h.pread, 48 << 20, 0)

# Nothing of all that was written, and the connection is as good as before.
expect("the last sectors", h.pread(4096, size - 4096), block(0))
h.pwrite(block(7), size - 4096, FUA)
h.pwrite(block(8, 32 << 20), 0)
expect("the last sectors", h.pread(4096, size - 4096), block(7))
expect("the largest payload", h.pread(32 << 20, 0), block(8, 32 << 20))
h.shutdown()

plain = nbd.NBD()
plain.set_strict_mode(0)
plain.set_request_structured_replies(False)
plain.connect_uri(sys.argv[1])
refused("DF without structured replies", errno.EINVAL, plain.pread, 4096, 0, nbd.CMD_FLAG_DF)
expect("the connection after that", plain.pread(4096, size - 4096), block(7))
plain.shutdown()
