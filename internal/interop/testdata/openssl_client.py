"""A client of OpenSSL: STARTTLS with a certificate, then LIST."""

import socket
import ssl
import struct
import sys

from peer import expect

port, certs, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
OPTION, REPLY = 0x49484156454F5054, 0x0003E889045565A9
STARTTLS, LIST, ACK, SERVER = 5, 3, 1, 2


def take(s, n):
    b = b""
    while len(b) < n:
        more = s.recv(n - len(b))
        if not more:
            raise SystemExit(f"the server has closed after {len(b)} of {n} bytes")
        b += more
    return b


def reply(s, option):
    magic, opt, kind, n = struct.unpack(">QLLL", take(s, 20))
    expect("a reply", (magic, opt), (REPLY, option))
    return kind, take(s, n)


plain = socket.create_connection(("localhost", port))
take(plain, 18)
plain.sendall(struct.pack(">LQLL", 3, OPTION, STARTTLS, 0))
expect("STARTTLS", reply(plain, STARTTLS), (ACK, b""))

context = ssl.create_default_context(cafile=f"{certs}/ca-cert.pem")
context.load_cert_chain(f"{certs}/client-cert.pem", f"{certs}/client-key.pem")
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
with context.wrap_socket(plain, server_hostname="localhost") as s:
    s.sendall(struct.pack(">QLL", OPTION, LIST, 0))
    kind, data = reply(s, LIST)
    expect("the first export", (kind, data[:8]), (SERVER, b"\0\0\0\4disk"))
    expect("the end of the list", reply(s, LIST), (ACK, b""))
