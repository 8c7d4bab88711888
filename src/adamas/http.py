"""One HTTP request for a collector or an output: http.client, certificates verified, redirects not followed."""

from __future__ import annotations

import http.client
import socket
import time
from urllib.parse import urlsplit

from adamas.answer import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

TRUST = 3600.0
"""Seconds after which the authorities' certificates are read again: it takes 25 ms of CPU, and they seldom change."""
_trusted: tuple[float, ssl.SSLContext] | None = None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def trust() -> ssl.SSLContext:
    """What verifies servers by this machine's authorities."""
    global _trusted
    now = time.monotonic()
    if _trusted is None or now - _trusted[0] > TRUST:
        import ssl

        _trusted = now, ssl.create_default_context()
    return _trusted[1]


def connection(url: str, timeout: float) -> http.client.HTTPConnection:
    """A connection for `http://`, `https://` or `unix:///path/to.sock`; ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    if parts.scheme == "https" and parts.hostname:
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=trust())
    if parts.scheme == "unix" and parts.path:
        return _UnixConnection(parts.path.partition(":")[0], timeout)
    raise ValueError(f'an address such as "http://127.0.0.1/status", not "{url}"')


def target(url: str) -> str:
    """What a request asks for: path and query of the address, what follows the colon of a unix socket's."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path.partition(":")[2] or "/"
    return (parts.path or "/") + ("?" + parts.query if parts.query else "")


def request(url: str, method: str, headers: Mapping[str, str], body: bytes | None, timeout: float, most: int) -> Answer:
    """One request, one answer, at most `most` bytes of it; ConnectionError when the server sends more or nonsense."""
    conn = connection(url, timeout)
    try:
        conn.request(method, target(url), body=body, headers={"User-Agent": "adamas", **headers})
        response = conn.getresponse()
        data = response.read(most + 1)
        if len(data) > most:
            raise ConnectionError(f"the server sent more than {most} bytes")
        return Answer(response.status, data, {k.lower(): v for k, v in response.getheaders()})
    except http.client.HTTPException as error:
        raise ConnectionError(f"not an HTTP answer: {error!r}") from None
    finally:
        conn.close()
