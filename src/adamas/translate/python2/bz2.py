"""bz2 of str."""

from __future__ import annotations

import bz2
from typing import Any

from adamas.translate.python2.file import File
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import on_text

compress = on_text(bz2.compress)
decompress = on_text(bz2.decompress)


def BZ2File(name: str, mode: str = "r", buffering: int = 0, compresslevel: int = 9) -> File:
    """A compressed file."""
    kind: Any = mode.replace("b", "").replace("U", "") or "r"
    return File.of(bz2.BZ2File(name, kind, compresslevel=compresslevel))


stand_in(__name__, bz2)
