"""cgi, of which escape() and the query parsers are left."""

from __future__ import annotations

import html
from urllib.parse import parse_qs, parse_qsl

__all__ = ["escape", "parse_qs", "parse_qsl"]


def escape(string: str, quote: bool = False) -> str:
    """Text as HTML shows it."""
    escaped = html.escape(string, quote=False)
    return escaped.replace('"', "&quot;") if quote else escaped
