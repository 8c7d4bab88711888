"""Unix sockets as addresses: `unix:/run/agent.sock`, for streams and for datagrams.

Source: unix(7).
"""

from __future__ import annotations

import socket


def dial_unix(path: str, kind: int, timeout: float) -> socket.socket:
    """A connection to the unix socket of that path; OSError where nobody listens."""
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def unix_path(address: str) -> str:
    """The path of an address such as "unix:/run/agent.sock" (or unix:///run/agent.sock); empty for any other."""
    path = address.removeprefix("unix:").removeprefix("//")
    return path if address.startswith("unix:") and path.startswith("/") else ""
