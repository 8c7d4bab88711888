"""tempfile: files of str."""

from __future__ import annotations

import tempfile
from typing import Any

from adamas.translate.python2.file import File
from adamas.translate.python2.module import stand_in


def NamedTemporaryFile(mode: str = "w+b", bufsize: int = -1, *arguments: Any, **named: Any) -> File:
    """A temporary file with a name."""
    return File.of(tempfile.NamedTemporaryFile(_binary(mode), bufsize, None, None, *arguments, **named))


def TemporaryFile(mode: str = "w+b", bufsize: int = -1, *arguments: Any, **named: Any) -> File:
    """A temporary file."""
    return File.of(tempfile.TemporaryFile(_binary(mode), bufsize, None, None, *arguments, **named))


def SpooledTemporaryFile(max_size: int = 0, mode: str = "w+b", bufsize: int = -1, **named: Any) -> File:
    """A temporary file in memory until it is large."""
    return File.of(tempfile.SpooledTemporaryFile(max_size, _binary(mode), bufsize, **named))


def _binary(mode: str) -> str:
    return mode if "b" in mode else mode + "b"


stand_in(__name__, tempfile)
