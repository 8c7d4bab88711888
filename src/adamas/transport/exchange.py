"""HTTP/1.1 over a connection that is there: a request, and its answer.

No more than a client of APIs needs: no cookies, no redirections, bodies of known length. (Python's http.client has all of HTTP,
and costs an agent 6 MB with what it imports.)

Source: RFC 9112, sections 2, 6, 7.1 and 9.3; RFC 9110, section 10.2.3 (Retry-After).
"""

from __future__ import annotations

import re
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: .*)?")
MOST_HEAD = 64 << 10
PIECE = 64 << 10
LONGEST = 3600.0
"""The most seconds that a peer can have us wait."""


class Malformed(Exception):
    """What came is not an HTTP answer, or half of one."""


class Exchange:
    """A connection to an HTTP server, one request at a time. `open` says whether it may carry another one."""

    def __init__(self, sock: socket.socket, most: int) -> None:
        """`most`: how much of an answer's body is read; the connection is not kept where there is more."""
        self.socket = sock
        self.open = True
        self._most = most
        self._read = b""

    def stirs(self) -> bool:
        """Whether the peer does something unasked: it closes the connection, as a rule."""
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        return bool(self._read or waiting.poll(0))

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of a request. OSError where the connection breaks, Malformed for nonsense."""
        lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()]]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        try:
            self.socket.sendall(head + (body or b""))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the peer may have answered before it had read everything, and that says why
        while True:
            version, status, answered = self._head()
            if status >= 200:
                break
        tunnel = method == "CONNECT" and status < 300
        content = b"" if tunnel else self._body(status, answered)
        if version == 0 or "close" in answered.get("connection", "").lower():
            self.open = False
        return status, answered, content

    def _head(self) -> tuple[int, int, dict[str, str]]:
        """Minor version, status and headers of the answer that begins."""
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            if len(self._read) > MOST_HEAD or not b"HTTP/".startswith(self._read[:5]):
                raise Malformed(f"not an HTTP answer: {self._read[:80]!r}")
            self._more(first=not self._read)
        first, *lines = self._read[:end].split(b"\r\n")
        self._read = self._read[end + 4 :]
        found = _STATUS.fullmatch(first)
        if found is None:
            raise Malformed(f"not an HTTP answer: {first[:80]!r}")
        pairs = [line.decode("latin-1").partition(":") for line in lines]
        return int(found[1]), int(found[2]), {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _body(self, status: int, headers: Mapping[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if headers.get("transfer-encoding", "").lower().endswith("chunked"):
            return self._chunks()
        length = headers.get("content-length")
        if length is None:
            self.open = False
            try:
                while len(self._read) < self._most:
                    self._more()
            except Malformed:
                pass  # its end is the body's
            return self._read[: self._most]
        if not (length.isascii() and length.isdigit()):
            raise Malformed(f"not an HTTP answer: Content-Length: {length[:80]}")
        return self._take(int(length))

    def _chunks(self) -> bytes:
        found = b""
        while self.open:
            line = self._line()
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise Malformed(f"not an HTTP answer: a chunk of {line[:80]!r} bytes") from None
            if not size:
                while self._line():
                    pass  # trailers
                break
            found += self._take(size)
            if len(found) >= self._most:
                self.open = False
            elif self.open and self._line():
                raise Malformed("not an HTTP answer: a chunk does not end where it should")
        return found[: self._most]

    def _line(self) -> bytes:
        while (end := self._read.find(b"\r\n")) < 0:
            if len(self._read) > MOST_HEAD:
                raise Malformed("not an HTTP answer: a line without an end")
            self._more()
        line, self._read = self._read[:end], self._read[end + 2 :]
        return line

    def _take(self, size: int) -> bytes:
        """So many bytes, or as many as are read at most."""
        if size > self._most:
            self.open = False
            size = self._most
        while len(self._read) < size:
            self._more()
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def _more(self, first: bool = False) -> None:
        data = self.socket.recv(PIECE)
        if not data:
            if first:
                raise ConnectionResetError("the peer closed the connection without an answer")
            raise Malformed("half an HTTP answer")
        self._read += data

    def close(self) -> None:
        """Hang up."""
        self.open = False
        self.socket.close()


def retry_after(text: str) -> float:
    """The seconds that a Retry-After header asks to wait, an hour at most: a number, or a date; 0 where it says neither."""
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - time.time()), LONGEST)
    except (ValueError, OverflowError):
        return 0.0
