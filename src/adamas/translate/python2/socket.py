"""socket: what is received is a str, and what is sent may be one."""

from __future__ import annotations

import socket as _socket
from typing import Any

from adamas.translate.python2.file import File
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw, text

__all__ = [
    "SocketType",
    "create_connection",
    "fromfd",
    "inet_aton",
    "inet_ntoa",
    "inet_ntop",
    "inet_pton",
    "socket",
    "socketpair",
]


class socket(_socket.socket):  # noqa: N801
    """A socket."""

    def recv(self, size: int, flags: int = 0) -> Any:
        return text(super().recv(size, flags))

    def recvfrom(self, size: int, flags: int = 0) -> tuple[Any, Any]:
        data, address = super().recvfrom(size, flags)
        return text(data), address

    def send(self, data: Any, flags: int = 0) -> int:
        return super().send(raw(data), flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(raw(data), flags)

    def sendto(self, data: Any, *where: Any) -> int:
        return super().sendto(raw(data), *where)

    def setsockopt(self, level: int, name: int, value: Any, *length: Any) -> None:
        super().setsockopt(level, name, raw(value), *length)

    def getsockopt(self, level: int, name: int, *size: int) -> Any:
        return text(super().getsockopt(level, name, *size))

    def accept(self) -> tuple[Any, Any]:
        connection, address = super().accept()
        return _own(connection), address

    def makefile(self, mode: str = "r", bufsize: int = -1) -> Any:  # type: ignore[override]
        mode = mode.replace("b", "") or "r"
        unbuffered = bufsize in (0, 1) and mode != "r"
        return File.of(super().makefile("rwb" if "+" in mode or "rw" in mode else mode + "b"), flush=unbuffered)  # type: ignore[call-overload]


SocketType = socket


def _own(other: _socket.socket) -> socket:
    patience = other.gettimeout()
    made = socket(other.family, other.type, other.proto, fileno=other.detach())
    made.settimeout(patience)
    return made


def create_connection(*arguments: Any, **named: Any) -> socket:
    """A TCP connection to a host and port."""
    return _own(_socket.create_connection(*arguments, **named))


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> socket:
    """A socket on a copy of a descriptor."""
    return _own(_socket.fromfd(fd, family, type, proto))


def socketpair(*arguments: Any) -> tuple[socket, socket]:
    """Two sockets that are connected."""
    a, b = _socket.socketpair(*arguments)
    return _own(a), _own(b)


def inet_aton(address: str) -> Any:
    """The four bytes of an address."""
    return text(_socket.inet_aton(address))


def inet_ntoa(packed: Any) -> str:
    """An address of its four bytes."""
    return _socket.inet_ntoa(raw(packed))


def inet_pton(family: int, address: str) -> Any:
    """The bytes of an address."""
    return text(_socket.inet_pton(family, address))


def inet_ntop(family: int, packed: Any) -> str:
    """An address of its bytes."""
    return _socket.inet_ntop(family, raw(packed))


stand_in(__name__, _socket, *__all__)
