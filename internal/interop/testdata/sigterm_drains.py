"""Has a FLUSH in flight, says so, and then expects to be drained: new requests
get ESHUTDOWN, the FLUSH its reply, and then the server hangs up."""

import errno
import sys
import time

from peer import block, connect, expect, nbd, refused

h = connect(sys.argv[1], strict=False)
h.pwrite(block(1), 0)
flush = h.aio_flush()
# Requests are received in order, and what is wrong is answered at once: then the
# FLUSH has been received too.
refused("a read past the end", errno.EINVAL, h.pread, 512, h.get_size())
expect("the FLUSH so far", h.aio_command_completed(flush), False)
print("in flight", flush=True)

ended = []
while not ended:
    cookie = h.aio_pread(nbd.Buffer(512), 0, lambda e: ended.append(e.value) or 1)
    while h.poll(50) > 0 and not ended:
        pass
    time.sleep(0.05)
expect("the first to be answered", ended[0], errno.ESHUTDOWN)
print("shutting down", flush=True)

while not h.aio_command_completed(flush):
    h.poll(-1)
print("flushed", flush=True)
try:
    while not h.aio_is_closed() and not h.aio_is_dead():
        h.poll(-1)
except nbd.Error:
    pass
print("closed", flush=True)
