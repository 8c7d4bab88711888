"""gzip of str."""

from __future__ import annotations

import gzip
from typing import Any

from adamas.translate.python2.file import File, underneath
from adamas.translate.python2.module import stand_in

__all__ = ["GzipFile", "open"]


class GzipFile(File):
    """A compressed file."""

    def __init__(
        self, filename: Any = None, mode: Any = None, compresslevel: int = 9, fileobj: Any = None, mtime: Any = None
    ) -> None:
        mode = mode.replace("U", "") if mode else None
        self._below = fileobj  # or it would be closed when its last name is gone
        self._take(gzip.GzipFile(filename, mode, compresslevel, underneath(fileobj), mtime))


def open(filename: str, mode: str = "rb", compresslevel: int = 9) -> GzipFile:
    """A compressed file."""
    return GzipFile(filename, mode, compresslevel)


stand_in(__name__, gzip, *__all__)
