"""EXPORT_NAME, with and without the padding; INFO, LIST and GO; options that
are refused without an end to the connection."""

import errno
import sys

from peer import FUA, block, connect, expect, nbd, refused

uri = sys.argv[1]


def use(h):
    expect("size", h.get_size(), 64 << 20)
    expect("FUA", h.can_fua(), True)
    h.pwrite(block(5), 0, FUA)
    expect("what was written", h.pread(4096, 0), block(5))
    h.shutdown()


for flags, protocol in [
    (0, "newstyle"),
    (nbd.HANDSHAKE_FLAG_NO_ZEROES, "newstyle"),
    (nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE, "newstyle-fixed"),
    (nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE | nbd.HANDSHAKE_FLAG_NO_ZEROES, "newstyle-fixed"),
]:
    h = nbd.NBD()
    h.set_handshake_flags(flags)
    h.connect_uri(uri)
    expect(f"protocol of flags {flags}", h.get_protocol(), protocol)
    use(h)

h = nbd.NBD()
h.set_opt_mode(True)
h.connect_uri(uri)
exports = []
h.opt_list(lambda name, description: exports.append((name, description)))
expect("exports", exports, [("disk", "ram, pass")])
h.set_export_name("floppy")
refused("INFO about no export", errno.ENOENT, h.opt_info)
refused("GO to no export", errno.ENOENT, h.opt_go)
h.set_export_name("disk")
h.add_meta_context("base:allocation")
contexts = []
h.opt_list_meta_context(contexts.append)
expect("contexts", contexts, ["base:allocation"])
h.opt_info()
expect("size, from INFO", h.get_size(), 64 << 20)
expect("a context", h.can_meta_context("base:allocation"), True)
h.opt_go()
expect("structured replies", h.get_structured_replies_negotiated(), True)
use(h)

h = nbd.NBD()
h.set_opt_mode(True)
h.connect_uri(uri)
h.opt_abort()

h = nbd.NBD()
h.set_tls(nbd.TLS_ALLOW)
h.connect_uri(uri)
expect("TLS", h.get_tls_negotiated(), False)
use(h)

h = nbd.NBD()
h.set_tls(nbd.TLS_REQUIRE)
try:
    h.connect_uri(uri)
    raise SystemExit("a connection that requires TLS was made")
except nbd.Error as e:
    expect("an error about TLS", "TLS" in e.string, True)
expect("the server after that", connect(uri).get_size(), 64 << 20)
