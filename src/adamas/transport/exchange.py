"""HTTP/1.1 over a connection that is there: a request, and its answer. The library h11 knows the protocol.

(Python's http.client would do, but imports ssl and email with it, and costs an agent 4 MB more.)

Source: https://h11.readthedocs.io/en/latest/api.html; RFC 9110, section 10.2.3 (Retry-After).
"""

from __future__ import annotations

import select
import time

import h11

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

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
        self._protocol = h11.Connection(h11.CLIENT)

    def stirs(self) -> bool:
        """Whether the peer does something unasked: it closes the connection, as a rule."""
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        return bool(self._protocol.trailing_data[0] or waiting.poll(0))

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of a request. OSError where the connection breaks, Malformed for nonsense."""
        protocol = self._protocol
        if protocol.our_state is h11.DONE:
            protocol.start_next_cycle()
        length = {} if body is None else {"Content-Length": str(len(body))}
        request = h11.Request(method=method, target=target, headers=[*{**headers, **length}.items()])
        events = [request, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
        try:
            self.socket.sendall(b"".join([protocol.send(event) or b"" for event in events]))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the peer may have answered before it had read everything, and that says why
        try:
            return self._answer()
        except h11.RemoteProtocolError as error:
            self.open = False
            raise Malformed(f"not an HTTP answer: {error}") from None

    def _answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers, content = 0, dict[str, str](), b""
        while True:
            event = self._event()
            if isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                content += event.data
                if len(content) > self._most:
                    break
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) or event is h11.PAUSED:
                break
        over = self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE
        self.open = over and not self._protocol.trailing_data[1]  # its end may have been the body's
        return status, headers, content[: self._most]

    def _event(self) -> object:
        """What comes next of the answer; ConnectionResetError where the peer closed the connection before it began."""
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            data = self.socket.recv(PIECE)
            if not data and self._protocol.their_state is h11.SEND_RESPONSE and not self._protocol.trailing_data[0]:
                raise ConnectionResetError("the peer closed the connection without an answer")
            self._protocol.receive_data(data)
        return event

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
