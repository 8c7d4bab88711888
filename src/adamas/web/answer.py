"""What goes back to whoever asked: JSON, text, compressed where that is wanted, and errors as one line of JSON."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

COMPRESS_FROM = 1024
JSON = "application/json"


class Refused(Exception):
    """A request that cannot be answered: the HTTP status and why, in words for the person who asked."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def wants_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    for part in accepted.lower().split(","):
        coding, _, parameter = part.strip().partition(";")
        if coding.strip() in ("gzip", "*"):
            return parameter.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def body(request: Request, content: bytes, media: str, headers: Mapping[str, str] | None = None) -> Response:
    """A 200 with this content, compressed where the client takes it and it is worth it."""
    sent = {"content-type": media, "cache-control": "no-store", "vary": "Accept-Encoding", **(headers or {})}
    if len(content) >= COMPRESS_FROM and wants_gzip(request.headers.get("accept-encoding", "")):
        packer = zlib.compressobj(5, wbits=31)
        content = packer.compress(content) + packer.flush()
        sent["content-encoding"] = "gzip"
    return Response(content, headers=sent)


def encode(data: Any) -> bytes:
    """Compact JSON, one line."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def as_json(request: Request, data: Any) -> Response:
    """A 200 with this as JSON."""
    return body(request, encode(data), JSON)


def refusal(error: Refused) -> Response:
    """An error as one line of JSON."""
    headers = {"content-type": JSON, "cache-control": "no-store", **error.headers}
    return Response(encode({"error": str(error)}), status_code=error.status, headers=headers)
