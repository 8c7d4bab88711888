"""Payloads over TCP, or TLS over TCP, to one of several addresses.

A TCP stream whose protocol has no answer says nothing about the peer having read it. So the connection is half-closed now and
then: a peer that read everything answers with its own end of file, and only then are the samples delivered. What is
unconfirmed when the connection breaks is sent again.

Source: tcp(7) for SIOCOUTQ, TCP_INFO, TCP_USER_TIMEOUT and the keepalive settings.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time

from adamas import Retry, option
from adamas.host import dial, split_address
from adamas.transport.tls import Tls
from adamas.transport.unix import dial_unix, unix_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

KEEPALIVE = ((socket.TCP_KEEPIDLE, 3), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3))
SILENT = 4.0
"""The least seconds without a word from the peer's kernel after which it has vanished: one that is there answers the probes.

TCP_USER_TIMEOUT would tell, too; but it gives up peers that read slowly: their window opens, never for a whole segment.
"""
LAST_ACK = 56
"""Where the milliseconds since the last acknowledgement are in the kernel's struct tcp_info (linux/tcp.h)."""
SIOCOUTQ = 0x5411
SEND_BUFFER = 256 << 10


class Stream(Tls):
    """Hands payloads to a TCP peer. A protocol that answers reads the answer in `send`; others have arrival confirmed."""

    confirms_later: ClassVar[bool] = True
    port: ClassVar[int | None] = None
    """Where the protocol's servers listen, where an address names no port."""
    home: ClassVar[float] = 60.0
    """Seconds after which the first address is tried again, where another one has taken its place."""
    turn: ClassVar[float] = 10.0
    """Seconds after which it is the next address' turn, where each send is answered on a connection that stays."""

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
        self._at = -1 if self.routing == "round_robin" else 0
        self._until = 0.0

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
                self.place(address)
            except ValueError as error:
                wrong.append(f"address: expected {error}")
        return wrong

    def place(self, address: str) -> tuple[str, int]:
        """Host and port of an address; ValueError that says what was expected."""
        return split_address(address, self.port)

    def open(self) -> None:
        """Connect, resolving the name anew, to the address whose turn it is or the next that answers; OSError where none does."""
        in_turn = self.routing == "round_robin"
        due = time.monotonic() >= self._until and (len(self.address) > 1 if in_turn else self._at > 0)
        if self.socket is not None:
            if self.confirms_later or not due:
                return
            self._hang_up()  # each send was answered: nothing is under way
        if in_turn:
            self._at += 1
        elif due:
            self._at = 0
        failed = []
        for step in range(len(self.address)):
            at = (self._at + step) % len(self.address)
            try:
                self.socket = self._connect(self.address[at])
            except OSError as error:
                if len(self.address) == 1:
                    raise
                failed.append(f"{self.address[at]}: {error.strerror or error}")
            else:
                self._move(at)
                self.greet()
                return
        raise ConnectionError(f"none of {len(failed)} addresses answers: {'; '.join(failed)}")

    def _move(self, at: int) -> None:
        """Stay with an address, for its turn or until the first may be back."""
        if self.routing == "round_robin":
            self._until = time.monotonic() + self.turn
        elif at != self._at:
            self._until = time.monotonic() + self.home
        self._at = at

    def greet(self) -> None:
        """Say what a new connection begins with."""

    def _connect(self, address: str) -> socket.socket:
        if path := unix_path(address):
            return dial_unix(path, socket.SOCK_STREAM, self.timeout)
        host, port = self.place(address)
        sock = dial(host, port, self.timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for setting, value in KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, setting, value)
            return self.encrypted(sock, host) if self.tls else sock
        except BaseException:
            sock.close()
            raise

    def send(self, payload: bytes) -> None:
        """Hand the payload to the kernel; arrival is `confirm`'s business. A slow peer has time for as long as it reads."""
        sock = self.socket
        assert sock is not None
        rest = memoryview(payload)
        end = time.monotonic() + self.timeout
        sock.settimeout(min(1.0, self.timeout))
        while rest:
            self._look_for(sock)
            try:
                rest = rest[sock.send(rest) :]
                end = time.monotonic() + self.timeout
            except TimeoutError as error:
                if error.errno or time.monotonic() > end:
                    raise
        sock.settimeout(self.timeout)

    def receive(self, size: int) -> bytes:
        """So many bytes of the peer's answer; ConnectionError where it hangs up before."""
        assert self.socket is not None
        parts = []
        while size:
            part = self.socket.recv(size)
            if not part:
                raise ConnectionError("the peer hung up before its answer was complete")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def confirm(self) -> None:
        """Say that we are done and wait for the peer to say so too, then forget the connection.

        A peer that dies with bytes unread resets the connection. One that closed before our last bytes came answers them
        with a reset as well, but its end of file may be read first: so its kernel must also have acknowledged everything.
        """
        sock = self.socket
        if sock is None:
            raise Retry("the connection was lost")
        if self.tls:
            self._say_goodbye(sock)
        else:
            self._half_close(sock)
        for _ in range(100):
            if not self._unacknowledged(sock):
                break
            time.sleep(0.005)
        else:
            raise Retry("the peer closed the connection before it had everything")
        self._hang_up()

    def _half_close(self, sock: socket.socket) -> None:
        """Say that nothing more comes and wait for the peer's end of file: while it goes on reading, and `timeout` longer."""
        sock.shutdown(socket.SHUT_WR)
        left = self._unacknowledged(sock)
        end = time.monotonic() + self.timeout
        sock.settimeout(min(1.0, self.timeout))
        while True:
            try:
                if not sock.recv(65536):
                    return
            except TimeoutError as error:
                if error.errno:  # the kernel's word: the peer is gone
                    raise
                self._look_for(sock)
                before, left = left, self._unacknowledged(sock)
                if left < before:
                    end = time.monotonic() + self.timeout
            if time.monotonic() > end:
                raise Retry("the peer does not close the connection")

    def _look_for(self, sock: socket.socket) -> None:
        """TimeoutError where the peer has what we sent unacknowledged, and its kernel said nothing for half of `timeout`."""
        if sock.family == socket.AF_UNIX or not self._unacknowledged(sock):
            return
        (silent,) = struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_ACK + 4), LAST_ACK)
        if silent > 1000 * max(SILENT, self.timeout / 2):
            raise TimeoutError(f"the peer has acknowledged nothing for {silent / 1000:.0f} s")

    @staticmethod
    def _say_goodbye(sock: socket.socket) -> None:
        """Send TLS' close_notify and wait for the peer's; one that just closes the connection has read it, too."""
        import ssl

        try:
            sock.unwrap()  # type: ignore[attr-defined]
        except ssl.SSLEOFError:
            pass
        except OSError as error:
            if error.errno:  # the end of the file, without more words, is an error without a number
                raise

    @staticmethod
    def _unacknowledged(sock: socket.socket) -> int:
        """Bytes that the peer's kernel did not acknowledge, our end of file among them."""
        count: int = struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, b"\0\0\0\0"))[0]
        return count

    def close(self) -> None:
        """Drop the connection. What it had is not confirmed: with several addresses, the next one is tried."""
        if self.socket is not None:
            self._hang_up()
            if self.routing != "round_robin":
                self._move((self._at + 1) % len(self.address))

    def _hang_up(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
