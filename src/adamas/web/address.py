"""Addresses to listen on: which of them others can reach, and the socket."""

from __future__ import annotations

import socket

BACKLOG = 64
LOOPBACK = ("127.0.0.1", "::1", "localhost")
WILDCARD = ("", "0.0.0.0", "::", "*")


def is_address(text: str) -> bool:
    """Whether this is an IP address, not a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host in LOOPBACK or (host.startswith("127.") and is_address(host))


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. An empty host is every address of both families where the machine has them."""
    if host in WILDCARD and host != "0.0.0.0" and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)
