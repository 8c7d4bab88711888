"""urllib2."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw
from adamas.translate.python2.web import Headers, Response

__all__ = ["HTTPError", "OpenerDirector", "Request", "URLError", "build_opener", "install_opener", "quote", "unquote", "urlopen"]

URLError = urllib.error.URLError
HTTPError = urllib.error.HTTPError
quote = urllib.parse.quote
unquote = urllib.parse.unquote
_default: list[OpenerDirector] = []


class Request(urllib.request.Request):
    """A request, whose body may be a str."""

    def __init__(
        self, url: str, data: Any = None, headers: Any = None, origin_req_host: Any = None, unverifiable: bool = False
    ) -> None:
        super().__init__(url, raw(data), headers or {}, origin_req_host, unverifiable)

    def add_data(self, data: Any) -> None:
        self.data = raw(data)

    def has_data(self) -> bool:
        return self.data is not None

    def get_data(self) -> Any:
        return self.data

    def get_host(self) -> str:
        return str(self.host)

    def get_type(self) -> str:
        return self.type


class OpenerDirector(urllib.request.OpenerDirector):
    """Opens addresses through its handlers; the answer's body is a str."""

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        more = {} if timeout is None else {"timeout": timeout}
        try:
            return Response(super().open(fullurl, raw(data), **more))
        except urllib.error.HTTPError as error:
            raise _as_text(error) from None


def _as_text(error: urllib.error.HTTPError) -> urllib.error.HTTPError:
    """An error whose body is read as a str."""
    body = Response(error.fp) if error.fp is not None and hasattr(error.fp, "headers") else None
    if body is not None:
        error.read = body.read  # type: ignore[method-assign, assignment]
        error.readlines = body.readlines  # type: ignore[method-assign, assignment]
    error.hdrs = error.headers
    error.info = lambda: Headers(error.headers)  # type: ignore[method-assign, assignment, return-value]
    return error


def build_opener(*handlers: Any) -> OpenerDirector:
    """An opener with these handlers and the usual ones."""
    made = urllib.request.build_opener(*handlers)
    made.__class__ = OpenerDirector
    assert isinstance(made, OpenerDirector)
    return made


def install_opener(opener: OpenerDirector) -> None:
    """The opener that urlopen uses from now on."""
    _default[:] = [opener]


def urlopen(
    url: Any,
    data: Any = None,
    timeout: Any = None,
    cafile: Any = None,
    capath: Any = None,
    cadefault: bool = False,
    context: Any = None,
) -> Any:
    """Opens an address."""
    opener = _default[0] if _default else build_opener()
    if cafile or capath or context is not None:
        import ssl

        context = context or ssl.create_default_context(cafile=cafile, capath=capath)
        opener = build_opener(urllib.request.HTTPSHandler(context=context))
    return opener.open(url, data, timeout)


stand_in(__name__, urllib.request, *__all__)
