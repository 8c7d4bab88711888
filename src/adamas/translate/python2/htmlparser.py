"""HTMLParser."""

from __future__ import annotations

import html
import html.parser
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import plain

__all__ = ["HTMLParseError", "HTMLParser"]


class HTMLParseError(Exception):
    """Raised by nobody any more: the parser reads anything."""


class HTMLParser(html.parser.HTMLParser):
    """A parser that leaves character references to its methods."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)

    def feed(self, data: Any) -> None:
        super().feed(plain(data))

    def unescape(self, string: str) -> str:
        return html.unescape(string)


stand_in(__name__, html.parser, *__all__)
