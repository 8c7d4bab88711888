"""string: the functions that are methods now, and the names of the ASCII letters."""

from __future__ import annotations

import string
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import text, translate

letters = string.ascii_letters
lowercase = string.ascii_lowercase
uppercase = string.ascii_uppercase
atoi, atol, atof = int, int, float
_METHODS = [
    "capitalize",
    "count",
    "expandtabs",
    "find",
    "index",
    "ljust",
    "lower",
    "lstrip",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rsplit",
    "rstrip",
    "split",
    "strip",
    "swapcase",
    "upper",
    "zfill",
]
_OWN = [
    "atof",
    "atoi",
    "atol",
    "join",
    "joinfields",
    "letters",
    "lowercase",
    "maketrans",
    "splitfields",
    "translate",
    "uppercase",
]


def _function(name: str) -> Any:
    def call(value: Any, *arguments: Any) -> Any:
        return getattr(value, name)(*arguments)

    call.__name__ = name
    return call


for _name in _METHODS:
    globals()[_name] = _function(_name)


def join(words: Any, separator: str = " ") -> str:
    """The words with a separator between them."""
    return separator.join(words)


def maketrans(old: Any, new: Any) -> Any:
    """A table of 256 characters."""
    return text(bytes.maketrans(old.encode(), new.encode()))


joinfields = join
splitfields = globals()["split"]

stand_in(__name__, string, *_METHODS, *_OWN)
assert callable(translate)
