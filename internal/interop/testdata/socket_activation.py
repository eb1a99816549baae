"""A server that is started with a listening socket serves it."""

import sys

from peer import FUA, block, expect, nbd

h = nbd.NBD()
h.connect_systemd_socket_activation([sys.argv[1], "serve", "ram", "--size", "64MiB"])
expect("size", h.get_size(), 64 << 20)
h.pwrite(block(5), 0, FUA)
expect("what was written", h.pread(4096, 0), block(5))
h.shutdown()
