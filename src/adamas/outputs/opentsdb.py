"""OpenTSDB's telnet protocol: `put name time value tag=text ...` lines over TCP, to OpenTSDB and what else listens for it.

Names and tags are letters, digits, `-`, `_`, `.` and `/`; anything else becomes `_`, and what meets then is kept apart. A
point has 1 to 8 tags (`max_tags`): this machine's name is one of them (`host_tag`), and those past the last are put together
in the tag `more`. With a dotted `naming` the name begins behind the host. Empty labels are left out. Times are in seconds, or
in milliseconds where a time is not whole (VictoriaMetrics 1.79.5 takes seconds only). Floats have 12 significant digits;
OpenTSDB itself keeps some with single precision.

The protocol answers errors only, one line for each refused point. They are read after each send, up to the peer's end of file,
which also says that it has read everything: so arrival is confirmed, and refusals are counted. What OpenTSDB could not store,
or wants later, is sent again. Writing a point twice changes nothing. The protocol has no encryption: see `opentsdb_http`.

Tested against the listeners of VictoriaMetrics 1.79.5 and InfluxDB 1.6.7, which do not answer errors; those are tested as
documented, and OpenTSDB itself is not tested.

Source: http://opentsdb.net/docs/build/html/api_telnet/put.html, http://opentsdb.net/docs/build/html/user_guide/writing.html.
"""

from __future__ import annotations

import select
import socket
import time

from adamas import Rejected, Retry, option
from adamas.lines import TIME, VALUE
from adamas.outputs import _opentsdb
from adamas.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.naming import Point

CHUNK = 64 << 10
"""Bytes after which answers are read: a peer that cannot write them would not read on."""
MOST_ANSWER = 4 << 20
LATER = ("HBase error", "throttle")
"""Words of errors that say that the storage is the trouble, and not the point."""


class Opentsdb(Stream):
    """Sends points by OpenTSDB's telnet protocol and reads what it refuses."""

    name = "opentsdb"
    default_naming = "prometheus"
    port = 4242
    confirms_later = False

    address: list[str] = option(["127.0.0.1:4242"], "Where it listens: host:port, or several of them (see `routing`)")
    host_tag: str = option("host", 'The tag that names this machine, where no label does ("": none)')
    max_tags: int = option(8, "The most tags of a point: OpenTSDB's tsd.storage.max_tags", minimum=1)

    def check(self) -> list[str]:
        """There is no TLS."""
        return super().check() + (["tls: the telnet protocol has none; see opentsdb_http"] if self.tls else [])

    def fit(self, point: Point) -> Point | None:
        """The point with a name and tags that OpenTSDB allows."""
        assert self.spelling is not None
        return _opentsdb.fitted(point, self.spelling, self.host_tag, self.max_tags)

    def line(self, point: Point) -> str:
        """`put name time value tag=text`."""
        tags = "".join([f" {tag}={text}" for tag, text in point.labels])
        return f"put {point.name} {TIME} {VALUE}{tags}\n"

    def stamp(self, time: float) -> str:
        """Seconds, or milliseconds."""
        return _opentsdb.stamp(time)

    def send(self, payload: bytes) -> None:
        """Hand over the lines, and read what the peer says until it has read all and closes."""
        sock = self.socket
        assert sock is not None
        self._heard = bytearray()
        answers = select.poll()
        answers.register(sock, select.POLLIN)
        for start in range(0, len(payload), CHUNK):
            sock.sendall(payload[start : start + CHUNK])
            while answers.poll(0):
                self._listen(sock)
        self.confirm()
        self._judge(payload)

    def _listen(self, sock: socket.socket) -> None:
        data = sock.recv(CHUNK)
        self._heard += data
        if not data:
            raise Retry(f"the peer closed the connection: {_words(self._heard)}".rstrip(": "))

    def _half_close(self, sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        end = time.monotonic() + self.timeout
        while data := sock.recv(CHUNK):
            self._heard += data
            if time.monotonic() > end or len(self._heard) > MOST_ANSWER:
                raise Retry("the peer talks on instead of closing the connection")

    def _judge(self, payload: bytes) -> None:
        """Retry or Rejected, as the peer's words are."""
        if not self._heard:
            return
        words = _words(self._heard)
        errors = [line for line in self._heard.decode(errors="replace").splitlines() if line.startswith("put: ")]
        if not errors or any(later in error for error in errors for later in LATER):
            raise Retry(words)
        raise Rejected(words, len(errors), payload)


def _words(said: bytes | bytearray) -> str:
    return " ".join(said[:300].decode(errors="replace").split())
