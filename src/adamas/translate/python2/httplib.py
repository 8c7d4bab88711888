"""httplib, whose answers are str."""

from __future__ import annotations

import http.client
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw
from adamas.translate.python2.web import Headers, Response

__all__ = ["HTTPConnection", "HTTPSConnection"]

OK = 200


class _Answer(Response):
    """An answer of a connection."""

    def __init__(self, stream: http.client.HTTPResponse) -> None:
        super().__init__(stream)
        self.msg = Headers(stream.msg)

    def getheader(self, name: str, default: Any = None) -> Any:
        return self.stream.getheader(name, default)

    def getheaders(self) -> list[tuple[str, str]]:
        return [(key.lower(), value) for key, value in self.stream.getheaders()]


class _Connection:
    def request(self, method: str, url: str, body: Any = None, headers: Any = None) -> None:
        super().request(method, url, raw(body), headers or {})  # type: ignore[misc]

    def send(self, data: Any) -> None:
        super().send(raw(data))  # type: ignore[misc]

    def getresponse(self, buffering: bool = False) -> Any:
        return _Answer(super().getresponse())  # type: ignore[misc]


class HTTPConnection(_Connection, http.client.HTTPConnection):  # type: ignore[misc]
    """A connection over HTTP."""

    def __init__(self, host: str, port: Any = None, strict: Any = None, *arguments: Any, **named: Any) -> None:
        super().__init__(host, port, *arguments, **named)


class HTTPSConnection(_Connection, http.client.HTTPSConnection):  # type: ignore[misc]
    """A connection over HTTPS."""

    def __init__(
        self, host: str, port: Any = None, key_file: Any = None, cert_file: Any = None, strict: Any = None, **named: Any
    ) -> None:
        if cert_file:
            import ssl

            context = named.setdefault("context", ssl.create_default_context())
            context.load_cert_chain(cert_file, key_file)
        super().__init__(host, port, **named)


stand_in(__name__, http.client, *__all__)
