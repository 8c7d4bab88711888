"""Payloads over TCP, or TLS over TCP, to one of several addresses.

A TCP stream whose protocol has no answer says nothing about the peer having read it. So the connection is half-closed now and
then: a peer that read everything answers with its own end of file, and only then are the samples delivered. What is
unconfirmed when the connection breaks is sent again.

Source: tcp(7) for SIOCOUTQ, TCP_USER_TIMEOUT and the keepalive settings.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time

from adamas import Retry, option
from adamas.host import dial, dial_unix, split_address, unix_path
from adamas.transport.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

TCP_USER_TIMEOUT = 18  # milliseconds that sent data may stay unacknowledged; not in every libc's headers
SIOCOUTQ = 0x5411
SEND_BUFFER = 256 << 10
HOME = 60.0
"""Seconds after which the first address is tried again, where another one has taken its place."""


class Stream(Tls):
    """Hands payloads to a TCP peer. A protocol that answers reads the answer in `send`; others have arrival confirmed."""

    confirms_later: ClassVar[bool] = True
    port: ClassVar[int | None] = None
    """Where the protocol's servers listen, where an address names no port."""

    address: list[str] = option(["127.0.0.1"], "Where the backend listens: host:port, or several of them (see `routing`)")
    routing: str = option(
        "failover",
        "With several addresses: the first that answers, or each in its turn",
        choices=("failover", "round_robin"),
    )
    tls: bool = option(False, "Encrypt the connection")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self.socket: socket.socket | None = None
        self._at = 0
        self._home = 0.0

    def check(self) -> list[str]:
        """Each address must name a host and a port, or a unix socket, and there must be one."""
        wrong = super().check()
        if not self.address:
            wrong.append("address: expected at least one address")
        for address in self.address:
            if unix_path(address):
                if self.tls:
                    wrong.append("tls: a unix socket is not encrypted")
                continue
            try:
                split_address(address, self.port)
            except ValueError as error:
                wrong.append(f"address: expected {error}")
        return wrong

    def open(self) -> None:
        """Connect, resolving the name anew, to the address whose turn it is or the next that answers; OSError where none does."""
        if self.socket is not None:
            return
        if self.routing == "round_robin":
            self._at += 1
        elif self._at and time.monotonic() >= self._home:
            self._at = 0
        for step in range(len(self.address)):
            try:
                self.socket = self._connect(self.address[(self._at + step) % len(self.address)])
            except OSError:
                if step == len(self.address) - 1:
                    raise
                continue
            if step and self.routing == "failover":
                self._at = (self._at + step) % len(self.address)
                self._home = time.monotonic() + HOME
            break
        self.greet()

    def greet(self) -> None:
        """Say what a new connection begins with."""

    def _connect(self, address: str) -> socket.socket:
        if path := unix_path(address):
            return dial_unix(path, socket.SOCK_STREAM, self.timeout)
        host, port = split_address(address, self.port)
        sock = dial(host, port, self.timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(self.timeout * 1000))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for setting, seconds in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 2)):
                sock.setsockopt(socket.IPPROTO_TCP, setting, seconds)
            return self.context().wrap_socket(sock, server_hostname=self.server_name or host) if self.tls else sock
        except BaseException:
            sock.close()
            raise

    def send(self, payload: bytes) -> None:
        """Hand the payload to the kernel; arrival is `confirm`'s business."""
        assert self.socket is not None
        self.socket.sendall(payload)

    def confirm(self) -> None:
        """Say that we are done and wait for the peer to say so too, then forget the connection.

        A peer that dies with bytes unread resets the connection. One that closed before our last bytes came answers them
        with a reset as well, but its end of file may be read first: so its kernel must also have acknowledged everything.
        """
        sock = self.socket
        if sock is None:
            raise Retry("the connection was lost")
        if self.tls:
            sock.unwrap()  # type: ignore[attr-defined]  # sends our close_notify and waits for the peer's
            sock.close()
            self.socket = None
            return
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
        self.socket = None

    @staticmethod
    def _unacknowledged(sock: socket.socket) -> int:
        """Bytes that the peer's kernel did not acknowledge, our end of file among them."""
        count: int = struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, b"\0\0\0\0"))[0]
        return count

    def close(self) -> None:
        """Drop the connection."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
