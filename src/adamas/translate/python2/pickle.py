"""pickle and cPickle: pickles are a str, of protocol 0 unless another is asked for."""

from __future__ import annotations

import pickle
from typing import Any

from adamas.translate.python2.file import underneath
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import ERRORS, raw, text

__all__ = ["Pickler", "Unpickler", "dump", "dumps", "load", "loads"]


def dumps(value: Any, protocol: int = 0) -> Any:
    """A value as a str."""
    return text(pickle.dumps(value, protocol if protocol >= 0 else 2))


def loads(data: Any) -> Any:
    """The value of a str."""
    return pickle.loads(raw(data), encoding="utf-8", errors=ERRORS)


def dump(value: Any, file: Any, protocol: int = 0) -> None:
    """Writes a value to a file."""
    file.write(dumps(value, protocol))


def load(file: Any) -> Any:
    """Reads a value from a file."""
    return pickle.load(underneath(file), encoding="utf-8", errors=ERRORS)


class Pickler(pickle.Pickler):
    """Writes values to a file."""

    def __init__(self, file: Any, protocol: int = 0) -> None:
        super().__init__(underneath(file), protocol)


class Unpickler(pickle.Unpickler):
    """Reads values from a file."""

    def __init__(self, file: Any) -> None:
        super().__init__(underneath(file), encoding="utf-8", errors=ERRORS)


stand_in(__name__, pickle, *__all__)
