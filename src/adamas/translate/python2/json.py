"""json: with the encoding argument, which strings do not need."""

from __future__ import annotations

import json
from typing import Any

from adamas.translate.python2.file import underneath
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import plain

__all__ = ["dump", "dumps", "load", "loads"]


def loads(source: Any, encoding: Any = None, **options: Any) -> Any:
    """The value of a text."""
    return json.loads(plain(source), **options)


def load(file: Any, encoding: Any = None, **options: Any) -> Any:
    """The value of a file."""
    return loads(underneath(file).read(), **options)


def dumps(value: Any, *arguments: Any, encoding: Any = None, **options: Any) -> str:
    """A value as text."""
    return json.dumps(value, **dict(zip(_OPTIONS, arguments)), **options)


def dump(value: Any, file: Any, *arguments: Any, encoding: Any = None, **options: Any) -> None:
    """Writes a value to a file."""
    file.write(dumps(value, *arguments, **options))


_OPTIONS = ("skipkeys", "ensure_ascii", "check_circular", "allow_nan", "cls", "indent", "separators")

stand_in(__name__, json, *__all__)
