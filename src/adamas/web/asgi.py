"""Requests and responses between uvicorn and the routes: what a fixed handful of addresses needs of a web framework.

A framework would cost the agent 2.7 MB of memory. Source: the ASGI specification, HTTP connection scope
(https://asgi.readthedocs.io/en/latest/specs/www.html).
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

MOST_BODY = 65536
MOST_FIELDS = 1000
COMPRESS_FROM = 1024
JSON = "application/json"


class Refused(Exception):
    """A request that cannot be answered: the HTTP status and why, in words for the person who asked."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Request:
    """What was asked. `fields` are those of the query, and of the form where one was read."""

    __slots__ = ("_receive", "client", "cookie", "fields", "headers", "method", "path", "size")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.client: str = (scope.get("client") or ("?",))[0]
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            self.headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        self.size = len(scope["raw_path"]) + len(scope["query_string"])
        """The bytes of the address."""
        self.cookie = ""
        """What the answer shall set."""
        self.fields: dict[str, list[str]] = {}
        self._receive = receive
        self._add(scope["query_string"])

    def _add(self, encoded: bytes) -> None:
        try:
            pairs = parse_qsl(encoded.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError:
            raise Refused(400, f"at most {MOST_FIELDS} fields") from None
        for name, value in pairs:
            self.fields.setdefault(name, []).append(value)

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return self.fields.get(name, [default])[0]

    async def read_form(self) -> None:
        """Take the fields of a posted form in, bounded."""
        parts, size = [], 0
        more = self.method == "POST"
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the request ended early")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MOST_BODY:
                raise Refused(413, f"a body of at most {MOST_BODY} bytes")
            more = message.get("more_body", False)
        self._add(b"".join(parts))


class Response:
    """What is answered."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})

    async def send(self, send: Send, more: list[tuple[bytes, bytes]]) -> None:
        """Hand it over, with more headers; a body is left out by the server where none was asked for."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.status != 304:
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers + more})
        await send({"type": "http.response.body", "body": self.body})


def wants_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    for part in accepted.lower().split(","):
        coding, _, parameter = part.strip().partition(";")
        if coding.strip() in ("gzip", "*"):
            return parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def content(request: Request, body: bytes, media: str, headers: Mapping[str, str] | None = None) -> Response:
    """A 200 with this body, compressed where the client takes it and it is worth it."""
    sent = {"content-type": media, "cache-control": "no-store", "vary": "Accept-Encoding", **(headers or {})}
    if len(body) >= COMPRESS_FROM and wants_gzip(request.headers.get("accept-encoding", "")):
        packer = zlib.compressobj(5, wbits=31)
        body = packer.compress(body) + packer.flush()
        sent["content-encoding"] = "gzip"
    return Response(200, body, sent)


def encode(data: Any) -> bytes:
    """Compact JSON, one line."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def as_json(request: Request, data: Any) -> Response:
    """A 200 with this as JSON."""
    return content(request, encode(data), JSON)


def refusal(error: Refused) -> Response:
    """An error as one line of JSON."""
    return Response(
        error.status, encode({"error": str(error)}), {"content-type": JSON, "cache-control": "no-store", **error.headers}
    )
