"""A minimum block of 1 is advertised: requests of any offset and length do."""

import sys

from peer import FUA, block, connect, expect

h = connect(sys.argv[1])
size = h.get_size()
model = block(0, 65536)


def write(byte, length, offset, flags=0):
    h.pwrite(block(byte, length), offset, flags)
    model[offset:offset + length] = block(byte, length)


write(1, 65536, 0)
write(2, 1, 0)
write(3, 1, 511)
write(4, 2, 511, FUA)
write(5, 1000, 513)
write(6, 4097, 4095, FUA)
write(7, 3, 12287)
h.zero(777, 20001, FUA)
model[20001:20778] = block(0, 777)
h.flush()
expect("all of it", h.pread(65536, 0), model)
expect("a part of it", h.pread(999, 8191), model[8191:9190])
h.pwrite(block(9, 1), size - 1)
expect("the last byte", h.pread(3, size - 3), bytearray([0, 0, 9]))
h.shutdown()
