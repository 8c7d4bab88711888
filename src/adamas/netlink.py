"""One question to the kernel over netlink, and all that it dumps. Source: netlink(7), Linux's include/uapi/linux/netlink.h."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time

from adamas.errors import NoData

HEADER = struct.Struct("=IHHII")
"""Length with the header, type, flags, sequence number, port."""
ERROR, DONE = 2, 3
REQUEST, DUMP = 0x1, 0x300
RECEIVE = 1 << 17
MOST = 64 << 20
ABSENT = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENOENT, errno.EPERM, errno.EACCES)


def dump(family: int, kind: int, request: bytes, timeout: float) -> list[bytes]:
    """The payloads of the answer; NoData where the kernel has no such family or may not be asked, else its OSError."""
    until = time.monotonic() + timeout
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    except OSError as error:
        raise _failed(error.errno or 0) from None
    with sock:
        sock.send(HEADER.pack(HEADER.size + len(request), kind, REQUEST | DUMP, 1, 0) + request)
        found: list[bytes] = []
        size = 0
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the kernel took too long to answer over netlink")
            sock.settimeout(left)
            data = sock.recv(RECEIVE)
            size += len(data)
            if size > MOST:
                raise OSError(f"the kernel dumps more than {MOST} bytes")
            if _take(data, found):
                return found


def _take(data: bytes, found: list[bytes]) -> bool:
    """Add a datagram's payloads; whether it was the last."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            raise OSError("a netlink message that is cut off")
        if sequence == 1:
            if kind == DONE:
                return True
            if kind == ERROR:
                (code,) = struct.unpack_from("=i", data, at + HEADER.size)
                raise _failed(-code)
            found.append(data[at + HEADER.size : at + length])
        at += (length + 3) & ~3
    return False


def _failed(code: int) -> Exception:
    words = f"netlink: {os.strerror(code)}"
    return NoData(words) if code in ABSENT else OSError(code, words)
