"""urllib: quoting, and addresses opened."""

from __future__ import annotations

import urllib.parse
import urllib.request
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import ERRORS, raw
from adamas.translate.python2.web import Response

__all__ = [
    "getproxies",
    "pathname2url",
    "quote",
    "quote_plus",
    "unquote",
    "unquote_plus",
    "url2pathname",
    "urlencode",
    "urlopen",
    "urlretrieve",
]

getproxies = urllib.request.getproxies
pathname2url = urllib.request.pathname2url
url2pathname = urllib.request.url2pathname
urlretrieve = urllib.request.urlretrieve


def quote(string: Any, safe: str = "/") -> str:
    """Text as it may stand in a path."""
    return urllib.parse.quote(raw(string), safe)


def quote_plus(string: Any, safe: str = "") -> str:
    """Text as it may stand in a query."""
    return urllib.parse.quote_plus(raw(string), safe)


def unquote(string: str) -> str:
    """What was quoted."""
    return urllib.parse.unquote(string, errors=ERRORS)


def unquote_plus(string: str) -> str:
    """What was quoted for a query."""
    return urllib.parse.unquote_plus(string, errors=ERRORS)


def urlencode(query: Any, doseq: int = 0) -> str:
    """A query of a mapping or of pairs."""
    return urllib.parse.urlencode(query, bool(doseq), errors=ERRORS)


def urlopen(url: Any, data: Any = None, proxies: Any = None, context: Any = None) -> Response:
    """Opens an address; an answer that says failure is an answer."""
    import urllib.error

    handlers = [] if proxies is None else [urllib.request.ProxyHandler(proxies)]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))  # type: ignore[arg-type]
    try:
        return Response(urllib.request.build_opener(*handlers).open(url, raw(data)))
    except urllib.error.HTTPError as error:
        return Response(error)


class URLopener:
    """Opens addresses, with headers of its own."""

    version = "Python-urllib/1.17"

    def __init__(self, proxies: Any = None, **x509: Any) -> None:
        self.proxies = proxies
        self.addheaders = [("User-Agent", self.version)]

    def addheader(self, *header: str) -> None:
        self.addheaders.append(header)  # type: ignore[arg-type]

    def open(self, url: str, data: Any = None) -> Response:
        return urlopen(urllib.request.Request(url, headers=dict(self.addheaders)), data, self.proxies)


FancyURLopener = URLopener

stand_in(__name__, urllib.request, *__all__)
