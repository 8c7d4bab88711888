"""zlib of str."""

from __future__ import annotations

import zlib
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import on_text

adler32 = on_text(zlib.adler32)
compress = on_text(zlib.compress)
crc32 = on_text(zlib.crc32)
decompress = on_text(zlib.decompress)


class _Stream:
    """A compressor or decompressor of str."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        return on_text(found) if callable(found) else found


def compressobj(*arguments: Any) -> Any:
    """A compressor."""
    return _Stream(zlib.compressobj(*arguments))


def decompressobj(*arguments: Any) -> Any:
    """A decompressor."""
    return _Stream(zlib.decompressobj(*arguments))


stand_in(__name__, zlib)
