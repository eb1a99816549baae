"""With multi-conn, what one connection got a reply for the others see, and a
FLUSH on one covers the writes of all."""

import sys

from peer import FUA, block, connect, expect

hs = [connect(sys.argv[1]) for _ in range(8)]
for h in hs:
    expect("multi-conn", h.can_multi_conn(), True)
for i, h in enumerate(hs):
    h.pwrite(block(i + 1), 4096 * i, FUA if i % 2 else 0)
hs[-1].flush()
for h in hs:
    for i in range(len(hs)):
        expect(f"block {i}", h.pread(4096, 4096 * i), block(i + 1))

# Many in flight on each, without waiting between connections.
places = [(i, j, (1 << 20) + (i * 64 + j) * 4096) for i in range(len(hs)) for j in range(64)]
data = [block(i + j + 1) for i, j, _ in places]
cookies = [hs[i].aio_pwrite(b, at, flags=FUA) for (i, j, at), b in zip(places, data)]
for (i, j, _), cookie in zip(places, cookies):
    while not hs[i].aio_command_completed(cookie):
        hs[i].poll(-1)
for (i, j, at), b in zip(places, data):
    expect(f"write {j} of connection {i}", hs[(i + 1) % len(hs)].pread(4096, at), b)
for h in hs:
    h.shutdown()
