"""BLOCK_STATUS tells what was written, zeroed and trimmed."""

import sys

from peer import block, expect, nbd

HOLE, ZERO = nbd.STATE_HOLE, nbd.STATE_ZERO
M = 1 << 20

h = nbd.NBD()
h.add_meta_context("base:allocation")
h.connect_uri(sys.argv[1])


def status(count, offset, flags=0):
    """The states of a range, as pairs of length and flags."""
    found = []

    def extent(context, at, entries, error):
        expect("context", context, "base:allocation")
        expect("offset", at, offset)
        found.extend(entries)
        return 0

    h.block_status(count, offset, extent, flags)
    return list(zip(found[::2], found[1::2]))


expect("an empty disk", status(4 * M, 0), [(4 * M, HOLE | ZERO)])
h.pwrite(block(1, M), M)
expect("after a write", status(4 * M, 0), [(M, HOLE | ZERO), (M, 0), (2 * M, HOLE | ZERO)])
expect("a part", status(M, M + M // 2), [(M // 2, 0), (M // 2, HOLE | ZERO)])
expect("one extent", status(4 * M, 0, nbd.CMD_FLAG_REQ_ONE), [(M, HOLE | ZERO)])
h.zero(M // 2, M, nbd.CMD_FLAG_NO_HOLE)
h.flush()
expect("after zeroes that are no hole", status(M, M), [(M // 2, ZERO), (M // 2, 0)])
h.zero(M // 4, M)
expect("after zeroes", status(M, M), [(M // 4, HOLE | ZERO), (M // 4, ZERO), (M // 2, 0)])
h.trim(M, M)
h.flush()
expect("after a trim", status(4 * M, 0), [(4 * M, HOLE | ZERO)])
h.shutdown()
