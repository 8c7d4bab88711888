"""Payloads in UDP datagrams: sent once, and nobody says whether they arrived.

A payload is a run of parts (lines, or packets that say their own length); as many as fit go into one datagram. Where the
machine itself says that nobody listens (ICMP, port unreachable), the payload is sent again later.

Source: udp(7).
"""

from __future__ import annotations

import errno
import socket
import time

from adamas import Output, Rejected, option
from adamas.host import split_address
from adamas.transport.unix import dial_unix, unix_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import ClassVar


class Datagram(Output):
    """Sends lines over UDP."""

    answered = False
    port: ClassVar[int | None] = None
    """Where the protocol's servers listen, where the address names no port."""
    fresh: ClassVar[float] = 60.0
    """Seconds after which the name is resolved anew: nobody says that a receiver is elsewhere by now."""

    address: str = option("127.0.0.1", "Where the backend listens: host:port")
    packet: int = option(1432, "The most bytes in one datagram: what fits in an Ethernet frame", minimum=64, maximum=65507)

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self.socket: socket.socket | None = None
        self._resolved = 0.0
        self._turn = 0

    def check(self) -> list[str]:
        """The address must name a host and a port, or a unix socket."""
        wrong = super().check()
        if unix_path(self.address):
            return wrong
        try:
            split_address(self.address, self.port)
        except ValueError as error:
            wrong.append(f"address: expected {error}")
        return wrong

    def open(self) -> None:
        """Resolve the name, where there is no socket yet or it is an old one; OSError where it has no address."""
        now = time.monotonic()
        if self.socket is not None and now < self._resolved + self.fresh:
            return
        try:
            made = self._connect()
        except OSError:
            if self.socket is None:
                raise
        else:
            self.close()
            self.socket = made
        self._resolved = now  # a name server that is away is not asked each time: the old address will do

    def _connect(self) -> socket.socket:
        if path := unix_path(self.address):
            return dial_unix(path, socket.SOCK_DGRAM, self.timeout)
        host, port = split_address(self.address, self.port)
        # As bytes, an ASCII name skips the international names' codec and its tables.
        found = socket.getaddrinfo(host.encode() if host.isascii() else host, port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, peer = found[self._turn % len(found)]
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(self.timeout)
            made.connect(peer)
        except BaseException:
            made.close()
            raise
        return made

    def send(self, payload: bytes) -> None:
        """Send all of it in as few datagrams as it fits; Rejected for what is longer than any datagram."""
        assert self.socket is not None
        refused = []
        for packet in self.packets(payload):
            try:
                self.socket.send(packet)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    self._turn += 1  # localhost may be ::1 first, where nobody listens
                    raise
                refused.append(packet)
        if refused:
            raise Rejected("too long for a datagram", len(refused), b"".join(refused))

    def packets(self, payload: bytes) -> Iterator[bytes]:
        """The payload's datagrams: whole lines, as many as fit (a longer line goes alone)."""
        start = 0
        while start < len(payload):
            end = start + self.packet
            if end < len(payload):
                cut = payload.rfind(b"\n", start, end)
                if cut < start:
                    cut = payload.find(b"\n", end)
                end = cut + 1 if cut >= 0 else len(payload)
            yield payload[start:end]
            start = end

    def close(self) -> None:
        """Forget the socket; the next open resolves the name anew."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
