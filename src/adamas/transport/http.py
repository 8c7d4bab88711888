"""Payloads in HTTP requests, over one connection that is kept open; the answer's status says what became of them.

2xx: they arrived (an output may read more out of the answer). 408, 425, 429 and 5xx: later, when `Retry-After` says so. 401,
403, 404, 407 and redirections: also later, because it is the configuration or the backend's set-up that is wrong, and not the
samples. Any other 4xx: never.

Source: RFC 9110, sections 10.2.3 (Retry-After) and 15 (status codes).
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from adamas import Rejected, Retry, Secret, option
from adamas.transport.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    from typing import ClassVar

OURS = (401, 403, 404, 405, 407)
"""Statuses that say that the request is set up wrongly, not that its samples are bad."""
LATER = (408, 425, 429)
MOST_ANSWER = 1 << 20
OLDEST = 300.0
"""Seconds after which a connection is made anew: the name may lead elsewhere by then."""


class Http(Tls):
    """Posts payloads to one address."""

    method: ClassVar[str] = "POST"
    path: ClassVar[str] = "/"
    """What is asked for, where the address names no path."""
    content_type: ClassVar[str] = "text/plain; charset=utf-8"

    url: str = option("http://127.0.0.1", "Where the backend listens: http:// or https://, host and port, and a path of its own")
    headers: dict[str, str] = option({}, "Headers added to each request")
    username: str = option("", "The name to log in with (HTTP basic authentication)")
    password: Secret = option("", "The password of that name")
    compression: str = option("gzip", "How payloads are compressed", choices=("none", "gzip"))

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._connection: http.client.HTTPConnection | None = None
        self._since = 0.0

    def check(self) -> list[str]:
        """The address must be one of http or https."""
        wrong = super().check()
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good:
            wrong.append(f'url: expected an address such as "https://metrics.example.org:8428", not {self.url!r}')
        return wrong

    @property
    def dialect(self) -> str:
        """The type, and how it is compressed."""
        return type(self).name + ("" if self.compression == "none" else f"+{self.compression}")

    def pack(self, body: bytes) -> bytes:
        """A body as it goes out: what waits on disk is compressed already."""
        if self.compression == "none":
            return body
        import zlib

        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        return packer.compress(body) + packer.flush()

    def encode_headers(self) -> dict[str, str]:
        """The headers of a request beside those that the options give."""
        encoding = {} if self.compression == "none" else {"Content-Encoding": self.compression}
        return {"Content-Type": self.content_type, **encoding}

    def target(self) -> str:
        """What is asked for: the address's path and query, or the protocol's."""
        parts = urlsplit(self.url)
        path = parts.path if parts.path not in ("", "/") else self.path
        return path + (("&" if "?" in path else "?") + parts.query if parts.query else "")

    def open(self) -> None:
        """Connect, if there is no connection or it is old; OSError where nobody listens."""
        if self._connection is not None and time.monotonic() - self._since < OLDEST:
            return
        self.close()
        import http.client

        parts = urlsplit(self.url)
        assert parts.hostname is not None
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=self.timeout, context=self.context()
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout)
        connection.connect()
        self._connection, self._since = connection, time.monotonic()

    def send(self, payload: bytes) -> None:
        """One request. Retry or Rejected, as the answer's status says."""
        status, headers, body = self.ask(self.method, self.target(), payload)
        if 200 <= status < 300:
            self.accepted(body)
            return
        words = f"HTTP {status}: {' '.join(body[:300].decode(errors='replace').split())}".rstrip(": ")
        if status in OURS or 300 <= status < 400:
            where = f" (to {headers['location']})" if "location" in headers else ""
            raise Retry(f"{words}{where}; see url, username, password and headers")
        if status in LATER or status >= 500:
            raise Retry(words, after(headers.get("retry-after", "")))
        raise Rejected(words + ("; a smaller `batch` may help" if status == 413 else ""))

    def accepted(self, body: bytes) -> None:
        """What the backend says of a request that it took; Rejected where it took only a part."""

    def ask(self, method: str, target: str, payload: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body) of one request over the connection that is open; OSError where it breaks."""
        import http.client

        assert self._connection is not None
        headers = {"User-Agent": "adamas", **self.encode_headers(), **self.headers}
        if self.username:
            from base64 import b64encode

            headers["Authorization"] = "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()
        try:
            self._connection.request(method, target, body=payload, headers=headers)
            response = self._connection.getresponse()
            body = response.read(MOST_ANSWER)
            if not response.isclosed() or response.will_close:
                self.close()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, body
        except http.client.HTTPException as error:
            raise Retry(f"not an HTTP answer: {error!r}") from None

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def after(text: str) -> float:
    """The seconds that a Retry-After header asks to wait: a number, or a date; 0 where it says neither."""
    if text.isdigit():
        return float(text)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0
