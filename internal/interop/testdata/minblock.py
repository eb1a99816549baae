"""minblock.py URI MINIMUM: the minimum block is as told, and less is refused."""

import sys

import nbd

uri, minimum = sys.argv[1], int(sys.argv[2])
h = nbd.NBD()
h.set_strict_mode(0)
h.connect_uri(uri)
got = max(h.get_block_size(nbd.SIZE_MINIMUM), 1)
assert got == minimum, "a minimum block of %d, want %d" % (got, minimum)


def outcome(ask):
    try:
        ask()
        return "ok"
    except nbd.Error as e:
        return e.errno


short = "ok" if minimum <= 512 else "EINVAL"
asked = {
    "write": lambda: h.pwrite(bytearray(512), 0),
    "misplaced": lambda: h.pwrite(bytearray(minimum * 2), minimum // 2),
    "read": lambda: h.pread(512, 0),
    "zero": lambda: h.zero(512, 0),
}
for name, ask in asked.items():
    assert outcome(ask) == short, "%s: %s, want %s" % (name, outcome(ask), short)
assert outcome(lambda: h.pwrite(bytearray(8192), 0)) == "ok"
assert outcome(lambda: h.pread(8192, 8192)) == "ok"
