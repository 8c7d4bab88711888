"""Payloads in HTTP requests, over one connection that is kept open; the answer's status says what became of them.

2xx: they arrived (an output may read more out of the answer). 408, 425, 429 and 5xx: later, when `Retry-After` says so. 401,
403, 404, 405, 407 and redirections: also later, because it is the configuration or the backend's set-up that is wrong, and not
the samples; a redirection is not followed, since it would take the password elsewhere. 413: in halves, where the payload can be
divided. Any other 4xx: never.

Source: RFC 9110, sections 10.2.3 (Retry-After) and 15 (status codes); RFC 9112, section 9.3.1 (a kept connection that is closed).
"""

from __future__ import annotations

import re
import socket
import time
from binascii import b2a_base64
from urllib.parse import unquote, urlsplit

from adamas import Rejected, Retry, Secret, __version__, option
from adamas.host import dial
from adamas.transport.exchange import Exchange, Malformed, retry_after
from adamas.transport.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import ClassVar

    from adamas.metric import Batch

OURS = (401, 403, 404, 405, 407)
"""Statuses that say that the request is set up wrongly, not that its samples are bad."""
LATER = (408, 425, 429)
TOO_LARGE = 413
MOST_ANSWER = 1 << 20
OLDEST = 300.0
"""Seconds after which a connection is made anew: the name may lead elsewhere by then."""
WINDOWS = {"gzip": 31, "deflate": 15}
"""What zlib calls them (RFC 1952 and RFC 1950)."""
LINES = (b"", b"\n", b"\n")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Http(Tls):
    """Posts payloads to one address."""

    method: str = "POST"
    path: ClassVar[str] = "/"
    """What is asked for, where the address names no path."""
    content_type: str = "text/plain; charset=utf-8"
    frame: tuple[bytes, bytes, bytes] | None = None
    """What is before, between and behind the points in a body, where it is made of points in a row: `LINES`, say."""

    url: str = option("http://127.0.0.1", "Where the backend listens: http:// or https://, host and port, and a path of its own")
    headers: dict[str, str] = option({}, "Headers added to each request")
    username: str = option("", "The name to log in with (HTTP basic authentication)")
    password: Secret = option("", "The password of that name")
    bearer_token: Secret = option("", "The token to log in with (HTTP bearer authentication)")
    proxy: Secret = option("", "An HTTP proxy on the way there: http://host:port, or http://name:password@host:port")
    compression: str = option("gzip", "How payloads are compressed", choices=("none", "gzip"))

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._connection: Exchange | None = None
        self._since = 0.0
        self._answered = False
        """Whether the connection has answered before: the peer may have closed it since."""

    def check(self) -> list[str]:
        """The address must be one of http or https, and what goes into headers must be one line each."""
        wrong = super().check()
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            if parts.username is not None or parts.password is not None:
                wrong.append("url: the name and the password go into username and password")
                good = True
        except ValueError:
            good = False
        if not good or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            wrong.append('url: expected an address such as "https://metrics.example.org:8428"')
        if self.bearer_token and self.username:
            wrong.append("bearer_token: log in with a token or with a name and password, not with both")
        if self.proxy and not re.fullmatch(r"http://([^@/?#\s]+@)?[^@/?#\s:]+:[0-9]{1,5}/?", self.proxy):
            wrong.append('proxy: expected an address such as "http://proxy.example.org:3128"')
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name):
                wrong.append(f"headers: {name!r} is not the name of a header")
            elif not _one_line(value):
                wrong.append(f"headers: {name} has a character that no header may have")
        for name, value in self._secrets():
            if name not in ("headers", "password") and not _one_line(value):
                wrong.append(f"{name}: has a line break, or a character that is not ASCII")
        return wrong

    @property
    def dialect(self) -> str:
        """The type, and how it is compressed."""
        return type(self).name + ("" if self.compression == "none" else f"+{self.compression}")

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """The points of all of them, in their frame, compressed."""
        assert self.frame is not None
        before, between, behind = self.frame
        return self.pack(before + self.lines.encode(batches)[: -len(between)] + behind)

    def pack(self, body: bytes) -> bytes:
        """A body as it goes out: what waits on disk is compressed already."""
        if self.compression == "none":
            return body
        import zlib

        packer = zlib.compressobj(1, zlib.DEFLATED, WINDOWS[self.compression])
        return packer.compress(body) + packer.flush()

    def unpack(self, payload: bytes) -> bytes:
        """The body in a payload."""
        if self.compression == "none":
            return payload
        import zlib

        return zlib.decompress(payload, WINDOWS[self.compression])

    def divide(self, body: bytes) -> list[tuple[bytes, int]]:
        """A body that is too large in two, with how many points each is; nothing where it cannot be divided."""
        if self.frame is None:
            return []
        before, between, behind = self.frame
        points = body[len(before) : len(body) - len(behind)]
        cut = points.find(between, len(points) // 2)
        if cut < 0:
            cut = points.rfind(between)
        parts = (points[:cut], points[cut + len(between) :]) if cut > 0 else ()
        return [(before + part + behind, part.count(between) + 1) for part in parts]

    def encode_headers(self) -> dict[str, str]:
        """The headers that say what a payload is."""
        encoding = {} if self.compression == "none" else {"Content-Encoding": self.compression}
        return {"Content-Type": self.content_type, **encoding}

    def login(self) -> dict[str, str]:
        """The headers that log in."""
        if self.bearer_token:
            return {"Authorization": f"Bearer {self.bearer_token}"}
        if not self.username:
            return {}
        return {"Authorization": _basic(self.username, self.password)}

    def target(self) -> str:
        """What is asked for: the address's path and query, or the protocol's."""
        parts = urlsplit(self.url)
        path = parts.path if parts.path not in ("", "/") else self.path
        return path + (("&" if "?" in path else "?") + parts.query if parts.query else "")

    def open(self) -> None:
        """Connect, if there is no connection, or it is old, or was closed; OSError where nobody listens."""
        there = self._connection
        if there is not None and time.monotonic() - self._since < OLDEST and not (self._answered and there.stirs()):
            return
        self.close()
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        sock = self._dial_proxy(parts.hostname, port, secure) if self.proxy else dial(parts.hostname, port, self.timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = self.encrypted(sock, parts.hostname) if secure else sock
        except BaseException:
            sock.close()
            raise
        self._connection, self._since, self._answered = Exchange(sock, MOST_ANSWER), time.monotonic(), False

    def _dial_proxy(self, host: str, port: int, tunnel: bool) -> socket.socket:
        proxy = urlsplit(self.proxy)
        assert proxy.hostname is not None
        sock = dial(proxy.hostname, proxy.port or 80, self.timeout)
        if not tunnel:
            return sock
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            status, _, body = Exchange(sock, MOST_ANSWER).ask("CONNECT", where, {"Host": where, **self._proxy_login()}, None)
            if status != 200:
                raise Retry(f"the proxy says {self.words(status, body)}")
        except Malformed as error:
            sock.close()
            raise Retry(f"the proxy: {error}") from None
        except BaseException:
            sock.close()
            raise
        return sock

    def _proxy_login(self) -> dict[str, str]:
        """What logs in to the proxy."""
        proxy = urlsplit(self.proxy)
        if proxy.username is None:
            return {}
        return {"Proxy-Authorization": _basic(unquote(proxy.username), unquote(proxy.password or ""))}

    def send(self, payload: bytes) -> None:
        """One request, or as many as it takes."""
        self.post(payload)

    def post(self, payload: bytes) -> None:
        """One request. Retry or Rejected, as the answer's status says."""
        status, headers, body = self.ask(self.method, self.target(), payload)
        if 200 <= status < 300:
            self.accepted(body)
            return
        words = self.words(status, body)
        if status in OURS or 300 <= status < 400:
            where = f" (to {headers['location'].partition('?')[0]})" if "location" in headers else ""
            raise Retry(f"{words}{where}; see url and what logs in")
        if self.passes(status):
            raise Retry(words, retry_after(headers.get("retry-after", "")))
        plain = self.unpack(payload)
        if self.too_large(status, body):
            if parts := self.divide(plain):
                self.post_all((self.pack(part), points) for part, points in parts)
                return
            words += "; a smaller `batch` may help"
        raise self.rejected(status, words, body, plain)

    def post_all(self, parts: Iterable[tuple[bytes, int]]) -> None:
        """A request for each (payload, points); Rejected, with all that were refused, when the last is through."""
        points, refused, words = 0, b"", ""
        for payload, count in parts:
            try:
                self.post(payload)
            except Rejected as error:
                points += error.points or count
                refused += error.refused
                words = words or str(error)
        if points:
            raise Rejected(words, points, refused)

    def passes(self, status: int) -> bool:
        """Whether what this status says may be over later."""
        return status in LATER or status >= 500

    def too_large(self, status: int, body: bytes) -> bool:
        """Whether the answer says that less would be taken."""
        return status == TOO_LARGE

    def accepted(self, body: bytes) -> None:
        """What the backend says of a request that it took; Rejected where it took only a part."""

    def rejected(self, status: int, words: str, body: bytes, plain: bytes) -> Rejected:
        """What a refusal means: all of `plain`, or as much as the answer's body says."""
        return Rejected(words, refused=plain)

    def words(self, status: int, body: bytes) -> str:
        """An answer in a line, without what we logged in with, should it say that."""
        said = " ".join(body[:2000].decode(errors="replace").split())
        for _, secret in self._secrets():
            said = said.replace(secret, "***")
        return f"HTTP {status}: {said[:300]}".rstrip(": ")

    def _secrets(self) -> list[tuple[str, str]]:
        """Option and value of what must not be told, as long as it is worth hiding."""
        values = [(name, str(getattr(self, name))) for name, one in type(self).options.items() if one.type == "Secret"]
        values += [("headers", part) for value in self.headers.values() for part in value.split() if len(part) > 7]
        if self.proxy:
            values.append(("headers", urlsplit(self.proxy).password or ""))
        return [(name, value) for name, value in values if value]

    def ask(self, method: str, target: str, payload: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of one request over the kept connection; OSError where it breaks.

        A connection that answered before and is found closed is no failure: the peer had had enough of waiting, and did not
        see the request. So it is asked once more over a new one.
        """
        content = {} if payload is None else self.encode_headers()
        host = {"Host": urlsplit(self.url).netloc, "User-Agent": f"adamas/{__version__}"}
        headers = {**host, **content, **self.login(), **self.headers}
        if self.proxy and self.url.startswith("http:"):
            target, headers = f"http://{host['Host']}{target}", {**headers, **self._proxy_login()}
        while True:
            self.open()
            assert self._connection is not None
            kept = self._answered
            try:
                answer = self._connection.ask(method, target, headers, payload)
            except TimeoutError:
                raise
            except OSError:
                self.close()
                if not kept:
                    raise
                continue
            except Malformed as error:
                raise Retry(str(error)) from None
            self._answered = True
            if not self._connection.open:
                self.close()
            return answer

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _basic(username: str, password: str) -> str:
    return "Basic " + b2a_base64(f"{username}:{password}".encode(), newline=False).decode()


def _one_line(value: str) -> bool:
    """Whether it can stand in a header."""
    return value.isascii() and value.isprintable()
