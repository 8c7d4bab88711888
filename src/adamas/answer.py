"""What a program or an HTTP server answered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Answer:
    """`status` is the exit code or the HTTP status; `errors` is what a program wrote to its standard error."""

    __slots__ = ("body", "errors", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, errors: bytes = b"") -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        self.errors = errors

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")
