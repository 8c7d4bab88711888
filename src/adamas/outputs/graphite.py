"""Graphite's plain text protocol over TCP: `name value time` lines, to carbon or whatever speaks it.

The protocol has no acknowledgement, and a socket that took the bytes says nothing about the peer having read them. So the
connection is half-closed now and then: a peer that read everything answers with its own end of file, and only then are the
samples delivered. What is unconfirmed when the connection breaks is sent again; storing a value twice changes nothing there.

Source: https://graphite.readthedocs.io/en/latest/feeding-carbon.html; tcp(7) for SIOCOUTQ and TCP_USER_TIMEOUT.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Sequence

from adamas import Batch, Output, Retry, option
from adamas.host import dial, split_address

TCP_USER_TIMEOUT = 18  # milliseconds that sent data may stay unacknowledged; not in every libc's headers
SIOCOUTQ = 0x5411
SEND_BUFFER = 256 << 10


class Graphite(Output):
    """Sends every point as a line over TCP and has its arrival confirmed."""

    name = "graphite"
    diamond = "GraphiteHandler"
    default_naming = "path"
    confirms_later = True

    address: str = option("127.0.0.1:2003", "Where carbon listens for lines: host:port")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._socket: socket.socket | None = None

    def check(self) -> list[str]:
        """The address must name a host and a port."""
        try:
            split_address(self.address)
        except ValueError as error:
            return [f"address: expected {error}"]
        return []

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """All lines of the batches."""
        return self.lines.encode(batches)

    def open(self) -> None:
        """Connect, resolving the name anew; OSError where nobody listens."""
        if self._socket is not None:
            return
        host, port = split_address(self.address)
        sock = dial(host, port, self.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(self.timeout * 1000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for setting, seconds in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 2)):
            sock.setsockopt(socket.IPPROTO_TCP, setting, seconds)
        self._socket = sock

    def send(self, payload: bytes) -> None:
        """Hand the lines to the kernel; arrival is `confirm`'s business."""
        assert self._socket is not None
        self._socket.sendall(payload)

    def confirm(self) -> None:
        """Say that we are done and wait for the peer to say so too, then forget the connection.

        A peer that dies with bytes unread resets the connection. One that closed before our last bytes came answers them
        with a reset as well, but its end of file may be read first: so its kernel must also have acknowledged everything.
        """
        sock = self._socket
        if sock is None:
            raise Retry("the connection was lost")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
        for _ in range(100):
            if not self._unacknowledged(sock):
                break
            time.sleep(0.005)
        else:
            raise Retry("the peer closed the connection before it had everything")
        sock.close()
        self._socket = None

    @staticmethod
    def _unacknowledged(sock: socket.socket) -> int:
        """Bytes that the peer's kernel did not acknowledge, our end of file among them."""
        count: int = struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, b"\0\0\0\0"))[0]
        return count

    def close(self) -> None:
        """Drop the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
